/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What is booked of the frames of HTTP/2, in both directions. Included behind answer.h, by the
 * programs that see what is sent and what arrives. */
#ifndef SLOGATE_FOLLOW_H
#define SLOGATE_FOLLOW_H

#include "http2.h"
#include "streams.h"

/* Set by the agent before loading: whether HTTP/2 is followed here. It takes both directions. */
const volatile bool follow_http2 = 0;

/* Whether a connection is of HTTP/2 and followed. Programs of before may have followed what these
 * do not. */
static __always_inline bool is_followed(struct slogate_sock* state) {
  if (state->protocol != SLOGATE_PROTOCOL_http2) return 0;
  if (follow_http2) return 1;
  state->protocol = SLOGATE_PROTOCOL_opaque;
  return 0;
}

/* The most steps along one send or one packet, so that nobody's frames keep a CPU for long. What is
 * behind them has gone by unseen: see http2_resume(). */
#define HTTP2_STEPS 1024

/* ---- booking ---- */

enum http2_code {
  HTTP2_NO_ERROR = 0,
  HTTP2_INTERNAL = 2,
  HTTP2_REFUSED = 7,
  HTTP2_CANCEL = 8,
  HTTP2_CALM = 11
};

static __always_inline void count_stream_reset(struct slogate_slot* slot, bool client, __u32 code) {
  __u32 row = SLOGATE_COUNTER_server_reset_other;
  if (code == HTTP2_NO_ERROR) row = SLOGATE_COUNTER_server_reset_no_error;
  if (code == HTTP2_INTERNAL) row = SLOGATE_COUNTER_server_reset_internal_error;
  if (code == HTTP2_REFUSED) row = SLOGATE_COUNTER_server_reset_refused_stream;
  if (code == HTTP2_CANCEL) row = SLOGATE_COUNTER_server_reset_cancel;
  if (code == HTTP2_CALM) row = SLOGATE_COUNTER_server_reset_enhance_your_calm;
  if (client) row += SLOGATE_COUNTER_client_reset_no_error - SLOGATE_COUNTER_server_reset_no_error;
  add(slot, row, 1);
}

static __always_inline void open_stream(struct slogate_slot* slot, struct slogate_http2* http2,
                                        const struct http2_walk* walk,
                                        const struct http2_booking* booking) {
  __u32 id = walk->stream;
  if (!(id & 1)) return;
  if (id <= http2->last) { /* trailers of the request */
    int found = find_stream(http2, id);
    if (found < 0) return;
    struct slogate_stream* known = &http2->streams[found & (SLOGATE_STREAMS - 1)];
    if (!(known->flags & SLOGATE_STREAM_answered)) known->mark = booking->now;
    return;
  }
  __u32 between = (id + 1) / 2 - (http2->last + 1) / 2 - 1;
  if (http2->resumed && between) add(slot, SLOGATE_COUNTER_streams_missed, between);
  http2->resumed = 0;
  http2->last = id;
  if (id > http2->accepted) {
    count_stream_reset(slot, booking->client, HTTP2_REFUSED);
    return;
  }
  struct slogate_stream* stream = add_stream(slot, http2, id, booking);
  if (!stream) {
    lose(SLOGATE_SITE_no_stream);
    http2->unsure = 1;
    add(slot, SLOGATE_COUNTER_streams_missed, 1);
    return;
  }
  stream->opened = stream->mark = booking->now;
  if (booking->client) return;
  stream->flags = SLOGATE_STREAM_unread;
  if (!http2->unread) http2->unread = id;
}

/* What a stream came to whose last block of headers this is. gRPC says it there, below a `:status`
 * of 200: where a field of it is not known, nothing is. */
static __always_inline __u8 last_answer(const struct slogate_http2* http2,
                                        const struct http2_walk* walk, __u32 status) {
  if (walk->grpc) return grpc_answer(walk->grpc);
  if (!walk->obscure || status != 200) return http2_answer(status);
  return http2->grpc ? SLOGATE_ANSWER_grpc_unknown : SLOGATE_ANSWER_http2_unknown;
}

/* A stream is answered whose HEADERS nobody saw: they were lost with those of all in between, or
 * nobody watches what is asked. */
static __always_inline void miss_up_to(struct slogate_slot* slot, struct slogate_http2* http2,
                                       __u32 id) {
  http2->unsure = 1;
  if (!http2->resumed || id - http2->last > HTTP2_FARTHEST) return;
  add(slot, SLOGATE_COUNTER_streams_missed, (id + 1) / 2 - (http2->last + 1) / 2);
  http2->last = id;
}

