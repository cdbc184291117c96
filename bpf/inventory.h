/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Once a tick, for every socket that has news or something under way (news.h), whatever its
 * network namespace: brings the counts that TCP itself keeps up to date, and reports the requests
 * that are still open. What else the agent may have it do is in enum slogate_walk. Who goes over
 * the sockets: inventory.bpf.c. Where the kernel refuses that, roll_call.bpf.c does all of this.
 *
 * Quiet sockets are not taken off in a walk that reports: for each that had gone the kernel would
 * miss another one, see was_visited().
 */
#ifndef SLOGATE_INVENTORY_H
#define SLOGATE_INVENTORY_H

#include "farewell.h"
#include "streams.h"

static __always_inline __u32 current_walk(void) {
  const struct slogate_control* c = control();
  return c ? c->walk : SLOGATE_WALK_news;
}

static __always_inline void report(struct seq_file* seq, const struct sock* sk,
                                   const struct slogate_sock* state, bool open) {
  if (!open && current_walk() != SLOGATE_WALK_list) return;
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

/* Their number is known of all sockets or not at all. */
static __always_inline void count_http2(const struct slogate_http2* http2) {
  struct slogate_control* c = control();
  if (!c || (c->walk != SLOGATE_WALK_all && c->walk != SLOGATE_WALK_list)) return;
  c->http2_connections++;
  c->http2_streams += http2->open;
}

static __always_inline void report_http2(struct seq_file* seq, const struct sock* sk,
                                         const struct slogate_sock* state,
                                         const struct slogate_http2* http2) {
  if (!http2) return;
  count_http2(http2);
  if (current_walk() == SLOGATE_WALK_list)
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

/* What the inventory is told of a connection besides its counts. */
struct course {
  struct tcp_sock* tp;
  struct slogate_http2* http2; /* 0 for another protocol */
  bool open;                   /* a request waits for its answer */
};

static __always_inline void look_at(struct sock* sk, struct slogate_sock* state,
                                    struct course* course) {
  course->tp = bpf_skc_to_tcp_sock(sk);
  course->http2 = 0;
  if (state->protocol == SLOGATE_PROTOCOL_http2) {
    course->http2 = http2_of(sk);
    course->open = course->http2 && has_waiting(course->http2);
    return;
  }
  course->open = state->opened && sk->__sk_common.skc_state != TCP_SYN_SENT &&
                 !(course->tp && expects_nothing(course->tp, state));
}

/* Whether what comes next may be no event: an acknowledgement, of either side, or an answer that is
 * overdue. A connection that has ended keeps for ever what it could not send. */
static __always_inline bool is_busy(const struct sock* sk, const struct course* course) {
  const struct tcp_sock* tp = course->tp;
  int state = sk->__sk_common.skc_state;
  if (course->open || state == TCP_SYN_SENT || state == TCP_SYN_RECV) return 1;
  if (state == TCP_CLOSE) return 0;
  return tp && (tp->packets_out || tp->write_seq != tp->snd_nxt || tp->rcv_nxt != tp->rcv_wup);
}

/* Brings what is counted of a connection up to date; whether nothing had come or gone. */
static __always_inline bool bring_up(struct slogate_slot* slot, struct slogate_sock* state,
                                     struct tcp_sock* tp, const struct sock* sk) {
  bool same = state->segs_in == tp->segs_in && state->segs_out == tp->segs_out;
  settle(slot, state, tp);
  sample_rtt(slot, state, tp);
  if (is_established(sk)) count_use(slot, state, tp);
  return same;
}

static __always_inline void visit_connection(struct seq_file* seq, struct sock* sk,
                                             struct slogate_sock* state,
                                             struct slogate_slot* slot) {
  if (is_passed_over(sk)) {
    pass_over(sk, state);
    note_visit(sk, state, 0, 1);
    report(seq, sk, state, 0);
    return;
  }
  struct course course = {};
  look_at(sk, state, &course);
  bool same = !slot || !course.tp || bring_up(slot, state, course.tp, sk);
  note_visit(sk, state, is_busy(sk, &course), same);
  if (state->protocol == SLOGATE_PROTOCOL_http2)
    report_http2(seq, sk, state, course.http2);
  else
    report(seq, sk, state, course.open);
}

/* There are few, and what they turn away without an event is found here. */
static __always_inline void visit_listener(struct seq_file* seq, struct sock* sk,
                                           struct slogate_sock* state, struct slogate_slot* slot) {
  note_visit(sk, state, sk->__sk_common.skc_state == TCP_LISTEN, 1);
  if (slot) look_at_queue(slot, state, sk);
  report(seq, sk, state, 0);
}

/* Where its buffer was full the kernel goes on by passing over as many sockets as it has seen
 * before: for each that had its first news meanwhile, and so stands before them, it comes to one
 * again. */
static __always_inline bool was_visited(struct slogate_sock* state) {
  const struct slogate_control* c = control();
  if (!c || state->visited == c->walks) return 1;
  state->visited = c->walks;
  return 0;
}

static __always_inline void visit(struct seq_file* seq, struct sock* sk,
                                  struct slogate_sock* state) {
  if (was_visited(state)) return;
  /* No look-up for a new slot here: the socket's next event makes it. */
  struct slogate_slot* slot = slot_at(state->ref.slot);
  if (slot && slot->generation != state->ref.generation) slot = 0;
  if (state->role == SLOGATE_ROLE_listener)
    visit_listener(seq, sk, state, slot);
  else
    visit_connection(seq, sk, state, slot);
}

/* An event that had read `listed` before this and told only now of what it is about is found by the
 * second look, or by the next walk over all sockets. */
static __always_inline void take_off_quiet(struct sock* sk, struct slogate_sock* state) {
  if (!take_off(sk, state)) return;
  struct course course = {};
  look_at(sk, state, &course);
  if (is_busy(sk, &course)) list_socket(sk, state);
}

static __always_inline void look_after(struct seq_file* seq, struct sock* sk,
                                       struct slogate_sock* state) {
  if (current_walk() == SLOGATE_WALK_quiet)
    take_off_quiet(sk, state);
  else
    visit(seq, sk, state);
}

#endif
