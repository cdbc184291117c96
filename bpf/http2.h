/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The frames of HTTP/2 (RFC 9113), and what a block of headers says of an answer (HPACK, RFC 7541).
 * Plain C without a map, compiled into the programs of both directions and, as C++, into the unit
 * tests and the fuzzer.
 *
 * Bytes come in pieces: a segment, an iovec, a part of either. Where the next frame begins is kept
 * as a sequence number, so what comes twice is looked at once, and a frame may be cut anywhere.
 * http2_step() takes one step along a piece: the header of a frame, 9 bytes and what the frame says
 * at once behind them, or up to HTTP2_CHUNK bytes of a block of headers. The rest of a frame is
 * passed over without being read.
 *
 * Of a block only two fields are wanted: `:status` and `grpc-status`. Both are soon a single byte,
 * the index of an entry in a table that the encoder fills as it goes. What is kept of that table is
 * how many entries it ever got, and which of the latest were one of these two: an index says how
 * far back an entry is, whatever the table's size and what has been evicted since.
 *
 * The bytes are the workload's own, so nothing here believes them. What bounds this:
 *   - A step reads at most HTTP2_CHUNK bytes, and passes at most HTTP2_FIELDS fields.
 *   - No length that was read is ever an index, or the size of a copy that is not bounded first.
 *   - A frame that cannot be one ends the following: `lost`, until something plausible begins.
 */
#ifndef SLOGATE_HTTP2_H
#define SLOGATE_HTTP2_H

#include "maps/abi.h"
/* after abi.h, whose includer has the types */
#include "parser.h"

enum http2_type {
  HTTP2_DATA,
  HTTP2_HEADERS,
  HTTP2_PRIORITY,
  HTTP2_RST_STREAM,
  HTTP2_SETTINGS,
  HTTP2_PUSH_PROMISE,
  HTTP2_PING,
  HTTP2_GOAWAY,
  HTTP2_WINDOW_UPDATE,
  HTTP2_CONTINUATION,
};
enum { HTTP2_END_STREAM = 1, HTTP2_END_HEADERS = 4, HTTP2_PADDED = 8, HTTP2_WITH_PRIORITY = 32 };

/* Of a block of headers, in `part`. */
enum http2_part {
  HTTP2_PART_none,  /* none is being read */
  HTTP2_PART_more,  /* CONTINUATION follows */
  HTTP2_PART_last,  /* it ends with this frame */
  HTTP2_PART_pushed /* as the last, of a PUSH_PROMISE: it counts for the table alone */
};

enum http2_field_kind {
  HTTP2_FIELD_other,
  HTTP2_FIELD_status,
  HTTP2_FIELD_grpc,
  HTTP2_FIELD_obscure /* an entry of the table that was not seen, which may be any */
};

/* What a step has come upon. */
enum http2_event {
  HTTP2_nothing,
  HTTP2_asked,  /* HEADERS of the side that asks */
  HTTP2_said,   /* a whole block of headers of the side that answers: `status`, `grpc` */
  HTTP2_data,   /* DATA, of an answer the last */
  HTTP2_reset,  /* RST_STREAM with `code` */
  HTTP2_goaway, /* GOAWAY: `code`, and in `stream` the last one that is accepted */
};

#define HTTP2_FRAME 9        /* bytes of a frame's header */
#define HTTP2_PREFACE 24     /* bytes that a client says first */
#define HTTP2_MOST (1 << 24) /* no frame is longer */
/* Bytes of a block that are decoded at once, behind those that were kept. */
#define HTTP2_CHUNK (SLOGATE_HTTP2_SCRATCH - 2 * SLOGATE_HTTP2_KEPT)
/* Fields in so many bytes: the shortest is one, and the end of one may be a step of its own. */
#define HTTP2_FIELDS (SLOGATE_HTTP2_SCRATCH + 8)
/* A value this long may be a status; none is longer. */
#define HTTP2_STATUS_BYTES 8

