/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Requests that end at sock_send_length, on kernels that have neither the tracepoint
 * tcp_sendmsg_locked nor fentry to stand in for it.
 *
 * sock_send_length runs when a send returns, after the socket's lock has been dropped. By then the
 * peer may have reacted to what was sent:
 *
 *   the server's thread                            data_ready, under the lock
 *   tcp_sendmsg: lock, queue the answer, unlock
 *                                                  the peer's next request: `opened` still has the
 *                                                  start of the one that has been answered
 *   send_length: which of the two is it to close?
 *
 * `sent` tells them apart: write_seq as it was when the request began, so a write_seq beyond it
 * says that an answer has begun since. data_ready, which finds an open request that is answered,
 * closes it itself, at the arrival of the next one: no later can it have been answered.
 * send_length, which then finds write_seq at `sent`, has nothing to close.
 *
 * Compare-and-exchange on `opened` lets exactly one of them close a request. send_length reads
 * `opened` before `sent`, and data_ready writes them the other way round: so a send_length that
 * sees the start of the new request sees its `sent` too and leaves it alone, and one that has seen
 * the start of the old one fails at the exchange if the new one has come since.
 *
 * A client's side is the mirror of it: send_length opens the request, and the answer may come
 * before it runs. TCP knows when it had sent what was acknowledged last: then the request began.
 *
 * Where tcp_sendmsg_locked is to be had, close_at_send_length is 0 when the programs are loaded: to
 * the verifier a constant, so that it takes out all that asks for it.
 */
#ifndef SLOGATE_SEND_LENGTH_H
#define SLOGATE_SEND_LENGTH_H

#include "socket.h"

/* Set by the agent before loading. */
const volatile bool close_at_send_length = 0;

/* ---- under the socket's lock, in data_ready ---- */

/* Whether something has been sent for which send_length has not run yet. */
static __always_inline bool send_is_unseen(const struct sock* sk, const struct tcp_sock* tp,
                                           const struct slogate_sock* state) {
  return close_at_send_length && has_sent(sk, tp, state);
}

/* Opens the request that arrived at `now` in the place of an answered one; whether that one is the
 * caller's to close. */
static __always_inline bool replace_answered(const struct tcp_sock* tp, struct slogate_sock* state,
                                             __u64 opened, __u64 now) {
  state->sent = tp->write_seq;
  if (__sync_val_compare_and_swap(&state->opened, opened, now) == opened) return 1;
  state->opened = now;
  return 0;
}

/* When the request was sent that is answered before send_length ran for it. */
static __always_inline __u64 unseen_request(const struct tcp_sock* tp) {
  return tp->rack.mstamp * 1000;
}

/* What the peer has answered is no news to a send_length that comes late. */
static __always_inline void note_answered(const struct tcp_sock* tp, struct slogate_sock* state) {
  if (close_at_send_length) state->sent = tp->write_seq;
}

/* ---- without it, in send_length ---- */

static __always_inline struct slogate_sock* socket_that_sent(struct sock* sk, int bytes) {
  struct slogate_sock* state = by_roll ? state_of(sk) : 0;
  bool first = state && was_unwatched(sk, state);
  state = known_socket(sk);
  if (state && !first) return state;
  if (!state) state = adopt(sk);
  /* The first event of a socket that is older, or is watched again: what is sent here is its news.
   */
  if (state) state->sent -= bytes;
  return state;
}

/* Opens a client's request; for a server, the start of the request that the caller is to close, 0
 * for none. */
static __always_inline __u64 take_answered(const struct tcp_sock* tp, struct slogate_sock* state) {
  /* Before the check, so that it is not a request's that arrives after it. */
  __u64 opened = *(volatile __u64*)&state->opened;
  if (tp->write_seq == *(volatile __u32*)&state->sent) return 0;
  if (state->role == SLOGATE_ROLE_server) {
    if (opened && __sync_val_compare_and_swap(&state->opened, opened, 0) == opened) return opened;
  } else if (!opened) {
    state->opened = bpf_ktime_get_ns();
    /* The answer may have come between the check and the store. */
    if (tp->write_seq == *(volatile __u32*)&state->sent) state->opened = 0;
  }
  return 0;
}

#endif
