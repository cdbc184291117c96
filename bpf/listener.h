/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Who listened last on each address and port of each network namespace. A SYN that finds no
 * listener has no socket, so nothing of it says whose failure it is: the last to have listened
 * there refuses it (see refusal.h). And a listener that comes back to where nobody listened any
 * more closes a gap in its service.
 *
 * Closing one of several listeners is neither: how many there are is counted. A socket is counted
 * from LISTEN on, or from its first event when it is older than the programs.
 */
#ifndef SLOGATE_LISTENER_H
#define SLOGATE_LISTENER_H

#include "slot.h"

/* "Any", as one address for IPv4 and one for IPv6. */
static __always_inline void set_any(struct slogate_address* address, bool v4) {
  *address = (struct slogate_address){};
  if (v4) address->bytes[10] = address->bytes[11] = 0xff;
}

static __always_inline void set_v4(struct slogate_address* address, __be32 v4) {
  set_any(address, 1);
  __builtin_memcpy(&address->bytes[12], &v4, sizeof(v4));
}

/* Before the state changes to CLOSE a port that was not bound by hand is given up already; what the
 * socket sent from stays. */
static __always_inline __u32 listening_port(struct sock* sk) {
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  __u32 port = sk->__sk_common.skc_num;
  return port || !tp ? port : bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport);
}

static __always_inline void place_of(struct sock* sk, struct slogate_listener_key* key) {
  key->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, net_cookie);
  key->port = listening_port(sk);
  if (sk->__sk_common.skc_family == AF_INET)
    set_v4(&key->address, sk->__sk_common.skc_rcv_saddr);
  else
    BPF_CORE_READ_INTO(&key->address, sk, __sk_common.skc_v6_rcv_saddr);
}

/* Whether the place is IPv6's "any" and takes IPv4 as well; it is IPv4's "any" after that. */
static __always_inline bool also_v4(const struct sock* sk, struct slogate_listener_key* key) {
  const __u64* words = (const __u64*)key->address.bytes;
  if (sk->__sk_common.skc_family == AF_INET || words[0] || words[1]) return 0;
  if (BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only)) return 0;
  set_any(&key->address, 1);
  return 1;
}

static __always_inline __u64 cgroup_of(const struct sock* sk) {
  return BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id);
}

static __always_inline struct slogate_listener* listener_at(
    const struct slogate_listener_key* key) {
  struct slogate_listener none = {}, *found = bpf_map_lookup_elem(&slogate_listeners, key);
  if (found) return found;
  bpf_map_update_elem(&slogate_listeners, key, &none, BPF_NOEXIST);
  return bpf_map_lookup_elem(&slogate_listeners, key);
}

/* Whether the cgroup was the last to listen here, and nobody has since. */
static __always_inline bool begin_at(const struct slogate_listener_key* key, __u64 cgroup) {
  struct slogate_listener* listener = listener_at(key);
  return listener && !__sync_fetch_and_add(&listener->listening, 1) && listener->cgroup == cgroup;
}

static __always_inline void end_at(const struct slogate_listener_key* key, __u64 cgroup,
                                   bool counted) {
  struct slogate_listener* listener = listener_at(key);
  if (!listener) return;
  listener->cgroup = cgroup;
  /* The entry may have made room for others since the socket was counted in it. */
  if (counted && *(volatile __u32*)&listener->listening)
    __sync_fetch_and_sub(&listener->listening, 1);
}

/* Of the kernel's include/net/sock.h: bound to a port by its number. */
#define SOCK_BINDPORT_LOCK 8

static __always_inline bool has_chosen_port(struct sock* sk) {
  return BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & SOCK_BINDPORT_LOCK;
}

/* Counts a listener once, whoever sees it first; whether it closes a gap. */
static __noinline int begin_listening(struct sock* sk, struct slogate_sock* state) {
  struct slogate_listener_key key = {};
  place_of(sk, &key);
  /* Without a port yet the kernel chooses one after this. */
  if (!key.port || __sync_val_compare_and_swap(&state->last, 0, bpf_ktime_get_ns())) return 0;
  __u64 cgroup = cgroup_of(sk);
  bool gap = begin_at(&key, cgroup);
  if (also_v4(sk, &key)) gap |= begin_at(&key, cgroup);
  /* To a port that the kernel chose nobody comes back, but it may choose it twice. */
  return gap && has_chosen_port(sk);
}

static __noinline __attribute__((unused)) int end_listening(struct sock* sk,
                                                            struct slogate_sock* state) {
  struct slogate_listener_key key = {};
  place_of(sk, &key);
  __u64 cgroup = cgroup_of(sk);
  bool counted = state && state->last;
  if (state) state->last = 0;
  end_at(&key, cgroup, counted);
  if (also_v4(sk, &key)) end_at(&key, cgroup, counted);
  return 0;
}

#endif
