/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * In which network namespace the sockets of a cgroup are: what the breaker has to know before there
 * is a veto. Neither /proc nor the iterator over tasks tells an agent that has a PID namespace of
 * its own and CAP_BPF alone; sockets tell everyone. Loaded only where something is enforced.
 */
#include "kernel.h"
/* after kernel.h */
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "maps/breaker.h"

/* Cgroups that are asked about -> where each is, as SLOGATE_NETNS_WORD has it; 0 before it is
 * known. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SLOGATE_BREAKER_CGROUPS);
  __type(key, __u64);
  __type(value, __u64);
} slogate_netns SEC(".maps");

/* One store: an element that is another cgroup's by now is known to be wrong. */
static __always_inline void note(const struct sock* sk) {
  __u64 cgroup = sk->sk_cgrp_data.cgroup->kn->id;
  __u64* netns = bpf_map_lookup_elem(&slogate_netns, &cgroup);
  if (!netns) return;
  *(volatile __u64*)netns = SLOGATE_NETNS_WORD(cgroup, sk->__sk_common.skc_net.net->ns.inum);
}

/* Connections that were there before anyone asked: those that are remembered. */
SEC("iter/bpf_sk_storage_map")
int find_netns(struct bpf_iter__bpf_sk_storage_map* ctx) {
  const struct sock* sk = ctx->sk;
  if (sk) note(sk);
  return 0;
}

/* Where the kernel refuses iterators over the elements of maps: the files of all processes, as far
 * as the agent's PID namespace has them. */
SEC("iter/task_file")
int find_netns_by_file(struct bpf_iter__task_file* ctx) {
  struct file* file = ctx->file;
  const struct socket* socket = file ? bpf_sock_from_file(file) : 0;
  const struct sock* sk = socket ? socket->sk : 0;
  if (!sk) return 0;
  __u16 family = sk->__sk_common.skc_family;
  if (family == AF_INET || family == AF_INET6) note(sk);
  return 0;
}

/* And those that begin, of which none may live until the next pass over all. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(learn_netns, struct sock* sk, int from, int to) {
  if (to == TCP_ESTABLISHED) note(sk);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
