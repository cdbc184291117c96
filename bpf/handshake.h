/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* How far a connection's handshake of TLS is, and what ends it. Plain C, as is answer.h. */
#ifndef SLOGATE_HANDSHAKE_H
#define SLOGATE_HANDSHAKE_H

#include "maps/abi.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* Kept in `misfits` where the protocol is TLS. */
enum answer_tls {
  ANSWER_TLS_told,  /* full, resumed or failed has been said */
  ANSWER_TLS_hello, /* of 1.2: what follows ServerHello tells */
  ANSWER_TLS_retry, /* the client was asked for another hello */
  ANSWER_TLS_data,  /* data of the application has been seen: never read again */
  ANSWER_TLS_last,  /* of 1.3, and told: the client has to finish, and may be given tickets then */
};

/* Whether so many bytes of a client may be all that ends its handshake of TLS 1.3: Finished with a
 * hash of 32 or 48 bytes, a change of cipher before it or not. A server that answers it then has
 * nothing to say but tickets, and some say nothing: they gave them before, or give none. */
static __always_inline bool may_be_finished(const struct slogate_sock* state, __u32 bytes) {
  return state->protocol == SLOGATE_PROTOCOL_tls && state->misfits == ANSWER_TLS_last &&
         (bytes == 58 || bytes == 64 || bytes == 74 || bytes == 80);
}

#endif
