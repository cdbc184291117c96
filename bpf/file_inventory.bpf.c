/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The inventory where the kernel refuses iterators over the elements of maps: over the open files
 * of all processes in the agent's PID namespace. It misses connections that nobody has accepted
 * yet, and those that nobody has open any more.
 */
#include "inventory.h"

/* A socket may be open in many processes, and as many files of one. */
static __always_inline bool is_to_visit(const struct slogate_sock* state) {
  const struct slogate_control* c = control();
  if (!c) return 0;
  if (c->walk == SLOGATE_WALK_quiet) return state->listed != 0;
  if (c->walk == SLOGATE_WALK_news && !state->listed) return 0;
  return state->visited != c->walks;
}

SEC("iter/task_file")
int file_inventory(struct bpf_iter__task_file* ctx) {
  struct file* file = ctx->file;
  struct socket* socket = file ? bpf_sock_from_file(file) : 0;
  struct sock* sk = socket ? socket->sk : 0;
  struct slogate_sock* state = sk ? state_of(sk) : 0;
  if (!state || !is_to_visit(state)) return 0;
  return SLOGATE_RUN(file_inventory, 0, look_after(ctx->meta->seq, sk, state));
}

char LICENSE[] SEC("license") = "GPL";
