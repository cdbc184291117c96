/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The streams of a connection of HTTP/2: what is remembered of each, and what is booked when they
 * end. What their frames say is in follow.h.
 *
 * A stream is a request. It opens with the HEADERS of the side that asks; its request is closed by
 * the first block of headers that is no interim answer (1xx); it ends with END_STREAM of the answer
 * or with RST_STREAM, and what it came to is known then: by `grpc-status`, where it has one, else
 * by
 * `:status`.
 *
 * All of it runs under the socket's lock, but for the inventory, which only looks.
 */
#ifndef SLOGATE_STREAMS_H
#define SLOGATE_STREAMS_H

#include "socket.h"

static __always_inline struct slogate_http2* http2_of(struct sock* sk) {
  return bpf_sk_storage_get(&slogate_http2, sk, 0, 0);
}

/* ---- the table of streams ---- */

static __always_inline __u32 stream_place(__u32 id) {
  return (id >> 1) & (SLOGATE_STREAMS - 1);
}

/* Where a stream's entry is; -1 for nowhere. As a rule it is in the place of its number: streams
 * are numbered one after the other and live about as long. */
__noinline int find_stream(const struct slogate_http2* http2, __u32 id) {
  if (!http2 || !id) return -1;
  __u32 place = stream_place(id);
  if (http2->streams[place].id == id) return (int)place;
  if (!http2->displaced) return -1;
  for (__u32 i = 0; i < SLOGATE_STREAMS; i++)
    if (http2->streams[i].id == id) return (int)i;
  return -1;
}

/* An entry that nobody has, or that is left of a stream which may long have ended. */
static __always_inline bool is_free_stream(const struct slogate_http2* http2, __u32 place) {
  return http2->streams[place].id <= http2->doubt;
}

__noinline int free_stream(const struct slogate_http2* http2, __u32 id) {
  if (!http2) return -1;
  __u32 place = stream_place(id);
  if (is_free_stream(http2, place)) return (int)place;
  if (http2->open >= SLOGATE_STREAMS && !http2->doubt) return -1;
  for (__u32 i = 0; i < SLOGATE_STREAMS; i++)
    if (is_free_stream(http2, i)) return (int)i;
  return -1;
}

static __always_inline void drop_stream(struct slogate_http2* http2, __u32 place) {
  __u32 id = http2->streams[place & (SLOGATE_STREAMS - 1)].id;
  http2->streams[place & (SLOGATE_STREAMS - 1)].id = 0;
  if (!id) return;
  http2->open--;
  if (stream_place(id) != place) http2->displaced--;
}

/* ---- outcomes ---- */

/* Of gRPC, after OpenTelemetry's rule for servers: those that say that the server failed. */
static __always_inline bool is_grpc_failure(__u32 status) {
  switch (status) {
    case 2:  /* UNKNOWN */
    case 4:  /* DEADLINE_EXCEEDED */
    case 12: /* UNIMPLEMENTED */
    case 13: /* INTERNAL */
    case 14: /* UNAVAILABLE */
    case 15: /* DATA_LOSS */
      return 1;
    default:
      return 0;
  }
}

/* `grpc`: 1 + the status. */
static __always_inline __u8 grpc_answer(__u32 grpc) {
  if (grpc == 1) return SLOGATE_ANSWER_grpc_success;
  if (grpc > 17) return SLOGATE_ANSWER_grpc_unknown;
  return is_grpc_failure(grpc - 1) ? SLOGATE_ANSWER_grpc_server_error
                                   : SLOGATE_ANSWER_grpc_client_error;
}

static __always_inline __u8 http2_answer(__u32 status) {
  if (status >= 200 && status < 400) return SLOGATE_ANSWER_http2_success;
  if (status >= 400 && status < 500) return SLOGATE_ANSWER_http2_client_error;
  if (status >= 500 && status < 600) return SLOGATE_ANSWER_http2_server_error;
  return SLOGATE_ANSWER_http2_unknown;
}

/* What a stream came to that ended before its end. gRPC's status comes last, so it is missing. */
static __always_inline __u8 broken_answer(const struct slogate_http2* http2, __u32 status) {
  if (http2->grpc && status == 200) return SLOGATE_ANSWER_grpc_unknown;
  return http2_answer(status);
}

/* ---- booking ---- */

/* A stream that has ended without any answer. `asker`: it was the side that asked that ended it. */
static __always_inline void count_unanswered_stream(struct slogate_slot* slot, bool client,
                                                    bool asker) {
  if (client)
    add(slot, SLOGATE_COUNTER_unanswered_client, 1);
  else
    add(slot, asker ? SLOGATE_COUNTER_client_gone : SLOGATE_COUNTER_unanswered_server, 1);
}

struct http2_booking {
  __u64 now;
  __u8 client; /* the socket is the client's */
  __u8 asker;  /* at the end of a connection: it was the side that asks that ended it */
};