struct http2_walk {
  __u32 begin, end; /* sequence numbers of the piece */
  __u32 at, bytes;  /* in the scratch: how far it is decoded, and how much there is */
  __u32 stream, code;
  __u16 status, grpc; /* as in struct slogate_http2_way */
  __u8 out;           /* the caller's: 1 for what is sent */
  __u8 answers;       /* the caller's: 1 for the direction of the answers */
  __u8 event;         /* enum http2_event */
  __u8 ends;          /* with END_STREAM */
  __u8 obscure;       /* of a block: it may say more than is known */
  /* What of the piece is in the scratch, from this sequence number on. */
  __u32 window, window_bytes;
};

static __always_inline struct slogate_http2_way* http2_way(struct slogate_http2* conn,
                                                           const struct http2_walk* walk) {
  return walk->out ? &conn->out : &conn->in;
}

/* A byte of the scratch. clang takes a mask away that it finds needless, and the verifier then does
 * not. */
static __always_inline __u8 http2_byte(const struct slogate_http2* conn, __u32 at) {
  at &= SLOGATE_HTTP2_SCRATCH - 1;
#ifdef __bpf__
  asm volatile("" : "+r"(at));
  at &= SLOGATE_HTTP2_SCRATCH - 1;
#endif
  return conn->scratch[at];
}

/* Nobody knows where the next frame begins, nor what the table holds: later numbers are far from
 * those that were given out before. */
static __always_inline void http2_lose(struct slogate_http2* conn, const struct http2_walk* walk) {
  struct slogate_http2_way* way = http2_way(conn, walk);
  way->lost = 1;
  way->have = way->need = way->kept = way->part = way->in_value = 0;
  way->block = way->skip = way->padding = 0;
  conn->doubt = conn->last;
  conn->resumed = conn->unsure = 1;
  if (!walk->answers) return;
  conn->inserted += 1 << 20;
  conn->since = conn->inserted;
  conn->statuses = 0;
}

/* ---- fields ---- */

/* An integer of HPACK at `at`, with `left` bytes there, one at least: how long it is; 0 where its
 * end is not there, -1 for one that nobody sends. */
static __always_inline int http2_integer(const struct slogate_http2* conn, __u32 at, __u32 left,
                                         __u32 bits, __u32* value) {
  __u32 most = (1u << bits) - 1;
  __u8 byte = 0;
  *value = http2_byte(conn, at) & most;
  if (*value < most) return 1;
  if (left < 2) return 0;
  byte = http2_byte(conn, at + 1);
  *value += byte & 127;
  if (!(byte & 128)) return 2;
  if (left < 3) return 0;
  byte = http2_byte(conn, at + 2);
  *value += (byte & 127) << 7;
  if (!(byte & 128)) return 3;
  if (left < 4) return 0;
  byte = http2_byte(conn, at + 3);
  *value += (byte & 127) << 14;
  return byte & 128 ? -1 : 4;
}

/* Bits of a number in Huffman's code, the first ones highest. */
struct http2_bits {
  __u32 word, left;
  __u32 value, digits;
};

/* A digit has 5 bits up to 2, and 6 from 3 on; ones follow the last. */
static __always_inline void http2_digit(struct http2_bits* bits) {
  __u32 five = bits->word >> 27, six = bits->word >> 26;
  __u32 digit = five < 3 ? five : six - 0x19 + 3, n = five < 3 ? 5 : 6;
  if (bits->left < n || digit > 9) {
    bits->left = 0;
    return;
  }
  bits->value = 10 * bits->value + digit;
  bits->word <<= n;
  bits->left -= n;
  bits->digits++;
}

/* No status: what a value stands for that is no number of one to three digits. */
#define HTTP2_NO_NUMBER 999

