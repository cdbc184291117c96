/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The contract between the agent and the programs of the breaker, compiled for both. Their maps are
 * never pinned: what refuses connections ends with the agent. Includers define __u8..__u64 first.
 */
#ifndef SLOGATE_BREAKER_H
#define SLOGATE_BREAKER_H

#define SLOGATE_BREAKER_RULES 4     /* SLOs that refuse in one network namespace */
#define SLOGATE_BREAKER_PORTS 8     /* of each */
#define SLOGATE_BREAKER_EXEMPT 8192 /* ranges of addresses, of all together */
#define SLOGATE_BREAKER_EVERY_PORT 0xffffffff
#define SLOGATE_BREAKER_CGROUPS 1024

enum slogate_breaker_mode {
  SLOGATE_BREAKER_off,
  SLOGATE_BREAKER_dry_run, /* counts what it would refuse */
  SLOGATE_BREAKER_refuse,
};

/* What one SLO refuses. The agent writes `mode` last, and takes it away first. */
struct slogate_breaker_rule {
  __u32 mode;  /* enum slogate_breaker_mode */
  __u32 list;  /* of exempt addresses, besides list 0, which is everyone's */
  __u32 ports; /* how many, or SLOGATE_BREAKER_EVERY_PORT; memory that is 0 refuses nothing */
  __u16 port[SLOGATE_BREAKER_PORTS];
  /* It holds no longer than this, CLOCK_MONOTONIC in ns: who writes it may be stopped. */
  __u64 until;
  __u64 refused, would_refuse, exempt; /* connections, by the programs */
};

/* Of one network namespace. */
struct slogate_breaker {
  struct slogate_breaker_rule rules[SLOGATE_BREAKER_RULES];
};

/* As a trie of prefixes has them: `bits` of what follows, of which `list` are the first 32. */
struct slogate_exempt {
  __u32 bits;
  __u32 list;
  __u8 address[16]; /* of IPv4 as IPv6 has it, ::ffff:10.0.0.1 */
};

/* In one word in which namespace a cgroup is: the low halves of both numbers. That of the cgroup
 * tells it from those that are there at the same time. */
#define SLOGATE_NETNS_WORD(cgroup, netns) ((__u64)(cgroup) << 32 | (__u32)(netns))

#endif
