/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The pattern that most exporters use: the start of a request in a hash by socket, the histogram in
 * a hash by cgroup and bucket, with one more element for the sum. Written to cost as little as the
 * pattern allows: preallocated maps, an update that keeps the first start, powers of two.
 */
#include "bpf/kernel.h"
/* after kernel.h */
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define MAX_BUCKET 36

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16384);
  __type(key, __u64);
  __type(value, __u64);
} bench_starts SEC(".maps");

struct bench_key {
  __u64 cgroup;
  __u64 bucket;
};
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16384);
  __type(key, struct bench_key);
  __type(value, __u64);
} bench_buckets SEC(".maps");

static __always_inline void increment(const struct bench_key* key, __u64 by) {
  __u64* value = bpf_map_lookup_elem(&bench_buckets, key);
  if (!value) {
    __u64 zero = 0;
    bpf_map_update_elem(&bench_buckets, key, &zero, BPF_NOEXIST);
    value = bpf_map_lookup_elem(&bench_buckets, key);
    if (!value) return;
  }
  __sync_fetch_and_add(value, by);
}

static __always_inline __u32 log2_of(__u64 value) {
  __u32 rest = value >> 32 ? value >> 32 : value, log = value >> 32 ? 32 : 0;
  if (rest >> 16) rest >>= 16, log += 16;
  if (rest >> 8) rest >>= 8, log += 8;
  if (rest >> 4) rest >>= 4, log += 4;
  if (rest >> 2) rest >>= 2, log += 2;
  return log + (rest >> 1);
}

SEC("tp_btf/sk_data_ready")
int BPF_PROG(hash_data_ready, struct sock* sk) {
  if (sk->sk_protocol != IPPROTO_TCP) return 0;
  __u64 key = (__u64)sk, now = bpf_ktime_get_ns();
  bpf_map_update_elem(&bench_starts, &key, &now, BPF_NOEXIST);
  return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(hash_send, struct sock* sk, int ret) {
  if (ret <= 0 || sk->sk_protocol != IPPROTO_TCP) return 0;
  __u64 key = (__u64)sk;
  __u64* start = bpf_map_lookup_elem(&bench_starts, &key);
  if (!start) return 0;
  __u64 ns = bpf_ktime_get_ns() - *start;
  bpf_map_delete_elem(&bench_starts, &key);

  struct bench_key at = {.cgroup = sk->sk_cgrp_data.cgroup->kn->id, .bucket = log2_of(ns)};
  if (at.bucket > MAX_BUCKET) at.bucket = MAX_BUCKET;
  increment(&at, 1);
  at.bucket = MAX_BUCKET + 1;
  increment(&at, ns);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