ANSWER_PART int http2_number(const struct slogate_http2* conn, __u32 at, __u32 bytes,
                             __u32 huffman) {
  if (!conn || !bytes || bytes > 3) return HTTP2_NO_NUMBER;
  __u8 text[3] = {http2_byte(conn, at), http2_byte(conn, at + 1), http2_byte(conn, at + 2)};
  if (huffman) {
    struct http2_bits bits = {
        .word = (__u32)text[0] << 24 | (__u32)text[1] << 16 | (__u32)text[2] << 8,
        .left = 8 * bytes,
        .value = 0,
        .digits = 0};
    http2_digit(&bits);
    http2_digit(&bits);
    http2_digit(&bits);
    return bits.digits ? (int)bits.value : HTTP2_NO_NUMBER;
  }
  __u32 value = 0;
  ANSWER_UNROLL
  for (__u32 i = 0; i < 3; i++) {
    if (i >= bytes) break;
    if (text[i] < '0' || text[i] > '9') return HTTP2_NO_NUMBER;
    value = 10 * value + (text[i] - '0');
  }
  return (int)value;
}

static __always_inline __u64 http2_word(const struct slogate_http2* conn, __u32 at) {
  __u64 word = 0;
  ANSWER_UNROLL
  for (__u32 i = 0; i < 8; i++) word |= (__u64)http2_byte(conn, at + i) << 8 * i;
  return word;
}

#define HTTP2_GRPC_PLAIN 11
#define HTTP2_GRPC_HUFFMAN 8
#define HTTP2_STATUS_PLAIN 7
#define HTTP2_STATUS_HUFFMAN 5

/* Whether a name is as long as one that is wanted. */
static __always_inline bool http2_may_be_wanted(__u32 bytes, bool huffman) {
  return huffman ? bytes == HTTP2_GRPC_HUFFMAN || bytes == HTTP2_STATUS_HUFFMAN
                 : bytes == HTTP2_GRPC_PLAIN || bytes == HTTP2_STATUS_PLAIN;
}

static __always_inline __u8 http2_kind_of_name(const struct slogate_http2* conn, __u32 at,
                                               __u32 bytes, bool huffman) {
  __u64 word = http2_word(conn, at);
  if (huffman && bytes == HTTP2_GRPC_HUFFMAN)
    return word == 0x8fda3412b2c8ca9aull ? HTTP2_FIELD_grpc : HTTP2_FIELD_other;
  if (huffman)
    return (word & 0xffffffffffull) == 0xa3368d84b8ull ? HTTP2_FIELD_status : HTTP2_FIELD_other;
  if (bytes == HTTP2_STATUS_PLAIN)
    return BEGINS(word, ":status") ? HTTP2_FIELD_status : HTTP2_FIELD_other;
  return word == ANSWER_TEXT("grpc-sta") && http2_byte(conn, at + 8) == 't' &&
                 http2_byte(conn, at + 9) == 'u' && http2_byte(conn, at + 10) == 's'
             ? HTTP2_FIELD_grpc
             : HTTP2_FIELD_other;
}

/* Entries of the static table from 8 to 14 are statuses; what follows 61 is the encoder's own,
 * latest first. */
#define HTTP2_FIRST_STATUS 8
#define HTTP2_LAST_STATUS 14
#define HTTP2_STATIC 61

static __always_inline __u16 http2_static_status(__u32 index) {
  switch (index) {
    case 8:
      return 200;
    case 9:
      return 204;
    case 10:
      return 206;
    case 11:
      return 304;
    case 12:
      return 400;
    case 13:
      return 404;
    default:
      return 500;
  }
}

/* What an index of the table stands for. */
static __always_inline __u8 http2_kind_of_index(const struct slogate_http2* conn, __u32 index,
                                                __u16* value) {
  *value = 0;
  if (index >= HTTP2_FIRST_STATUS && index <= HTTP2_LAST_STATUS) {
    *value = http2_static_status(index);
    return HTTP2_FIELD_status;
  }
  if (index <= HTTP2_STATIC) return HTTP2_FIELD_other;
  __u32 back = index - HTTP2_STATIC - 1, number = conn->inserted - 1 - back;
  /* Numbers from before the beginning are negative. */
  __u8 kind = (__s32)(number - conn->since) < 0 ? HTTP2_FIELD_obscure : HTTP2_FIELD_other;
  if (back < 64 && !(conn->statuses >> back & 1)) return kind;
  if (back < 64) kind = HTTP2_FIELD_obscure; /* a status that has made room for later ones */
  ANSWER_UNROLL
  for (int i = 0; i < SLOGATE_HTTP2_KNOWN; i++)
    if (conn->known[i].number == number && conn->known[i].kind) {
      kind = conn->known[i].kind;
      *value = conn->known[i].value;
    }
  return kind;
}

