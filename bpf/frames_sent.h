/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What is sent on connections of HTTP/2: follow.h reads it where it lies, in the memory of the
 * process. */
#ifndef SLOGATE_FRAMES_SENT_H
#define SLOGATE_FRAMES_SENT_H

#include "outcome.h"

/* The pieces of a message. */
struct pieces {
  __u64 list; /* of iovecs, 0 for none */
  __u32 left; /* bytes of the message behind the piece */
};

static __always_inline const void* list_of(const struct iov_iter* iter) {
  const void* list = 0;
  if (bpf_core_field_exists(iter->__iov))
    bpf_core_read(&list, sizeof(list), &iter->__iov);
  else
    bpf_core_read(&list, sizeof(list), &((const struct iov_iter___before_6_4*)iter)->iov);
  return list;
}

/* The next piece that has bytes; whether there is one. */
static __always_inline bool next_piece(struct pieces* pieces, struct sent* source,
                                       struct http2_walk* walk, __u64 taken) {
  struct iovec piece = {};
  if (!pieces->list || !pieces->left) return 0;
  if (bpf_probe_read_kernel(&piece, sizeof(piece), (const void*)pieces->list)) return 0;
  pieces->list += sizeof(piece);
  __u64 bytes = piece.iov_len - taken;
  if (bytes > pieces->left) bytes = pieces->left;
  source->address = piece.iov_base + taken;
  walk->begin = walk->end;
  walk->end += (__u32)bytes;
  pieces->left -= (__u32)bytes;
  return 1;
}

/* The first piece of a message, if it is a process's memory. */
static __always_inline bool first_piece(const struct iov_iter* iter, struct pieces* pieces,
                                        struct sent* source, struct http2_walk* walk) {
  __u32 type = iter->iter_type, bytes = at_most_32_bits(iter->count);
  if (type == bpf_core_enum_value(enum iter_type, ITER_UBUF)) {
    source->address = (__u64)iter->ubuf + iter->iov_offset;
    walk->end += bytes;
    return 1;
  }
  if (type != bpf_core_enum_value(enum iter_type, ITER_IOVEC)) return 0;
  pieces->list = (__u64)list_of(iter);
  pieces->left = bytes;
  return next_piece(pieces, source, walk, iter->iov_offset);
}

/* Follows the frames of a message. A send that waits for room comes here again with what is left of
 * it, and a process that was told to wait sends the same once more: what has been looked at is
 * passed over. */
static __noinline int frames_sent(struct sock* sk, struct slogate_sock* state,
                                  const struct msghdr* message) {
  if (!follow_http2 || !message) return 0;
  struct slogate_http2* http2 = http2_of(sk);
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (!http2 || !tp) return 0;
  /* The middle of a frame. */
  __u32 end = tp->write_seq + at_most_32_bits(message->msg_iter.count);
  if (!http2->out.lost && (__s32)(end - http2->out.next) <= 0) return 0;
  struct slogate_slot* slot = slot_of(sk, state);
  if (!slot) return 0;
  __u8 client = state->role == SLOGATE_ROLE_client;
  struct http2_walk walk = {
      .begin = tp->write_seq, .end = tp->write_seq, .out = 1, .answers = !client};
  struct http2_booking booking = {.now = bpf_ktime_get_ns(), .client = client};
  struct pieces pieces = {};
  struct sent source = {};
  if (!first_piece(&message->msg_iter, &pieces, &source, &walk)) return 0;
  if (http2->out.lost) http2_resume(&source, http2, &walk);
  for (int i = 0; i < HTTP2_STEPS; i++) {
    if (http2_step(&source, http2, &walk)) {
      if (walk.event != HTTP2_nothing) book_step(slot, http2, &walk, &booking);
    } else if (!next_piece(&pieces, &source, &walk, 0)) {
      break;
    }
  }
  http2_clear(http2);
  return 0;
}

/* Whether a client begins to speak HTTP/2. */
static __noinline int says_preface(struct sock* sk, struct slogate_sock* state,
                                   const struct msghdr* message) {
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  struct slogate_slot* slot = slot_of(sk, state);
  struct pieces pieces = {};
  struct sent source = {};
  if (!tp || !slot || !message || is_subflow(tp) || !has_answers_read(slot)) return 0;
  struct http2_walk walk = {.begin = tp->write_seq, .end = tp->write_seq, .out = 1};
  return first_piece(&message->msg_iter, &pieces, &source, &walk) &&
         begins_http2(sk, tp, state, &source, &walk);
}

static __always_inline bool may_say_preface(struct sock* sk, const struct slogate_sock* state) {
  if (state->role != SLOGATE_ROLE_client || !may_be_http2(state)) return 0;
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  return tp && may_begin_http2(state, has_sent_nothing(tp));
}

static __noinline int frames_read(struct sock* sk, struct slogate_sock* state, __u64 now) {
  struct slogate_http2* http2 = follow_http2 ? http2_of(sk) : 0;
  struct slogate_slot* slot = http2 ? slot_of(sk, state) : 0;
  if (slot) read_streams(slot, http2, now);
  return 0;
}

#endif
