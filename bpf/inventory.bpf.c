/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Once a tick, over every socket that is remembered, whatever its network namespace: brings the
 * counts that TCP itself keeps up to date, and reports the requests that are still open. When asked
 * to, reports every socket.
 */
#include "farewell.h"
#include "streams.h"

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

/* Each stream that waits for its answer, since its latest frame: as long as one comes in every
 * second, a call that streams its request is not overdue. */
static __always_inline void report_streams(struct seq_file* seq, const struct sock* sk,
                                           const struct slogate_sock* state,
                                           const struct slogate_http2* http2) {
  struct slogate_inflight one = {.ref = state->ref,
                                 .role = state->role,
                                 .port = sk->__sk_common.skc_num,
                                 .state = sk->__sk_common.skc_state};
  for (__u32 i = 0; i < SLOGATE_STREAMS; i++) {
    const struct slogate_stream* stream = &http2->streams[i];
    if (!is_waiting(http2, stream)) continue;
    one.opened = stream->mark;
    bpf_seq_write(seq, &one, sizeof(one));
  }
}

static __always_inline void visit_http2(struct seq_file* seq, struct sock* sk,
                                        const struct slogate_sock* state) {
  const struct slogate_http2* http2 = http2_of(sk);
  struct slogate_control* c = control();
  if (!http2 || !c) return;
  c->http2_connections++;
  c->http2_streams += http2->open;
  if (c->list_sockets)
    report(seq, sk, state, 0);
  else if (http2->open)
    report_streams(seq, sk, state, http2);
}

/* A connection that is not watched: what happened meanwhile is not ours, and nothing of it may be
 * left when it is watched again. */
static __always_inline void pass_over(struct sock* sk, struct slogate_sock* state) {
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (!tp) return;
  state->opened = state->started = 0;
  state->flags = 0;
  struct slogate_http2* http2 = state->protocol == SLOGATE_PROTOCOL_http2 ? http2_of(sk) : 0;
  /* Where its frames are is found out again, as after any gap. */
  if (http2) http2->doubt = http2->last;
  state->sent = tp->write_seq;
  state->segs_in = state->rtt_segs = tp->segs_in;
  state->segs_out = tp->segs_out;
  state->retransmits = tp->total_retrans;
}

static __always_inline bool is_passed_over(const struct sock* sk) {
  struct slogate_control* c = control();
  return c && !is_watched(c->spare, sk->__sk_common.skc_hash);
}

/* Before that it may carry data by Fast Open, and is not counted as a connection yet. */
static __always_inline bool is_established(const struct sock* sk) {
  int state = sk->__sk_common.skc_state;
  return state != TCP_SYN_SENT && state != TCP_SYN_RECV && state != TCP_CLOSE;
}

static __always_inline void visit(struct seq_file* seq, struct sock* sk,
                                  struct slogate_sock* state) {
  struct slogate_slot* slot = slot_at(state->ref.slot);
  if (!slot) return;
  if (state->role != SLOGATE_ROLE_listener && is_passed_over(sk)) {
    pass_over(sk, state);
    report(seq, sk, state, 0);
    return;
  }
  /* No look-up for a new slot here: the socket's next event makes it. */
  bool current = slot->generation == state->ref.generation;
  if (state->role == SLOGATE_ROLE_listener) {
    if (current) look_at_queue(slot, state, sk);
    report(seq, sk, state, 0);
    return;
  }
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (current && tp) {
    settle(slot, state, tp);
    sample_rtt(slot, state, tp);
    if (is_established(sk)) count_use(slot, state, tp);
  }
  if (state->protocol == SLOGATE_PROTOCOL_http2) {
    visit_http2(seq, sk, state);
    return;
  }
  bool open = state->opened && sk->__sk_common.skc_state != TCP_SYN_SENT;
  report(seq, sk, state, open && !(tp && expects_nothing(tp, state)));
}

SEC("iter/bpf_sk_storage_map")
int inventory(struct bpf_iter__bpf_sk_storage_map* ctx) {
  struct sock* sk = ctx->sk;
  struct slogate_sock* state = ctx->value;
  if (!sk || !state) return 0;
  return SLOGATE_RUN(inventory, 0, visit(ctx->meta->seq, sk, state));
}

char LICENSE[] SEC("license") = "GPL";