static __always_inline void http2_note(struct slogate_http2_way* way, __u8 kind, __u16 value) {
  if (kind == HTTP2_FIELD_status) way->status = value;
  if (kind == HTTP2_FIELD_grpc) way->grpc = value + 1;
  if (kind == HTTP2_FIELD_obscure) way->obscure = 1;
}

static __always_inline bool http2_is_status(__u8 kind) {
  return kind == HTTP2_FIELD_status || kind == HTTP2_FIELD_grpc;
}

static __always_inline void http2_insert(struct slogate_http2* conn, __u8 kind, __u16 value) {
  bool is_status = http2_is_status(kind);
  if (is_status) {
    __u32 place = conn->newest & (SLOGATE_HTTP2_KNOWN - 1);
    conn->newest = (place + 1) & (SLOGATE_HTTP2_KNOWN - 1);
    conn->known[place].number = conn->inserted;
    conn->known[place].value = value;
    conn->known[place].kind = kind;
  }
  conn->statuses = conn->statuses << 1 | is_status;
  conn->inserted++;
  /* Its name is not known: it may be a status, and nothing but a threshold remembers that. */
  if (kind == HTTP2_FIELD_obscure) conn->since = conn->inserted;
}

/* The value of the field that is being read. */
static __always_inline int http2_value(struct slogate_http2* conn, struct http2_walk* walk,
                                       struct slogate_http2_way* way, __u32 left) {
  __u32 at = walk->at, bytes = 0;
  __u32 huffman = http2_byte(conn, at) & 0x80;
  int used = http2_integer(conn, at, left, 7, &bytes);
  if (used <= 0) return used;
  __u16 value = HTTP2_NO_NUMBER;
  if (http2_is_status(way->kind) && bytes <= HTTP2_STATUS_BYTES) {
    if (left - used < bytes) return 0;
    value = (__u16)http2_number(conn, at + used, bytes, huffman);
  }
  way->skip = bytes;
  way->in_value = 0;
  walk->at = at + used;
  http2_note(way, way->kind, value);
  if (way->inserts) http2_insert(conn, way->kind, value);
  return 1;
}

/* A field that is not in the table, or whose name alone is: as far as its value. */
static __always_inline int http2_literal(struct slogate_http2* conn, struct http2_walk* walk,
                                         struct slogate_http2_way* way, __u32 left, __u8 first) {
  __u32 at = walk->at, index = 0, bytes = 0;
  __u16 ignored = 0;
  __u8 inserts = (first & 0x40) != 0, kind = HTTP2_FIELD_other;
  int used =
      inserts ? http2_integer(conn, at, left, 6, &index) : http2_integer(conn, at, left, 4, &index);
  if (used <= 0) return used;
  at += used;
  if (index) {
    kind = http2_kind_of_index(conn, index, &ignored);
  } else {
    left -= used;
    if (!left) return 0;
    bool huffman = (http2_byte(conn, at) & 0x80) != 0;
    used = http2_integer(conn, at, left, 7, &bytes);
    if (used <= 0) return used;
    at += used;
    if (http2_may_be_wanted(bytes, huffman)) {
      if (left - used < bytes) return 0;
      kind = http2_kind_of_name(conn, at, bytes, huffman);
    }
  }
  way->skip = bytes;
  way->in_value = 1;
  way->kind = kind;
  way->inserts = inserts;
  walk->at = at;
  return 1;
}

/* Passes what is to be skipped, as far as it is there; how many bytes are left behind it. */
static __always_inline __u32 http2_skip(struct http2_walk* walk, struct slogate_http2_way* way,
                                        __u32 left) {
  __u32 n = way->skip < left ? way->skip : left;
  way->skip -= n;
  walk->at += n;
  return left - n;
}

/* One field further, or as much of it as is there. 0 where there is no more of it, -1 where it is
 * none. */