/* A block of headers of an answer: its first, interim ones, or trailers. */
static __always_inline void hear_stream(struct slogate_slot* slot, struct slogate_http2* http2,
                                        const struct http2_walk* walk,
                                        const struct http2_booking* booking) {
  __u32 id = walk->stream, status = walk->status;
  if (!(id & 1) || (status >= 100 && status < 200)) return;
  if (walk->grpc) { /* and those that are untold come to what their trailers say */
    http2->grpc = 1;
    http2->untold = 0;
  }
  int found = find_stream(http2, id);
  struct slogate_stream none = {.status = status}, *stream = &none;
  if (found >= 0) stream = &http2->streams[found & (SLOGATE_STREAMS - 1)];
  if (found < 0 && id > http2->last) miss_up_to(slot, http2, id);
  if (found < 0 && !http2->unsure) return; /* it was reset meanwhile */
  if (found < 0 && !walk->ends) {
    /* Its beginning was not seen; its end will be. Where there is no room for it either, `:status`
     * is all it says, unless trailers follow that say more: gRPC's do, below 200. Whether this
     * connection is of gRPC is seen where the first stream ends. */
    stream = add_stream(slot, http2, id, booking);
    if (!stream) {
      if (status == 200)
        http2->untold += !http2->grpc;
      else
        count_answer(slot, booking->client, http2_answer(status), 1);
      return;
    }
  }
  if (!(stream->flags & SLOGATE_STREAM_answered)) {
    if (stream->opened)
      record(slot, booking->client ? SLOGATE_SIGNAL_client_request : SLOGATE_SIGNAL_request,
             stream->opened, booking->now);
    stream->flags |= SLOGATE_STREAM_answered;
    stream->mark = booking->now;
    stream->status = status;
  }
  if (!walk->ends) return;
  if (found >= 0 || walk->grpc || status)
    end_stream(slot, stream, booking, last_answer(http2, walk, stream->status));
  if (found >= 0) drop_stream(http2, found & (SLOGATE_STREAMS - 1));
}

/* DATA: the end of an answer, or a sign of life of a request. */
static __always_inline void follow_stream(struct slogate_slot* slot, struct slogate_http2* http2,
                                          const struct http2_walk* walk,
                                          const struct http2_booking* booking) {
  int found = find_stream(http2, walk->stream);
  if (found < 0) return;
  struct slogate_stream* stream = &http2->streams[found & (SLOGATE_STREAMS - 1)];
  if (!(stream->flags & SLOGATE_STREAM_answered)) {
    stream->mark = booking->now;
    return;
  }
  if (!walk->answers) return;
  count_untold(slot, http2, booking);
  end_stream(slot, stream, booking, http2_answer(stream->status));
  drop_stream(http2, found & (SLOGATE_STREAMS - 1));
}

static __always_inline void break_stream(struct slogate_slot* slot, struct slogate_http2* http2,
                                         const struct http2_walk* walk,
                                         const struct http2_booking* booking) {
  int found = find_stream(http2, walk->stream);
  /* Servers say NO_ERROR behind an answer that came before the end of its request. */
  if (found < 0) return;
  count_stream_reset(slot, booking->client, walk->code);
  struct slogate_stream* stream = &http2->streams[found & (SLOGATE_STREAMS - 1)];
  __u8 answer = broken_answer(http2, stream->status);
  /* A server that gives up in the middle of an answer has failed; who cancels is asked to, or no
   * longer waited for. */
  if (walk->answers && walk->code != HTTP2_NO_ERROR && walk->code != HTTP2_CANCEL)
    answer = http2->grpc ? SLOGATE_ANSWER_grpc_server_error : SLOGATE_ANSWER_http2_server_error;
  if (stream->flags & SLOGATE_STREAM_answered)
    end_stream(slot, stream, booking, answer);
  else
    count_unanswered_stream(slot, booking->client, !walk->answers);
  drop_stream(http2, found & (SLOGATE_STREAMS - 1));
}

/* Of what the server does not take up the client hears no more: somebody else will be asked. */
__noinline int refuse_streams(struct slogate_slot* slot, struct slogate_http2* http2,
                              __u32 client) {
  if (!slot || !http2) return 0;
  for (__u32 i = 0; i < SLOGATE_STREAMS; i++) {
    if (http2->streams[i].id <= http2->accepted ||
        http2->streams[i].flags & SLOGATE_STREAM_answered)
      continue;
    count_stream_reset(slot, client != 0, HTTP2_REFUSED);
    drop_stream(http2, i);
  }
  return 0;
}

/* Books what a step has come upon. Global, for the verifier to look at it once. */
__noinline int book_step(struct slogate_slot* slot, struct slogate_http2* http2,
                         const struct http2_walk* walk, const struct http2_booking* booking) {
  if (!slot || !http2 || !walk || !booking) return 0;
  switch (walk->event) {
    case HTTP2_asked:
      open_stream(slot, http2, walk, booking);
      break;
    case HTTP2_said:
      hear_stream(slot, http2, walk, booking);
      break;
    case HTTP2_data:
      follow_stream(slot, http2, walk, booking);
      break;
    case HTTP2_reset:
      break_stream(slot, http2, walk, booking);
      break;
    case HTTP2_goaway:
      add(slot, booking->client ? SLOGATE_COUNTER_goaways_client : SLOGATE_COUNTER_goaways_server,
          1);
      if (!walk->answers || walk->stream >= http2->accepted) break;
      http2->accepted = walk->stream;
      refuse_streams(slot, http2, booking->client);
      break;
    default:
      break;
  }
  return 0;
}

