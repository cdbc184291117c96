/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The inventory of the sockets in a storage map: of those that are remembered or of those that have
 * news, by the link through which the agent starts it.
 */
#include "inventory.h"

SEC("iter/bpf_sk_storage_map")
int inventory(struct bpf_iter__bpf_sk_storage_map* ctx) {
  struct sock* sk = ctx->sk;
  struct slogate_sock* state = sk ? state_of(sk) : 0;
  if (!state) return 0;
  return SLOGATE_RUN(inventory, 0, look_after(ctx->meta->seq, sk, state));
}

char LICENSE[] SEC("license") = "GPL";