ANSWER_PART int http2_field(struct slogate_http2* conn, struct http2_walk* walk) {
  if (!conn || !walk) return 0;
  struct slogate_http2_way* way = http2_way(conn, walk);
  __u32 at = walk->at, index = 0;
  __u16 value = 0;
  int used = 0;
  if (at >= walk->bytes) return 0;
  __u32 left = walk->bytes - at;
  if (way->skip) return http2_skip(walk, way, left) != 0;
  if (!way->in_value) {
    __u8 first = http2_byte(conn, at);
    if (first & 0x80) {
      used = http2_integer(conn, at, left, 7, &index);
      if (used <= 0) return used;
      __u8 kind = http2_kind_of_index(conn, index, &value);
      http2_note(way, kind, value);
      walk->at = at + used;
      return 1;
    }
    if ((first & 0xe0) == 0x20) { /* the table's size, which decides nothing here */
      used = http2_integer(conn, at, left, 5, &index);
      if (used <= 0) return used;
      walk->at = at + used;
      return 1;
    }
    used = http2_literal(conn, walk, way, left, first);
    if (used <= 0) return used;
    left = http2_skip(walk, way, walk->bytes - walk->at);
    if (!left) return 0;
  }
  used = http2_value(conn, walk, way, left);
  if (used <= 0) return used;
  return http2_skip(walk, way, walk->bytes - walk->at) != 0;
}

/* ---- blocks of headers ---- */

/* Whether a frame's part of a block has come to its end, and the block with it. */
static __always_inline void http2_end_part(struct slogate_http2* conn, struct http2_walk* walk,
                                           struct slogate_http2_way* way) {
  way->next += way->padding;
  way->padding = 0;
  if (way->part == HTTP2_PART_more) return;
  if (way->kept || way->skip || way->in_value) {
    http2_lose(conn, walk);
    return;
  }
  if (way->part == HTTP2_PART_last) {
    walk->event = HTTP2_said;
    walk->stream = way->stream;
    walk->status = way->status;
    walk->grpc = way->grpc;
    walk->obscure = way->obscure;
    walk->ends = (way->flags & HTTP2_END_STREAM) != 0;
  }
  way->part = HTTP2_PART_none;
}

/* What of a block is not decoded yet, in front of what comes next. */
static __always_inline void http2_take_rest(struct slogate_http2* conn,
                                            const struct slogate_http2_way* way) {
  for (__u32 i = 0; i < SLOGATE_HTTP2_KEPT; i++) {
    if (i >= way->kept) break;
    conn->scratch[i] = way->rest[i];
  }
}

static __always_inline void http2_keep_rest(struct slogate_http2* conn,
                                            const struct http2_walk* walk,
                                            struct slogate_http2_way* way) {
  __u32 rest = walk->bytes - walk->at;
  way->kept = 0;
  for (__u32 i = 0; i < SLOGATE_HTTP2_KEPT; i++) {
    if (i >= rest) break;
    way->rest[i] = http2_byte(conn, walk->at + i);
    way->kept = (__u8)(i + 1);
  }
}

/* Decodes what of a block is in the scratch, from `at` to `bytes`. */
ANSWER_PART int http2_decode(struct slogate_http2* conn, struct http2_walk* walk) {
  if (!conn || !walk) return 0;
  struct slogate_http2_way* way = http2_way(conn, walk);
  int more = 1;
  for (int i = 0; i < HTTP2_FIELDS; i++) {
    more = http2_field(conn, walk);
    if (more <= 0) break;
  }
  if (more < 0 || walk->bytes - walk->at > SLOGATE_HTTP2_KEPT) {
    http2_lose(conn, walk);
    return 0;
  }
  http2_keep_rest(conn, walk, way);
  if (!way->block) http2_end_part(conn, walk, way);
  return 0;
}