/* ---- the beginning ---- */

/* So often at most HEADERS are looked for: whoever speaks something else is not to pay for ever. */
#define HTTP2_LOOKS 255

static __always_inline struct slogate_http2* begin_http2(struct sock* sk,
                                                         struct slogate_sock* state) {
  struct slogate_http2* http2 =
      bpf_sk_storage_get(&slogate_http2, sk, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (!http2) {
    lose(SLOGATE_SITE_no_storage);
    return 0;
  }
  enter_http2(sk, http2);
  http2->accepted = ~0u;
  state->protocol = SLOGATE_PROTOCOL_http2;
  state->phase = 0;
  state->opened = 0;
  return http2;
}

/* The same where a request is open: it is the first stream. */
static __always_inline struct slogate_http2* begin_with_stream(struct sock* sk,
                                                               struct slogate_sock* state,
                                                               __u64 opened) {
  struct slogate_http2* http2 = begin_http2(sk, state);
  if (!http2) return 0;
  struct slogate_stream* first = &http2->streams[stream_place(1)];
  first->id = http2->last = http2->open = 1;
  first->opened = first->mark = opened;
  return http2;
}

/* A connection whose server has said so in HTTP/1 (101). What its client says next is the preface;
 * `answers`: where the server's frames begin. */
static __always_inline bool upgrade_to_http2(struct sock* sk, const struct tcp_sock* tp,
                                             struct slogate_sock* state, __u64 opened,
                                             __u32 answers) {
  bool client = state->role == SLOGATE_ROLE_client;
  struct slogate_http2* http2 = begin_with_stream(sk, state, opened);
  if (!http2) return 0;
  http2->in.next = client ? answers : tp->rcv_nxt + HTTP2_PREFACE;
  http2->out.next = client ? tp->write_seq + HTTP2_PREFACE : answers;
  return 1;
}

/* A server that answers with SETTINGS what was not seen: it came with the handshake's last ACK, as
 * it does where accepting is deferred, and was the preface, most likely with a request. */
static __always_inline bool begin_at_settings(struct sock* sk, const struct tcp_sock* tp,
                                              struct slogate_sock* state, __u64 opened) {
  struct slogate_http2* http2 = begin_with_stream(sk, state, opened);
  if (!http2) return 0;
  http2->in.lost = 1;
  http2->out.next = tp->write_seq;
  http2->resumed = http2->unsure = 1;
  return 1;
}

/* Whether this is a connection of HTTP/2 whose side that asks says something: its first bytes, or
 * what comes after an upgrade; or HEADERS, where the first bytes were not seen. What was said in
 * the other direction before the preface is whole frames: a server may speak first. */
static __always_inline bool begins_http2(struct sock* sk, const struct tcp_sock* tp,
                                         struct slogate_sock* state, ANSWER_SOURCE* source,
                                         const struct http2_walk* walk) {
  bool preface = http2_is_preface(source, walk->end - walk->begin);
  bool upgraded = (state->phase & SLOGATE_PHASE_upgraded) != 0;
  __u32 stream = 0;
  state->phase &= ~SLOGATE_PHASE_upgraded;
  if (!preface && state->phase & SLOGATE_PHASE_unknown) {
    stream = (__u32)http2_beginning(source, walk);
    if (++state->looks == HTTP2_LOOKS) state->phase &= ~SLOGATE_PHASE_unknown;
  }
  if (!preface && !stream) return 0;
  struct slogate_http2* http2 = begin_http2(sk, state);
  if (!http2) return 0;
  http2->in.next = tp->rcv_nxt;
  http2->out.next = tp->write_seq;
  http2_way(http2, walk)->next = walk->begin + (preface ? HTTP2_PREFACE : 0);
  if (preface) {
    /* The first stream is the request that was answered by 101. */
    if (upgraded) http2->last = 1;
    return 1;
  }
  http2->last = stream > 2 ? stream - 2 : 0;
  http2->unsure = 1;
  if (walk->out)
    http2->in.lost = 1;
  else
    http2->out.lost = 1;
  return 1;
}

/* Whether a protocol leaves that open: a server that spoke first has told nothing, or is taken for
 * what nobody knows, and so is one that has been upgraded. */
static __always_inline bool may_be_http2(const struct slogate_sock* state) {
  return follow_http2 &&
         (state->protocol == SLOGATE_PROTOCOL_http2 || state->protocol == SLOGATE_PROTOCOL_untold ||
          state->protocol == SLOGATE_PROTOCOL_opaque);
}

/* Whether to look whether it begins here. `first`: nothing has been said before. */
static __always_inline bool may_begin_http2(const struct slogate_sock* state, bool first) {
  return first || state->phase & (SLOGATE_PHASE_upgraded | SLOGATE_PHASE_unknown);
}

#endif
