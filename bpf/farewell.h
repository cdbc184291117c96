/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Messages that say goodbye and have no answer: to the programs they are requests, and the server
 * ends the connection on receiving one, often before its client does. What the client says is not
 * read; but where the protocol is known, how long it is tells.
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

/* Whether that is all that the open request consists of, and it has been read. What has arrived
 * would not tell: a FIN may be in it or not. */
static __always_inline bool is_farewell(const struct tcp_sock* tp,
                                        const struct slogate_sock* state) {
  return tp->rcv_nxt - tp->copied_seq <= 1 &&
         may_be_farewell(state->protocol, tp->copied_seq - state->begun);
}

#endif