/* Takes as many bytes of a block as there are, up to HTTP2_CHUNK. */
ANSWER_PART int http2_block(ANSWER_SOURCE* source, struct slogate_http2* conn,
                            struct http2_walk* walk) {
  ANSWER_KEEP(source);
  if (!source || !conn || !walk) return 0;
  struct slogate_http2_way* way = http2_way(conn, walk);
  __u32 offset = way->next - walk->begin, left = walk->end - way->next;
  __u32 n = way->block, kept = way->kept;
  if (n > left) n = left;
  if (n > HTTP2_CHUNK) n = HTTP2_CHUNK;
  if (kept > SLOGATE_HTTP2_KEPT) return 0;
  walk->window_bytes = 0;
  http2_take_rest(conn, way);
  if (!peek(source, offset, conn->scratch + kept, n)) {
    http2_lose(conn, walk);
    return 0;
  }
  way->next += n;
  way->block -= n;
  walk->at = 0;
  walk->bytes = kept + n;
  http2_decode(conn, walk);
  return 1;
}

/* ---- frames ---- */

static __always_inline __u32 http2_24(const __u8* at) {
  return (__u32)at[0] << 16 | (__u32)at[1] << 8 | at[2];
}

static __always_inline __u32 http2_32(const __u8* at) {
  return (__u32)at[0] << 24 | http2_24(at + 1);
}

/* Extensions have types of their own; those without a meaning that are sent to keep others from
 * choking on them are 31 apart. */
static __always_inline bool http2_is_frame(__u32 length, __u8 type) {
  return length < HTTP2_MOST && (type <= 32 || type % 31 == 11);
}

/* How many bytes behind its header a frame says at once what is asked of it. */
static __always_inline __u32 http2_wanted(__u8 type, __u8 flags) {
  __u32 padded = flags & HTTP2_PADDED ? 1 : 0;
  switch (type) {
    case HTTP2_HEADERS:
      return padded + (flags & HTTP2_WITH_PRIORITY ? 5 : 0);
    case HTTP2_PUSH_PROMISE:
      return padded + 4;
    case HTTP2_RST_STREAM:
      return 4;
    case HTTP2_GOAWAY:
      return 8;
    default:
      return 0;
  }
}

/* The beginning of a block, or more of it, of which `bytes` are behind what has been read. */
static __always_inline void http2_begin_part(struct slogate_http2* conn, struct http2_walk* walk,
                                             struct slogate_http2_way* way, __u8 type, __u8 flags,
                                             __u32 stream, __u32 bytes) {
  bool goes_on = type == HTTP2_CONTINUATION, last = (flags & HTTP2_END_HEADERS) != 0;
  __u32 padding = !goes_on && flags & HTTP2_PADDED ? way->head[HTTP2_FRAME] : 0;
  /* A block is never interrupted; one that is has been lost sight of. */
  if (goes_on != (way->part == HTTP2_PART_more) || padding > bytes ||
      (goes_on && way->stream != stream)) {
    http2_lose(conn, walk);
    return;
  }
  if (!goes_on) {
    way->stream = stream;
    way->flags = flags | (type == HTTP2_PUSH_PROMISE ? 0x80 : 0);
    way->status = way->grpc = 0;
    way->obscure = 0;
    way->skip = 0;
    way->kept = way->in_value = 0;
  }
  way->part = !last ? HTTP2_PART_more : way->flags & 0x80 ? HTTP2_PART_pushed : HTTP2_PART_last;
  way->padding = padding;
  way->block = bytes - padding;
  if (!way->block) http2_end_part(conn, walk, way);
}

/* A frame of which all that is asked for is in `head`. */
static __always_inline void http2_frame(struct slogate_http2* conn, struct http2_walk* walk,
                                        struct slogate_http2_way* way, __u32 wanted) {
  __u32 length = http2_24(way->head), stream = http2_32(way->head + 5) & 0x7fffffff;
  __u8 type = way->head[3], flags = way->head[4];
  __u32 bytes = length - wanted;
  bool is_block = type == HTTP2_HEADERS || type == HTTP2_PUSH_PROMISE || type == HTTP2_CONTINUATION;
  walk->stream = stream;
  walk->ends = (flags & HTTP2_END_STREAM) != 0;
  if (walk->answers && (is_block || way->part != HTTP2_PART_none)) {
    if (is_block)
      http2_begin_part(conn, walk, way, type, flags, stream, bytes);
    else
      http2_lose(conn, walk);
    return;
  }
  way->next += bytes;
  switch (type) {
    case HTTP2_DATA:
      /* Of an answer only the end says anything. */
      if (!walk->answers || walk->ends) walk->event = HTTP2_data;
      return;
    case HTTP2_HEADERS:
      walk->event = HTTP2_asked;
      return;
    case HTTP2_RST_STREAM:
      walk->event = HTTP2_reset;
      walk->code = http2_32(way->head + HTTP2_FRAME);
      return;
    case HTTP2_GOAWAY:
      walk->event = HTTP2_goaway;
      walk->stream = http2_32(way->head + HTTP2_FRAME) & 0x7fffffff;
      walk->code = http2_32(way->head + HTTP2_FRAME + 4);
      return;
    default:
      return;
  }
}

