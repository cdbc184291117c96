/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The breaker: refuses new connections in the network namespace that it is attached to. The kernel
 * asks it for the listener of each SYN; without one it answers as on a port where nobody listens,
 * so the client is told at once. Packets of connections that exist never come here.
 *
 * What it is attached to it cannot ask, so the agent loads it once for each namespace that may be
 * refused at the same time, each with a `breaker` of its own.
 *
 * It takes no address of a kernel type: an object with relocations of those would read all of the
 * kernel's BTF again for every copy.
 */
#include "kernel.h"
/* after kernel.h */
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps/breaker.h"

/* Of the user-space ABI, so fixed. */
enum { BPF_MAP_TYPE_LPM_TRIE = 11, SK_DROP = 0, SK_PASS = 1 };
struct bpf_sk_lookup {
  __u64 cookie;
  __u32 family, protocol;
  __u32 remote_ip4, remote_ip6[4];
  __be16 remote_port;
  __u16 pad;
  __u32 local_ip4, local_ip6[4];
  __u32 local_port; /* in the order of the host */
  __u32 ingress_ifindex;
};

/* Shared by all copies, as are those of the node and of each SLO. */
struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SLOGATE_BREAKER_EXEMPT);
  __type(key, struct slogate_exempt);
  __type(value, __u32);
} slogate_exempt SEC(".maps");

/* Of this copy's namespace. One element, shared memory: setting a rule is a store. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct slogate_breaker);
} slogate_breaker SEC(".maps");

/* Keeps the compiler from making one load of several with an address that it computes, which the
 * verifier takes for no address in `ctx`. */
#define TAKE(value)                 \
  ({                                \
    __u32 taken = (value);          \
    asm volatile("" : "+r"(taken)); \
    taken;                          \
  })

static __always_inline void take_peer(const struct bpf_sk_lookup* ctx, bool v4,
                                      struct slogate_exempt* peer) {
  __u32* words = (__u32*)peer->address;
  __u32 ip4 = TAKE(ctx->remote_ip4);
  __u32 ip6[] = {TAKE(ctx->remote_ip6[0]), TAKE(ctx->remote_ip6[1]), TAKE(ctx->remote_ip6[2]),
                 TAKE(ctx->remote_ip6[3])};
  words[0] = v4 ? 0 : ip6[0];
  words[1] = v4 ? 0 : ip6[1];
  words[2] = v4 ? bpf_htonl(0xffff) : ip6[2];
  words[3] = v4 ? ip4 : ip6[3];
}

/* A proxy beside the container comes from within: from one of the pod's addresses to the same one,
 * or from one that only a loopback has, as Istio's do from 127.0.0.6 and ::6. By which device is no
 * sign: to an address of its own the kernel names the device that has it. */
static __always_inline bool is_within(const struct bpf_sk_lookup* ctx, bool v4,
                                      const struct slogate_exempt* peer) {
  const __u32* words = (const __u32*)peer->address;
  __u32 to4 = TAKE(ctx->local_ip4), to6 = TAKE(ctx->local_ip6[0]) ^ words[0];
  to6 |= TAKE(ctx->local_ip6[1]) ^ words[1];
  to6 |= TAKE(ctx->local_ip6[2]) ^ words[2];
  to6 |= TAKE(ctx->local_ip6[3]) ^ words[3];
  if (v4) return words[3] == to4 || peer->address[12] == 127;
  return !to6 || (!words[0] && !words[1] && !words[2] && bpf_ntohl(words[3]) < 256);
}

static __always_inline bool is_listed(struct slogate_exempt* peer, __u32 list) {
  peer->list = list;
  return bpf_map_lookup_elem(&slogate_exempt, peer) != 0;
}

static __always_inline bool has_port(const struct slogate_breaker_rule* rule, __u32 port) {
  __u32 ports = *(volatile __u32*)&rule->ports;
  if (ports == SLOGATE_BREAKER_EVERY_PORT) return 1;
  for (__u32 i = 0; i < SLOGATE_BREAKER_PORTS; i++)
    if (i < ports && rule->port[i] == port) return 1;
  return 0;
}

SEC("sk_lookup")
int refuse(struct bpf_sk_lookup* ctx) {
  __u32 zero = 0;
  struct slogate_breaker* breaker = bpf_map_lookup_elem(&slogate_breaker, &zero);
  if (!breaker || ctx->protocol != IPPROTO_TCP) return SK_PASS;
  struct slogate_exempt peer = {.bits = 160};
  __u32 family = TAKE(ctx->family);
  bool v4 = family == AF_INET;
  take_peer(ctx, v4, &peer);
  bool exempt = is_within(ctx, v4, &peer) || is_listed(&peer, 0);
  for (__u32 i = 0; i < SLOGATE_BREAKER_RULES; i++) {
    struct slogate_breaker_rule* rule = &breaker->rules[i];
    __u32 mode = *(volatile __u32*)&rule->mode;
    if (mode == SLOGATE_BREAKER_off || !has_port(rule, ctx->local_port)) continue;
    if (bpf_ktime_get_ns() > *(volatile __u64*)&rule->until) continue;
    if (exempt || (rule->list && is_listed(&peer, rule->list))) {
      __sync_fetch_and_add(&rule->exempt, 1);
      continue;
    }
    if (mode == SLOGATE_BREAKER_refuse) {
      __sync_fetch_and_add(&rule->refused, 1);
      return SK_DROP;
    }
    __sync_fetch_and_add(&rule->would_refuse, 1);
  }
  return SK_PASS;
}

char LICENSE[] SEC("license") = "GPL";
