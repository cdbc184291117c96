/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Once a tick, over every socket that is remembered, whatever its network namespace: brings the
 * counts that TCP itself keeps up to date, and reports the requests that are still open. When asked
 * to, reports every socket.
 */
#include "slot.h"

static __always_inline void report(struct seq_file* seq, const struct sock* sk,
                                   const struct slogate_sock* state, bool open) {
  struct slogate_control* c = control();
  if (!open && !(c && c->list_sockets)) return;
  struct slogate_inflight one = {.ref = state->ref,
                                 .opened = open ? state->opened : 0,
                                 .role = state->role,
                                 .port = sk->__sk_common.skc_num,
                                 .state = sk->__sk_common.skc_state};
  bpf_seq_write(seq, &one, sizeof(one));
}

static __always_inline void visit(struct seq_file* seq, struct sock* sk,
                                  struct slogate_sock* state) {
  struct slogate_slot* slot = slot_at(state->ref.slot);
  if (!slot) return;
  /* No look-up for a new slot here: the socket's next event makes it. */
  bool current = slot->generation == state->ref.generation;
  if (state->role == SLOGATE_ROLE_listener) {
    if (current)
      advance(slot, SLOGATE_COUNTER_server_listen_overflow, &state->drops, sk->sk_drops.counter);
    report(seq, sk, state, 0);
    return;
  }
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (current && tp) {
    settle(slot, state, tp);
    sample_rtt(slot, state, tp);
  }
  report(seq, sk, state, state->opened && sk->__sk_common.skc_state != TCP_SYN_SENT);
}

SEC("iter/bpf_sk_storage_map")
int inventory(struct bpf_iter__bpf_sk_storage_map* ctx) {
  struct sock* sk = ctx->sk;
  struct slogate_sock* state = ctx->value;
  if (!sk || !state) return 0;
  return SLOGATE_RUN(inventory, visit(ctx->meta->seq, sk, state));
}

char LICENSE[] SEC("license") = "GPL";