/* Reads on where the window does not reach; whether a whole header is in it then. */
static __always_inline bool http2_look(ANSWER_SOURCE* source, struct slogate_http2* conn,
                                       struct http2_walk* walk,
                                       const struct slogate_http2_way* way) {
  __u32 at = way->next - walk->window, n = walk->end - way->next;
  if (at < walk->window_bytes && walk->window_bytes - at >= HTTP2_FRAME) return 1;
  if (n < HTTP2_FRAME) return 0;
  if (n > HTTP2_CHUNK) n = HTTP2_CHUNK;
  walk->window_bytes = 0;
  /* For 6.1, which loses sight of that. */
#ifdef __bpf__
  asm volatile("" : "+r"(n));
#endif
  n &= SLOGATE_HTTP2_SCRATCH - 1;
  if (!peek(source, way->next - walk->begin, conn->scratch, n)) return 0;
  walk->window = way->next;
  walk->window_bytes = n;
  return 1;
}

/* A frame of an answer whose header is in the window, with what it says at once, and its block of
 * headers where all of that is there as well: the commonest case, with one read for all. Whether it
 * was one. */
static __always_inline bool http2_frame_in_window(ANSWER_SOURCE* source, struct slogate_http2* conn,
                                                  struct http2_walk* walk,
                                                  struct slogate_http2_way* way) {
  if (!http2_look(source, conn, walk, way)) return 0;
  __u32 at = way->next - walk->window, left = walk->window_bytes - at;
  for (__u32 i = 0; i < HTTP2_FRAME; i++) way->head[i] = http2_byte(conn, at + i);
  __u32 wanted = http2_wanted(way->head[3], way->head[4]), length = http2_24(way->head);
  if (!http2_is_frame(length, way->head[3]) || wanted > length) {
    http2_lose(conn, walk);
    return 1;
  }
  if (left < HTTP2_FRAME + wanted) return 0;
  for (__u32 i = HTTP2_FRAME; i < SLOGATE_HTTP2_HEAD; i++) {
    if (i >= HTTP2_FRAME + wanted) break;
    way->head[i] = http2_byte(conn, at + i);
  }
  way->next += HTTP2_FRAME + wanted;
  http2_frame(conn, walk, way, wanted);
  left -= HTTP2_FRAME + wanted;
  /* Of a block that is not all here, or began in the frame before, http2_block() takes the rest. */
  if (!way->block || way->block > left || way->kept) return 1;
  walk->at = at + HTTP2_FRAME + wanted;
  walk->bytes = walk->at + way->block;
  way->next += way->block;
  way->block = 0;
  http2_decode(conn, walk);
  return 1;
}