/* Streams without an entry, of which `:status` is all that was said. */
static __always_inline void count_untold(struct slogate_slot* slot, struct slogate_http2* http2,
                                         const struct http2_booking* booking) {
  if (!http2->untold) return;
  count_answer(slot, booking->client, http2_answer(200), http2->untold);
  http2->untold = 0;
}

/* An answered stream is over. */
static __always_inline void end_stream(struct slogate_slot* slot,
                                       const struct slogate_stream* stream,
                                       const struct http2_booking* booking, __u8 answer) {
  count_answer(slot, booking->client, answer, 1);
  if (booking->client || !stream->opened) return;
  if (answer == SLOGATE_ANSWER_http2_server_error || answer == SLOGATE_ANSWER_grpc_server_error)
    record(slot, SLOGATE_SIGNAL_failed_request, stream->opened, stream->mark);
  record(slot, SLOGATE_SIGNAL_answer, stream->opened, booking->now);
}

/* What is in doubt and does not come up again: the frames that would have told went by unseen. */
static __always_inline void forget_stream(struct slogate_slot* slot, struct slogate_http2* http2,
                                          __u32 place, const struct http2_booking* booking) {
  const struct slogate_stream* stream = &http2->streams[place & (SLOGATE_STREAMS - 1)];
  if (!stream->id) return;
  if (stream->flags & SLOGATE_STREAM_answered)
    count_answer(slot, booking->client, broken_answer(http2, stream->status), 1);
  else
    add(slot, SLOGATE_COUNTER_streams_missed, 1);
  drop_stream(http2, place);
}

/* Begins an entry, in the place of one that is in doubt if it must; 0 where there is no room. */
static __always_inline struct slogate_stream* add_stream(struct slogate_slot* slot,
                                                         struct slogate_http2* http2, __u32 id,
                                                         const struct http2_booking* booking) {
  int found = free_stream(http2, id);
  if (found < 0) return 0;
  __u32 place = (__u32)found & (SLOGATE_STREAMS - 1);
  forget_stream(slot, http2, place, booking);
  http2->open++;
  if (stream_place(id) != place) http2->displaced++;
  struct slogate_stream* stream = &http2->streams[place];
  stream->id = id;
  stream->opened = stream->mark = 0;
  stream->status = 0;
  stream->flags = 0;
  return stream;
}

/* ---- the end of the connection ---- */

/* One that is open when its connection ends. */
__noinline int end_open_stream(struct slogate_slot* slot, struct slogate_http2* http2, __u32 place,
                               const struct http2_booking* booking) {
  if (!slot || !http2 || !booking) return 0;
  struct slogate_stream* stream = &http2->streams[place & (SLOGATE_STREAMS - 1)];
  if (stream->id <= http2->doubt) {
    forget_stream(slot, http2, place, booking);
    return 0;
  }
  if (stream->flags & SLOGATE_STREAM_answered)
    end_stream(slot, stream, booking, broken_answer(http2, stream->status));
  else
    count_unanswered_stream(slot, booking->client != 0, booking->asker != 0);
  drop_stream(http2, place);
  return 0;
}

static __always_inline void end_streams(struct slogate_slot* slot, struct slogate_http2* http2,
                                        const struct http2_booking* booking) {
  count_untold(slot, http2, booking);
  if (!http2->open) return;
  for (__u32 i = 0; i < SLOGATE_STREAMS; i++) end_open_stream(slot, http2, i, booking);
}

/* Whether a stream waits for its answer, as far as anybody can tell. */
static __always_inline bool is_waiting(const struct slogate_http2* http2,
                                       const struct slogate_stream* stream) {
  return stream->id > http2->doubt && !(stream->flags & SLOGATE_STREAM_answered);
}

__noinline int has_waiting(const struct slogate_http2* http2) {
  if (!http2 || !http2->open) return 0;
  for (__u32 i = 0; i < SLOGATE_STREAMS; i++)
    if (is_waiting(http2, &http2->streams[i])) return 1;
  return 0;
}

/* ---- queue ---- */

__noinline int read_stream(struct slogate_slot* slot, struct slogate_http2* http2, __u32 id,
                           __u64 now) {
  if (!slot || !http2) return 0;
  int found = find_stream(http2, id);
  if (found < 0) return 0;
  struct slogate_stream* stream = &http2->streams[found & (SLOGATE_STREAMS - 1)];
  if (!(stream->flags & SLOGATE_STREAM_unread)) return 0;
  stream->flags &= ~SLOGATE_STREAM_unread;
  record(slot, SLOGATE_SIGNAL_queue, stream->opened, now);
  return 0;
}

/* Whatever has arrived is taken to be read by the first read: of a burst that is longer than the
 * reader's buffer the end is read a little later. */
static __always_inline void read_streams(struct slogate_slot* slot, struct slogate_http2* http2,
                                         __u64 now) {
  __u32 id = http2->unread, last = http2->last;
  http2->unread = 0;
  if (!id) return;
  for (int i = 0; i < SLOGATE_STREAMS; i++) {
    if (id > last) break;
    read_stream(slot, http2, id, now);
    id += 2;
  }
}

#endif
