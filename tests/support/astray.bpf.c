/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* All that an object must not have: a map and a variable of its own, a constant that nobody gives a
 * value, a program without a row. No agent loads it. */
#include "bpf/kernel.h"
/* after kernel.h */
#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} astray_map SEC(".maps");

__u64 astray_variable = 0;
const volatile __u32 astray_constant = 0;
static const __u32 known_to_the_source[2] = {7, 9};

SEC("tp_btf/kfree_skb")
int astray_program(void* context) {
  __u32 key = 0;
  __u64* value = bpf_map_lookup_elem(&astray_map, &key);
  if (value) *value = astray_constant + known_to_the_source[astray_variable & 1];
  astray_variable++;
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
