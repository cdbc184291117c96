/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Uploads that are answered before they are over, as with 413. The rest of one arrives while
 * nothing is owed, which is what a request looks like; but nobody will answer it, and the
 * connection ends with it open. HTTP's bodies are not followed. What tells instead is that neither
 * side has heard the other: the server answered without having read what was there, its client goes
 * on without having read the answer.
 *
 * A pipeline looks the same. So what may be the rest is open like a request, and one if it is
 * answered; but it does not wait for anything, and makes way for what comes next.
 */
#ifndef SLOGATE_UPLOAD_H
#define SLOGATE_UPLOAD_H

#include "socket.h"

/* A server's answer that begins while something is unread. */
static __always_inline bool is_early(const struct tcp_sock* tp, const struct slogate_sock* state) {
  return state->protocol == SLOGATE_PROTOCOL_http && has_unread(tp);
}

/* Whether what arrives at a server may be the rest of what it answered: it was early, or its client
 * has not got all of the answer. A request that is the next one comes behind an ACK of that, if not
 * with it. */
static __always_inline bool may_be_rest(const struct tcp_sock* tp,
                                        const struct slogate_sock* state) {
  if (state->flags & (SLOGATE_SOCK_early | SLOGATE_SOCK_rest)) return 1;
  return state->protocol == SLOGATE_PROTOCOL_http && tp->snd_una != tp->write_seq;
}

/* After its own FIN a server answers nothing. What was open before stays so. */
static __always_inline bool can_be_answered(const struct sock* sk,
                                            const struct slogate_sock* state) {
  return state->opened || !((1 << sk->__sk_common.skc_state) & FIN_SENT);
}

/* Whether a server that sends its FIN has answered early: it goes on reading, although something is
 * open that it has not read and will not answer. So does nginx, until its client has heard it. */
static __always_inline bool lingers(const struct sock* sk, const struct slogate_sock* state) {
  return state->role == SLOGATE_ROLE_server && state->protocol == SLOGATE_PROTOCOL_http &&
         state->flags & SLOGATE_SOCK_unread && !(sk->sk_shutdown & RCV_SHUTDOWN);
}

/* Whether what a client sends may be the rest of what was answered: it has not read that. */
static __always_inline bool may_send_rest(const struct tcp_sock* tp,
                                          const struct slogate_sock* state) {
  return state->protocol == SLOGATE_PROTOCOL_http && has_unread(tp);
}

#endif
