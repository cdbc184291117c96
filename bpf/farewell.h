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
/* after socket.h, which has the types */
#include "handshake.h"

/* MySQL's clients close what they prepared before they quit: COM_STMT_CLOSE, which has no answer
 * either. So many at most are looked for, where a statement was prepared at all: of other requests
 * one in nine is as long. */
#define STATEMENT_CLOSE 9
#define MOST_STATEMENTS 16

static __always_inline bool may_be_closed_statements(const struct slogate_sock* state,
                                                     __u32 bytes) {
  return state->phase & SLOGATE_PHASE_prepares && bytes && bytes % STATEMENT_CLOSE == 0 &&
         bytes <= MOST_STATEMENTS * STATEMENT_CLOSE;
}

/* An alert of TLS, as long as it is with 1.3 (24), or with 1.2 and today's ciphers: no request of a
 * kind that is sent through TLS is as short. */
static __always_inline bool may_be_alert(__u32 bytes) {
  return bytes == 23 || bytes == 24 || bytes == 31;
}

/* Whether bytes of a connection may be a farewell: Terminate of PostgreSQL and COM_QUIT of MySQL
 * are of five, and so is nothing that is common and takes its time; `quit\r\n` of memcached. */
static __always_inline bool may_be_farewell(const struct slogate_sock* state, __u32 bytes) {
  switch (state->protocol) {
    case SLOGATE_PROTOCOL_postgresql:
      return bytes == 5;
    case SLOGATE_PROTOCOL_mysql:
      return bytes == 5 || may_be_closed_statements(state, bytes) ||
             (bytes > 5 && may_be_closed_statements(state, bytes - 5));
    case SLOGATE_PROTOCOL_memcached:
      return bytes == 6;
    case SLOGATE_PROTOCOL_tls:
      return may_be_alert(bytes) || may_be_finished(state, bytes);
    default:
      return 0;
  }
}

/* Whether what looks like an open request waits for no answer, and the next message is the request:
 * it may be the rest of an upload, or it is nothing but statements that are closed or the end of a
 * handshake, and a server has read that, or a client has sent it. */
static __always_inline bool expects_nothing(const struct tcp_sock* tp,
                                            const struct slogate_sock* state) {
  if (state->flags & SLOGATE_SOCK_rest) return 1;
  __u32 bytes = state->role == SLOGATE_ROLE_client ? tp->write_seq : tp->copied_seq;
  bytes -= state->begun;
  return may_be_closed_statements(state, bytes) || may_be_finished(state, bytes);
}

static __always_inline bool has_peer_ended(const struct tcp_sock* tp) {
  return ((1 << ((const struct sock*)tp)->__sk_common.skc_state) & HALF_CLOSED) != 0;
}

/* Of how many bytes the open request of a server is that has read all of it, else 0. What has
 * arrived would not tell: a FIN may be in it or not. `fin`: the peer's is known to have come; a
 * server that has read all there is has read it, too. */
static __always_inline __u32 bytes_read(const struct tcp_sock* tp, const struct slogate_sock* state,
                                        bool fin) {
  __u32 unread = tp->rcv_nxt - tp->copied_seq;
  return unread <= 1 ? tp->copied_seq - state->begun - (fin && !unread) : 0;
}

/* The same of a client, whose own FIN took a number as well if it was sent. */
static __always_inline __u32 bytes_sent(const struct tcp_sock* tp, const struct slogate_sock* state,
                                        bool fin) {
  return tp->write_seq - state->begun - fin;
}

/* PostgreSQL's CancelRequest is alone on its connection, and gets no answer. That it is no other
 * message of 16 bytes which nobody answers is believed of a cgroup that speaks PostgreSQL. */
#define CANCEL_REQUEST 16

static __always_inline bool may_be_cancel(const struct slogate_slot* slot,
                                          const struct tcp_sock* tp,
                                          const struct slogate_sock* state, __u32 bytes) {
  bool client = state->role == SLOGATE_ROLE_client;
  bool answered = client ? tp->data_segs_in != 0 : !has_sent_nothing(tp);
  return bytes == CANCEL_REQUEST && !answered &&
         slot->counters[SLOGATE_ANSWER_COUNTER(client, SLOGATE_ANSWER_postgresql_success)];
}

#endif
