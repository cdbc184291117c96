/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What a server answers, at the first byte that it hands over: answer.h reads it where it lies, in
 * the memory of the process that sends. Nothing of it leaves the program but a row of
 * SLOGATE_ANSWERS.
 */
#ifndef SLOGATE_OUTCOME_H
#define SLOGATE_OUTCOME_H

#include "socket.h"

/* Where the first bytes lie in one piece. */
struct sent {
  __u64 address;
};
#define ANSWER_SOURCE struct sent

/* Fails for a page that is not there, such as one of a file that nobody has touched yet. */
static __always_inline bool peek(struct sent* sent, __u32 offset, void* to, __u32 n) {
  return !bpf_probe_read_user(to, n, (const void*)(sent->address + offset));
}

#include "answer.h"
/* after answer.h */
#include "follow.h"
#include "replies.h"

static __always_inline __u32 at_most_32_bits(__u64 n) {
  return n > 0xffffffff ? 0xffffffff : n;
}

/* Whether a send of a process's memory has been under way for a while, and these are more of its
 * bytes: TCP begins anew in the middle of one when it had to wait for room, or has looked at what
 * came meanwhile. A buffer that was registered with io_uring has an offset from the beginning. */
static __always_inline bool is_going_on(const struct msghdr* message) {
  if (!message || !message->msg_iter.iov_offset) return 0;
  __u32 type = message->msg_iter.iter_type;
  return type == bpf_core_enum_value(enum iter_type, ITER_UBUF) ||
         type == bpf_core_enum_value(enum iter_type, ITER_IOVEC);
}

/* Where a message that is not going on has its first bytes; whether they are a process's. Those of
 * sendfile and splice lie in pages, and those of the kernel's own senders anywhere. */
static __always_inline bool find_bytes(const struct msghdr* message, struct sent* source,
                                       struct answer_reading* reading) {
  const struct iov_iter* iter = &message->msg_iter;
  __u32 type = iter->iter_type;
  __u64 bytes = iter->count, here = bytes;
  if (type == bpf_core_enum_value(enum iter_type, ITER_UBUF)) {
    source->address = (__u64)iter->ubuf;
  } else if (type == bpf_core_enum_value(enum iter_type, ITER_IOVEC)) {
    struct iovec first = {};
    const void* list = 0;
    if (bpf_core_field_exists(iter->__iov))
      bpf_core_read(&list, sizeof(list), &iter->__iov);
    else
      bpf_core_read(&list, sizeof(list), &((const struct iov_iter___before_6_4*)iter)->iov);
    bpf_probe_read_kernel(&first, sizeof(first), list);
    source->address = first.iov_base;
    here = first.iov_len < bytes ? first.iov_len : bytes;
  } else {
    return 0;
  }
  reading->here = at_most_32_bits(here);
  reading->bytes = at_most_32_bits(bytes);
  return 1;
}

/* ---- booking ---- */

static __always_inline void count_handshake(struct slogate_slot* slot, bool client,
                                            __u8 handshake) {
  __u32 first = client ? SLOGATE_COUNTER_client_tls_full : SLOGATE_COUNTER_server_tls_full;
  if (handshake >= ANSWER_HANDSHAKE_full && handshake <= ANSWER_HANDSHAKE_failed)
    add(slot, first + handshake - ANSWER_HANDSHAKE_full, 1);
}

/* Reads a send, if it is worth it, and keeps with the socket what it tells of the protocol. */
static __always_inline void read_send(struct slogate_sock* state, const struct msghdr* message,
                                      struct sent* source, struct answer_reading* reading) {
  reading->protocol = state->protocol;
  reading->misfits = state->misfits;
  reading->phase = state->phase;
  leave_unread(reading);
  if (!is_worth_reading(reading) || !message || !find_bytes(message, source, reading)) return;
  read_answer(source, reading);
  state->protocol = reading->protocol;
  state->misfits = reading->misfits;
  state->phase = reading->phase;
}

/* What is booked of a send that answers a request, or of one that nobody asked for. */
static __always_inline void count_send(struct slogate_slot* slot, struct sent* source,
                                       struct answer_reading* reading) {
  if (reading->kind == ANSWER_outcome) count_answer(slot, 0, reading->answer, 1);
  if (reading->kind == ANSWER_handshake) count_handshake(slot, 0, reading->handshake);
  if (reading->rest) count_more_replies(slot, 0, source, reading);
}

#endif