/* The header of a frame, or as much of it as is there. */
static __always_inline int http2_head(ANSWER_SOURCE* source, struct slogate_http2* conn,
                                      struct http2_walk* walk, struct slogate_http2_way* way) {
  __u32 offset = way->next - walk->begin, left = walk->end - way->next;
  __u32 need = way->need ? way->need : HTTP2_FRAME, have = way->have;
  if (need > SLOGATE_HTTP2_HEAD || have >= need) {
    http2_lose(conn, walk);
    return 0;
  }
  if (!have && walk->answers && http2_frame_in_window(source, conn, walk, way)) return 1;
  __u32 n = need - have;
  if (n > left) n = left;
    /* So it is at most `need`; verifiers do not see that, and take a mask. */
#ifdef __bpf__
  asm volatile("" : "+r"(n), "+r"(have));
#endif
  n &= 31;
  have &= 31;
  if (!peek(source, offset, way->head + have, n)) {
    http2_lose(conn, walk);
    return 0;
  }
  way->next += n;
  way->have = (__u8)(have + n);
  if (have + n < need) return 0;
  __u32 length = http2_24(way->head), wanted = http2_wanted(way->head[3], way->head[4]);
  if (!http2_is_frame(length, way->head[3]) || wanted > length) {
    http2_lose(conn, walk);
    return 1;
  }
  if (need < HTTP2_FRAME + wanted) {
    way->need = (__u8)(HTTP2_FRAME + wanted);
    return 1;
  }
  way->have = way->need = 0;
  http2_frame(conn, walk, way, wanted);
  return 1;
}

/* One step along a piece; whether there may be more of it. What it came upon is in `event`. */
ANSWER_PART int http2_step(ANSWER_SOURCE* source, struct slogate_http2* conn,
                           struct http2_walk* walk) {
  ANSWER_KEEP(source);
  if (!source || !conn || !walk) return 0;
  struct slogate_http2_way* way = http2_way(conn, walk);
  walk->event = HTTP2_nothing;
  if (way->lost || (__s32)(walk->end - way->next) <= 0) return 0;
  if ((__s32)(way->next - walk->begin) < 0) {
    http2_lose(conn, walk);
    return 0;
  }
  if (way->block) return http2_block(source, conn, walk);
  return http2_head(source, conn, walk, way);
}

/* At the end of each walk: the bytes are the workload's own, so nothing of them stays in the map
 * but the beginning of a field that is cut. */
static __always_inline void http2_clear(struct slogate_http2* conn) {
  __builtin_memset(conn->scratch, 0, sizeof(conn->scratch));
}

/* ---- where to begin ---- */

/* Whether bytes are those that a client of HTTP/2 says first: 16 of them tell. */
static __always_inline bool http2_is_preface(ANSWER_SOURCE* source, __u32 here) {
  __u64 words[2] = {0};
  if (here < sizeof(words) || !peek(source, 0, words, sizeof(words))) return 0;
  return words[0] == ANSWER_TEXT("PRI * HT") && words[1] == ANSWER_TEXT("TP/2.0\r\n");
}

/* The stream that HEADERS are of with which a piece may begin, 0 for none. One in some 10^9 of
 * pieces that begin anywhere looks like that. */
ANSWER_PART int http2_beginning(ANSWER_SOURCE* source, const struct http2_walk* walk) {
  ANSWER_KEEP(source);
  if (!source || !walk) return 0;
  __u8 head[HTTP2_FRAME] = {0};
  if (walk->end - walk->begin < HTTP2_FRAME || !peek(source, 0, head, HTTP2_FRAME)) return 0;
  __u32 length = http2_24(head), stream = http2_32(head + 5);
  const __u8 may = HTTP2_END_STREAM | HTTP2_END_HEADERS | HTTP2_PADDED | HTTP2_WITH_PRIORITY;
  if (head[3] != HTTP2_HEADERS || head[4] & ~may || !(head[4] & HTTP2_END_HEADERS)) return 0;
  if (!length || length > 16384 || !(stream & 1) || stream >> 31) return 0;
  return (int)stream;
}

/* How far the next stream's number may be from the latest that is known. */
#define HTTP2_FARTHEST 8192

/* Where bytes went by unseen: goes on where a piece begins as HEADERS do that fit what is known. */
static __always_inline void http2_resume(ANSWER_SOURCE* source, struct slogate_http2* conn,
                                         const struct http2_walk* walk) {
  struct slogate_http2_way* way = http2_way(conn, walk);
  __u32 stream = (__u32)http2_beginning(source, walk), last = conn->last;
  if (!stream || (walk->answers ? stream > last : stream <= last)) return;
  if ((walk->answers ? last - stream : stream - last) > HTTP2_FARTHEST) return;
  way->next = walk->begin;
  way->lost = 0;
}

#endif
