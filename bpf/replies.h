/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Redis sends the answers of a pipeline in one go, so one send or packet has many. Included behind
 * answer.h, with what that reads from. */
#ifndef SLOGATE_REPLIES_H
#define SLOGATE_REPLIES_H

#include "socket.h"

/* Counts all but the first, which closes the request. */
static __always_inline void count_more_replies(struct slogate_slot* slot, bool client,
                                               ANSWER_SOURCE* source,
                                               struct answer_reading* reading) {
  struct answer_replies replies = {};
  for (int i = 0; i < ANSWER_REDIS_STEPS; i++)
    if (!step_replies(source, reading, &replies)) break;
#pragma unroll
  for (int i = 0; i < ANSWER_REDIS_OUTCOMES; i++)
    if (replies.more[i])
      count_answer(slot, client, SLOGATE_ANSWER_redis_success + i, replies.more[i]);
}

#endif
