/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Messages that say goodbye and have no answer: to the programs they are requests, and the server
 * ends the connection on receiving one, often before its client does. What the client says is not
 * read; but where the protocol is known, how long it is tells. The same of what a client says that
 * has no answer and no end either.
 */
#ifndef SLOGATE_FAREWELL_H
#define SLOGATE_FAREWELL_H

#include "socket.h"

/* MySQL's clients close what they prepared before they quit: COM_STMT_CLOSE, which has no answer
 * either. So many at most are looked for; of other requests one in nine is as long. */
#define STATEMENT_CLOSE 9
#define MOST_STATEMENTS 16

/* Whether bytes of this protocol may be a farewell: Terminate of PostgreSQL and COM_QUIT of MySQL
 * are of five, and so is nothing that is common and takes its time; `quit\r\n` of memcached. An
 * alert of TLS is of 24 with 1.3 and 23 or 31 with 1.2 and today's ciphers; no request of a kind
 * that is sent through TLS is as short. */
static __always_inline bool may_be_farewell(__u8 protocol, __u32 bytes) {
  switch (protocol) {
    case SLOGATE_PROTOCOL_postgresql:
      return bytes == 5;
    case SLOGATE_PROTOCOL_mysql:
      return bytes % STATEMENT_CLOSE == 5 && bytes <= 5 + MOST_STATEMENTS * STATEMENT_CLOSE;
    case SLOGATE_PROTOCOL_memcached:
      return bytes == 6;
    case SLOGATE_PROTOCOL_tls:
      return bytes == 23 || bytes == 24 || bytes == 31;
    default:
      return 0;
  }
}

/* Nothing but such statements that are closed, in a connection that goes on: the next message is
 * the request. */
static __always_inline bool may_be_closed_statements(__u8 protocol, __u32 bytes) {
  return protocol == SLOGATE_PROTOCOL_mysql && bytes && bytes % STATEMENT_CLOSE == 0 &&
         bytes <= MOST_STATEMENTS * STATEMENT_CLOSE;
}

/* Whether what looks like an open request waits for no answer: a server has read it, or a client
 * has sent it. */
static __always_inline bool expects_nothing(const struct tcp_sock* tp,
                                            const struct slogate_sock* state) {
  __u32 bytes = state->role == SLOGATE_ROLE_client ? tp->write_seq : tp->copied_seq;
  return may_be_closed_statements(state->protocol, bytes - state->begun);
}

static __always_inline bool has_peer_ended(const struct tcp_sock* tp) {
  return ((1 << ((const struct sock*)tp)->__sk_common.skc_state) & HALF_CLOSED) != 0;
}

/* Whether that is all that a server's open request consists of, and it has been read. What has
 * arrived would not tell: a FIN may be in it or not. `fin`: the peer's is known to have come; a
 * server that has read all there is has read it, too. */
static __always_inline bool is_farewell(const struct tcp_sock* tp, const struct slogate_sock* state,
                                        bool fin) {
  __u32 unread = tp->rcv_nxt - tp->copied_seq;
  return unread <= 1 &&
         may_be_farewell(state->protocol, tp->copied_seq - state->begun - (fin && !unread));
}

/* The same of a client, whose own FIN took a number as well if it was sent. */
static __always_inline bool is_own_farewell(const struct tcp_sock* tp,
                                            const struct slogate_sock* state, bool fin) {
  return may_be_farewell(state->protocol, tp->write_seq - state->begun - fin);
}

#endif
