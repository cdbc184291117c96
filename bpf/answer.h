/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What an answer says, told by its first bytes: which protocol, and whether it is a success, the
 * client's error or the server's. Plain C without a map, compiled into the programs of both sides
 * and, as C++, into the unit tests and the fuzzer.
 *
 * The bytes are the workload's own, so nothing here believes them. What bounds each parser:
 *   - Bytes are read into windows of 16 (lines of Redis: 64) on the stack, at offsets that peek()
 *     holds against what there is. No length that was read is ever used as the size of a copy, nor
 *     as an index.
 *   - No loop takes more rounds than a constant says: 8 messages and 4 fields of PostgreSQL, 16
 *     extensions of TLS, 16 replies of Redis in at most ANSWER_REDIS_STEPS windows. So an answer
 *     costs one read as a rule, and 20 at the very worst, 34 behind interim ones.
 *   - What comes out is a row of SLOGATE_ANSWERS, and an offset that only a parser makes use of.
 * A hostile workload can choose which rows of its own slot grow, by one for each request that it
 * got and answered (Redis: 16), and that is all.
 *
 * Whoever includes this defines first what the bytes are read from, and how: peek() copies n bytes
 * (at most 64, within what is `here`) and says whether it could. #define ANSWER_SOURCE struct ...
 *   static bool peek(ANSWER_SOURCE* source, __u32 offset, void* to, __u32 n);
 *
 * In the programs each parser is a global function, so that the verifier checks it once and not
 * with all that its caller may have found out: together they would be more than a million
 * instructions to it. That is why nearly everything is handed on in struct answer_reading.
 */
#ifndef SLOGATE_ANSWER_H
#define SLOGATE_ANSWER_H

#include "handshake.h"
/* after handshake.h, which has the types */
#include "parser.h"

enum answer_kind {
  ANSWER_nothing,   /* unasked, and no error: nothing to count */
  ANSWER_outcome,   /* the answer says `answer` */
  ANSWER_interim,   /* such as 1xx of HTTP: the answer is still to come */
  ANSWER_handshake, /* of TLS, so no answer; what it told is in `handshake` */
};

enum answer_handshake {
  ANSWER_HANDSHAKE_none, /* nothing that has not been told, or nothing yet */
  ANSWER_HANDSHAKE_full,
  ANSWER_HANDSHAKE_resumed,
  ANSWER_HANDSHAKE_failed,
};

/* So many answers in a row that fit no protocol, or not the one that was learnt: opaque. */
#define ANSWER_MISFITS 4

/* The first 16 bytes from an offset on, the first of them lowest; zeros where there are none. */
struct answer_window {
  __u64 low, high;
};
#define ANSWER_WINDOW 16
#define ANSWER_LINE 64

struct answer_reading {
  struct answer_window window; /* that the parsers look through */
  /* The caller's. */
  __u32 here;  /* so many bytes can be read */
  __u32 bytes; /* and so many were handed over, or have arrived */
  __u8 asked;  /* a request is open */
  __u8 first;  /* the connection's first bytes in this direction */
  /* As they are kept with the socket: the caller's, and what is to be kept from now on. */
  __u8 protocol; /* enum slogate_protocol */
  __u8 misfits;
  __u8 phase; /* enum slogate_phase */
  /* The outcome. */
  __u8 kind;      /* enum answer_kind */
  __u8 answer;    /* enum slogate_answer, of ANSWER_outcome */
  __u8 handshake; /* enum answer_handshake, of ANSWER_handshake */
  __u8 endless;   /* more will come unasked, for as long as the connection lives */
  __u8 settings;  /* the first words are SETTINGS of HTTP/2 */
  __u8 login; /* a step of the login: it has an outcome, but what it took is no request's time */
  /* HTTP: how long the head is that says that HTTP/2 is next (101), 0 for none that does. */
  __u32 upgraded;
  /* Redis: where the next reply may be, 0 for nowhere, and whether that is within a line. Input of
   * step_replies(), which goes on from there. */
  __u32 rest;
  __u32 in_line;
};

/* ---- bytes ---- */

static __always_inline bool look(ANSWER_SOURCE* source, __u32 here, __u32 offset,
                                 struct answer_window* window) {
  window->low = window->high = 0;
  if (offset >= here) return 0;
  __u32 n = here - offset;
  if (n > ANSWER_WINDOW) n = ANSWER_WINDOW;
  return peek(source, offset, window, n);
}

static __always_inline __u8 byte_of(__u64 word, __u32 i) {
  return (__u8)(word >> 8 * i);
}

/* 8 bytes of a window from `at` on. */
static __always_inline __u64 word_at(const struct answer_window* window, __u32 at) {
  if (!at) return window->low;
  if (at >= ANSWER_WINDOW) return 0;
  if (at >= 8) return window->high >> 8 * (at - 8);
  return window->low >> 8 * at | window->high << (64 - 8 * at);
}

static __always_inline bool is_digit(__u8 byte) {
  return byte >= '0' && byte <= '9';
}

static __always_inline bool is_upper(__u8 byte) {
  return byte >= 'A' && byte <= 'Z';
}

static __always_inline bool is_letter(__u8 byte) {
  return is_upper(byte) || (byte >= 'a' && byte <= 'z');
}

/* Where a byte first is in a word; 8 for nowhere. */
static __always_inline __u32 find_in_word(__u64 word, __u8 byte) {
  __u64 zeros = word ^ (0x0101010101010101ull * byte);
  /* The lowest bit of these is that of a zero; above it there may be false ones. */
  __u64 found = (zeros - 0x0101010101010101ull) & ~zeros & 0x8080808080808080ull;
  __u32 at = 0;
  if (!found) return 8;
  if (!(found & 0xffffffff)) at += 4, found >>= 32;
  if (!(found & 0xffff)) at += 2, found >>= 16;
  if (!(found & 0xff)) at += 1;
  return at;
}

/* Where a byte first is in a window; 16 for nowhere. */
static __always_inline __u32 find_byte(const struct answer_window* window, __u8 byte) {
  __u32 at = find_in_word(window->low, byte);
  return at < 8 ? at : 8 + find_in_word(window->high, byte);
}

/* ---- what a parser returns, if it is not a row ---- */

#define ANSWER_MISFIT (-1)  /* none of this protocol */
#define ANSWER_SPLIT (-2)   /* of this protocol, or it may be: too little is here to tell */
#define ANSWER_INTERIM (-3) /* 1xx, or a part of PostgreSQL's login */
#define ANSWER_LEAVES (-4)  /* a success after which the protocol is another one */
#define ANSWER_GREETS (-5)  /* words without a question, and no error */

/* ---- HTTP/1 ---- */

static __always_inline int http_answer(const struct answer_reading* reading) {
  __u64 low = reading->window.low, high = reading->window.high;
  __u8 version = byte_of(low, 7), tens = byte_of(high, 2), ones = byte_of(high, 3);
  if (reading->here < 12) return BEGINS(low, "HTTP") ? ANSWER_SPLIT : ANSWER_MISFIT;
  if (!BEGINS(low, "HTTP/1.") || (version != '0' && version != '1')) return ANSWER_MISFIT;
  if (!BEGINS(high, " ") || !is_digit(tens) || !is_digit(ones)) return ANSWER_MISFIT;
  switch (byte_of(high, 1)) {
    case '1':
      return tens == '0' && ones == '1' ? ANSWER_LEAVES : ANSWER_INTERIM;
    case '2':
    case '3':
      return SLOGATE_ANSWER_http_success;
    case '4':
      return SLOGATE_ANSWER_http_client_error;
    case '5':
      return SLOGATE_ANSWER_http_server_error;
    default:
      return ANSWER_MISFIT;
  }
}

/* ---- Redis, RESP2 and RESP3 ---- */

/* The number of "DIGITS\r\n" after a reply's first byte, and the length of that; -1 where it is
 * none. Nine digits are more than Redis allows. */
static __always_inline int redis_number(struct answer_reading* reading) {
  struct answer_window window = reading->window;
  int value = 0;
  __u32 length = 0;
  ANSWER_UNROLL
  for (__u32 i = 1; i <= 9; i++) {
    __u8 byte = i < 8 ? byte_of(window.low, i) : byte_of(window.high, i - 8);
    if (!is_digit(byte)) break;
    value = 10 * value + (byte - '0');
    length = i;
  }
  if (!length || !BEGINS(word_at(&window, 1 + length), "\r\n")) return -1;
  reading->rest = 1 + length + 2;
  return value;
}

static __always_inline int redis_error(const struct answer_reading* reading) {
  const struct answer_window window = reading->window;
  if (BEGINS_2(&window, "-WRONGTY", "PE") || BEGINS(window.low, "-NOAUTH") ||
      BEGINS(window.low, "-NOPERM") || BEGINS_2(&window, "-ERR syn", "tax") ||
      BEGINS_2(&window, "-ERR unk", "nown com") || BEGINS_2(&window, "-ERR unk", "nown sub") ||
      BEGINS_2(&window, "-ERR Unk", "nown sub") || BEGINS_2(&window, "-ERR wro", "ng numbe"))
    return SLOGATE_ANSWER_redis_client_error;
  if (BEGINS(window.low, "-MOVED ") || BEGINS(window.low, "-ASK "))
    return SLOGATE_ANSWER_redis_redirect;
  return SLOGATE_ANSWER_redis_server_error;
}

/* A reply that is a line: where it ends. */
static __always_inline void end_line(struct answer_reading* reading) {
  __u32 newline = find_byte(&reading->window, '\n');
  reading->in_line = newline >= ANSWER_WINDOW;
  reading->rest = newline < ANSWER_WINDOW ? newline + 1 : ANSWER_WINDOW;
}

/* What the reply at the beginning of the window says. `rest` becomes its length, where it is one
 * that ends there, 0 where it has parts; `in_line` that it is a line that goes on beyond the
 * window. */
ANSWER_PART int redis_reply(struct answer_reading* reading) {
  if (!reading) return ANSWER_MISFIT;
  __u64 low = reading->window.low;
  __u8 type = byte_of(low, 0), next = byte_of(low, 1);
  int number = 0;
  reading->rest = reading->in_line = 0;
  switch (type) {
    case '$':
    case '=':
      if (BEGINS(low, "$-1\r\n")) {
        reading->rest = 5;
        return SLOGATE_ANSWER_redis_miss;
      }
      number = redis_number(reading);
      if (number < 0) return BEGINS(low, "$?\r\n") ? SLOGATE_ANSWER_redis_success : ANSWER_MISFIT;
      reading->rest += number + 2;
      return SLOGATE_ANSWER_redis_success;
    case '*':
    case '%':
    case '~':
    case '>':
    case '|':
    case '!':
      if (BEGINS(low, "*-1\r\n")) return SLOGATE_ANSWER_redis_miss;
      number = redis_number(reading);
      reading->rest = 0;
      if (number < 0) return ANSWER_MISFIT;
      return type == '!' ? SLOGATE_ANSWER_redis_server_error : SLOGATE_ANSWER_redis_success;
    case '_':
      if (!BEGINS(low, "_\r\n")) return ANSWER_MISFIT;
      reading->rest = 3;
      return SLOGATE_ANSWER_redis_miss;
    case '#':
      if (!BEGINS(low, "#t\r\n") && !BEGINS(low, "#f\r\n")) return ANSWER_MISFIT;
      reading->rest = 4;
      return SLOGATE_ANSWER_redis_success;
    case ':':
    case '(':
    case ',':
      if (!is_digit(next) && next != '-' && next != '+' && next != 'i' && next != 'n')
        return ANSWER_MISFIT;
      end_line(reading);
      return SLOGATE_ANSWER_redis_success;
    case '+':
      if (next < ' ' || next > '~') return ANSWER_MISFIT;
      end_line(reading);
      return SLOGATE_ANSWER_redis_success;
    case '-': /* words; a value's middle that begins with a number or a rule is none */
      if (!is_letter(next)) return ANSWER_MISFIT;
      end_line(reading);
      return redis_error(reading);
    default:
      return ANSWER_MISFIT;
  }
}

/* What RESP3 says unasked, between answers: a message, or which keys a client is to forget. */
static __always_inline bool is_push(const struct answer_window* window) {
  return BEGINS(window->low, ">") && is_digit(byte_of(window->low, 1)) &&
         BEGINS(window->low >> 16, "\r\n$");
}

/* Answers of SUBSCRIBE and its like: an array that begins with their name; RESP3 has a type for
 * them. What is published comes the same way for ever. */
static __always_inline bool is_subscription(const struct answer_window* window) {
  if (BEGINS(window->low, ">")) return 1;
  if (!BEGINS(window->low, "*3\r\n$") && !BEGINS(window->low, "*4\r\n$")) return 0;
  __u64 name = word_at(window, 5);
  return BEGINS(name, "9\r\nsubsc") || BEGINS(name, "10\r\npsub") || BEGINS(name, "10\r\nssub") ||
         BEGINS(name, "7\r\nmessa") || BEGINS(name, "8\r\npmess") || BEGINS(name, "8\r\nsmess");
}

static __always_inline int redis_answer(struct answer_reading* reading) {
  int said = redis_reply(reading);
  if (said < 0 && reading->here < 4) said = ANSWER_SPLIT;
  if (said >= 0) reading->endless = is_subscription(&reading->window);
  if (said < 0 || reading->rest >= reading->here) reading->rest = 0;
  return said;
}

/* Replies of one send that are told at most, the first included. */
#define ANSWER_REDIS_REPLIES 16
/* Windows in which they are looked for: an error's line is seldom longer than one of 64 bytes. */
#define ANSWER_REDIS_STEPS 32

/* Skips the rest of a line, as far as one window goes. */
ANSWER_PART int skip_line(ANSWER_SOURCE* source, struct answer_reading* reading) {
  ANSWER_KEEP(source);
  if (!source || !reading) return 0;
  __u64 words[ANSWER_LINE / 8] = {0};
  __u32 at = reading->rest, place = 8;
  if (at >= reading->here) return 0;
  __u32 n = reading->here - at;
  if (n > ANSWER_LINE) n = ANSWER_LINE;
  if (!peek(source, at, words, n)) return 0;
  ANSWER_UNROLL
  for (int i = 0; i < ANSWER_LINE / 8; i++) {
    place = find_in_word(words[i], '\n');
    if (place < 8) break;
    at += 8;
  }
  reading->in_line = place >= 8;
  reading->rest = place < 8 ? at + place + 1 : at;
  return 1;
}

/* The further replies of a pipeline, by outcome. */
#define ANSWER_REDIS_OUTCOMES (SLOGATE_ANSWER_redis_unknown - SLOGATE_ANSWER_redis_success)
struct answer_replies {
  __u32 seen;
  __u32 more[ANSWER_REDIS_OUTCOMES]; /* from SLOGATE_ANSWER_redis_success on */
};

/* One window further among a pipeline's replies, from `rest` on; whether there may be more. */
ANSWER_PART int step_replies(ANSWER_SOURCE* source, struct answer_reading* reading,
                             struct answer_replies* replies) {
  ANSWER_KEEP(source);
  if (!source || !reading || !replies || !reading->rest) return 0;
  __u32 at = reading->rest;
  if (reading->in_line) return skip_line(source, reading);
  if (replies->seen + 1 >= ANSWER_REDIS_REPLIES) return 0;
  if (!look(source, reading->here, at, &reading->window)) return 0;
  __u32 outcome = (__u32)redis_reply(reading) - SLOGATE_ANSWER_redis_success;
  if (outcome >= ANSWER_REDIS_OUTCOMES) return 0;
  replies->seen++;
  replies->more[outcome]++;
  /* A length that was read is below 2^30, so nothing runs around; look() does the rest. */
  if (reading->rest) reading->rest += at;
  return 1;
}

/* ---- PostgreSQL ---- */

#define ANSWER_POSTGRESQL_MESSAGES 8
#define ANSWER_POSTGRESQL_FIELDS 4

static __always_inline __u32 postgresql_length(__u64 word) {
  return __builtin_bswap32((__u32)(word >> 8));
}

/* Whether a word is the beginning of a message: of a type that servers send, with a length that
 * can be. */
static __always_inline bool is_postgresql(__u64 word) {
  __u32 length = postgresql_length(word);
  switch (byte_of(word, 0)) {
    case '1': /* parse complete */
    case '2': /* bind complete */
    case '3': /* close complete */
    case 'I': /* empty query */
    case 'n': /* no data */
    case 's': /* portal suspended */
    case 'c': /* copy done */
      return length == 4;
    case 'Z': /* ready for query */
      return length == 5;
    case 'A': /* notification */
    case 'C': /* command complete */
    case 'D': /* row */
    case 'd': /* copy data */
    case 'E': /* error */
    case 'G': /* copy in */
    case 'H': /* copy out */
    case 'K': /* key for cancelling */
    case 'N': /* notice */
    case 'R': /* authentication */
    case 'S': /* parameter */
    case 'T': /* description of rows */
    case 't': /* of parameters */
    case 'V': /* result of a function */
    case 'v': /* other version of the protocol */
    case 'W': /* copy both */
      return length > 4 && length < 1 << 30;
    default:
      return 0;
  }
}

/* The outcome of an error with an SQLSTATE of this class. */
static __always_inline int postgresql_class(__u8 first, __u8 second) {
  if ((first == '0' && second == '8') || (first == 'X' && second == 'X') ||
      (first == '5' && (second == '3' || second == '7' || second == '8')))
    return SLOGATE_ANSWER_postgresql_server_error;
  return SLOGATE_ANSWER_postgresql_client_error;
}

/* An error's fields are texts, each after a byte that names it: S the severity, in the language of
 * the server, V the same in English, C the SQLSTATE. */
ANSWER_PART int postgresql_error(ANSWER_SOURCE* source, struct answer_reading* reading, __u32 at) {
  ANSWER_KEEP(source);
  if (!source || !reading) return ANSWER_SPLIT;
  struct answer_window window;
  ANSWER_UNROLL
  for (int i = 0; i < ANSWER_POSTGRESQL_FIELDS; i++) {
    if (!look(source, reading->here, at, &window)) break;
    if (BEGINS(window.low, "C"))
      return find_byte(&window, 0) == 6
                 ? postgresql_class(byte_of(window.low, 1), byte_of(window.low, 2))
                 : ANSWER_MISFIT;
    __u32 end = find_byte(&window, 0);
    if (end == ANSWER_WINDOW) { /* a long word for an error */
      if (!look(source, reading->here, at + ANSWER_WINDOW, &window)) break;
      end = ANSWER_WINDOW + find_byte(&window, 0);
    }
    if (end == 0 || end == 2 * ANSWER_WINDOW) break;
    at += end + 1;
  }
  return ANSWER_SPLIT;
}

/* Messages after which no error is looked for: rows, and the end. */
static __always_inline bool ends_walk(__u8 type) {
  return type == 'D' || type == 'Z' || type == 'd' || type == 'G' || type == 'H' || type == 'W';
}

/* One that asks whether it may encrypt is told so by one letter. */
static __always_inline bool is_postgresql_letter(const struct answer_reading* reading) {
  return reading->first && reading->bytes == 1 &&
         (BEGINS(reading->window.low, "N") || BEGINS(reading->window.low, "S"));
}

/* Whether a send says that a SASL exchange is over, and nothing else: who one is, is proved, but
 * there is no session yet. A pool says so, and then waits for a server (pgbouncer). */
static __always_inline bool is_sasl_end(const struct answer_reading* reading) {
  return BEGINS(reading->window.low, "R") && byte_of(reading->window.high, 0) == 12 &&
         reading->bytes == 1 + postgresql_length(reading->window.low);
}

/* A server says 'R' in a login and nowhere else: which way to prove who one is, or, as 0 and in a
 * SASL exchange 12, that it is proved. The rest of the login is in the same send. An error ends a
 * login where an answer was missing, or where it is the first thing that the server says. */
static __always_inline void note_postgresql_login(struct answer_reading* reading) {
  __u8 type = byte_of(reading->window.low, 0), asks = byte_of(reading->window.high, 0);
  bool open = reading->first || reading->phase & SLOGATE_PHASE_login;
  bool letter = is_postgresql_letter(reading);
  reading->login = letter || type == 'R' || (type == 'E' && open);
  reading->phase &= ~SLOGATE_PHASE_login;
  if (letter || (type == 'R' && asks && asks != 12) || is_sasl_end(reading))
    reading->phase |= SLOGATE_PHASE_login;
}

ANSWER_PART int postgresql_answer(ANSWER_SOURCE* source, struct answer_reading* reading) {
  ANSWER_KEEP(source);
  if (!source || !reading) return ANSWER_MISFIT;
  note_postgresql_login(reading);
  struct answer_window window = reading->window;
  __u32 at = 0, base = 0;
  if (is_postgresql_letter(reading)) return SLOGATE_ANSWER_postgresql_success;
  if (is_sasl_end(reading)) return ANSWER_INTERIM;
  ANSWER_UNROLL
  for (int i = 0; i < ANSWER_POSTGRESQL_MESSAGES; i++) {
    __u64 word = word_at(&window, at - base);
    if (!is_postgresql(word)) return i ? SLOGATE_ANSWER_postgresql_success : ANSWER_MISFIT;
    if (BEGINS(word, "E")) return postgresql_error(source, reading, at + 5);
    if (ends_walk(byte_of(word, 0))) break;
    at += 1 + postgresql_length(word);
    /* Nothing but "ready for query" is of six bytes. */
    if (at >= reading->here || at + 6 == reading->bytes) break;
    if (at + 5 > base + ANSWER_WINDOW) {
      base = at;
      if (!look(source, reading->here, at, &window)) break;
    }
  }
  return SLOGATE_ANSWER_postgresql_success;
}

/* Whether an answer of which nothing is known is PostgreSQL's: by its end, by the first words of a
 * connection, or by being an error with everything that is to be in one. */
ANSWER_PART int looks_like_postgresql(ANSWER_SOURCE* source, struct answer_reading* reading) {
  ANSWER_KEEP(source);
  if (!source || !reading) return 0;
  struct answer_window end;
  __u64 low = reading->window.low;
  __u32 bytes = reading->bytes;
  if (is_postgresql_letter(reading)) return 1;
  if (!is_postgresql(low)) return 0;
  if (BEGINS(low, "E")) {
    __u8 field = byte_of(low, 5);
    return (field == 'S' || field == 'V') && postgresql_error(source, reading, 5) >= 0;
  }
  /* Which way to prove who one is: a number below 16. */
  if (BEGINS(low, "R")) return !(low >> 40 & 0xffffff) && byte_of(reading->window.high, 0) < 16;
  if (reading->here != bytes || bytes < 6) return 0;
  if (!look(source, bytes, bytes - 6, &end)) return 0;
  __u8 status = byte_of(end.low, 5);
  return BEGINS(end.low, "Z\0\0\0\5") && (status == 'I' || status == 'T' || status == 'E');
}

/* ---- MySQL and MariaDB ---- */

/* Errors that are the server's: a table of docs/method.md. */
static __always_inline bool is_mysql_failure(__u32 code) {
  switch (code) {
    case 1021: /* disk full */
    case 1030: /* error of the storage engine */
    case 1037: /* out of memory */
    case 1038: /* out of memory for sorting */
    case 1040: /* too many connections */
    case 1041: /* out of resources */
    case 1047: /* a Galera node that is not ready */
    case 1053: /* shutting down */
    case 1105: /* unknown error */
    case 1114: /* table full */
    case 1129: /* host blocked after many errors */
    case 1135: /* cannot make a thread */
    case 1180: /* error during commit */
    case 1194: /* table is broken */
    case 1203: /* too many connections of one user */
    case 1206: /* more locks than there is room for */
    case 1226: /* a limit of the account */
    case 1290: /* read-only, or another option forbids it */
    case 1317: /* interrupted */
    case 1836: /* in read-only mode */
    case 1969: /* took longer than it may (MariaDB) */
    case 3024: /* took longer than it may */
    case 3168: /* not available: it is being set up */
      return 1;
    default:
      return 0;
  }
}

static __always_inline __u32 mysql_length(const struct answer_reading* reading) {
  return (__u32)reading->window.low & 0xffffff;
}

/* Of an error's packet; '#' and the SQLSTATE follow from 4.1 on, and add nothing: all of class 40
 * are the client's to repeat, as is everything that is not in the table. */
static __always_inline __u32 mysql_code(const struct answer_reading* reading) {
  return (__u32)(reading->window.low >> 40) & 0xffff;
}

static __always_inline bool is_mysql_code(__u32 code) {
  return code >= 1000 && code < 8000;
}

/* What COM_STMT_PREPARE is answered with: a number of four bytes, two of two, a zero, warnings. An
 * OK that says something is as long where that has five characters, and the third is there. */
#define MYSQL_PREPARED 12

static __always_inline bool is_mysql_prepared(const struct answer_reading* reading) {
  return mysql_length(reading) == MYSQL_PREPARED && !byte_of(reading->window.high, 5);
}

/* The greeting and the client's answer are packets 0 and 1 of an exchange, which goes on until the
 * server says OK or refuses; each request is a new exchange, and what answers it is packet 1. */
static __always_inline void note_mysql_phase(struct answer_reading* reading, __u8 number,
                                             __u8 type) {
  reading->login = reading->phase & SLOGATE_PHASE_login && number > 1;
  if (!reading->login || !type || type == 0xff) reading->phase &= ~SLOGATE_PHASE_login;
  if (number == 1 && !type && is_mysql_prepared(reading)) reading->phase |= SLOGATE_PHASE_prepares;
}

/* A packet: its length in three bytes, its number in the exchange, what it says. A server's answer
 * never has number 0; its greeting has. */
static __always_inline int mysql_answer(struct answer_reading* reading) {
  __u8 number = byte_of(reading->window.low, 3), type = byte_of(reading->window.low, 4);
  __u32 length = mysql_length(reading);
  if (reading->here < 5) return ANSWER_SPLIT;
  if (!length || !number) return ANSWER_MISFIT;
  /* Compressed: a header of seven bytes. */
  if (reading->bytes == length + 7) return ANSWER_MISFIT;
  note_mysql_phase(reading, number, type);
  if (type != 0xff) return SLOGATE_ANSWER_mysql_success;
  if (reading->here < 7) return ANSWER_SPLIT;
  return is_mysql_failure(mysql_code(reading)) ? SLOGATE_ANSWER_mysql_server_error
                                               : SLOGATE_ANSWER_mysql_client_error;
}

/* A server's words before any question: its greeting, or an error. */
static __always_inline int mysql_greeting(const struct answer_reading* reading) {
  __u64 low = reading->window.low;
  __u8 number = byte_of(low, 3), type = byte_of(low, 4);
  if (mysql_length(reading) + 4 != reading->bytes || reading->bytes < 12) return ANSWER_MISFIT;
  if (number == 0 && type == 10 && is_digit(byte_of(low, 5))) return ANSWER_GREETS;
  if (number <= 1 && type == 0xff && is_mysql_code(mysql_code(reading)))
    return SLOGATE_ANSWER_mysql_server_error;
  return ANSWER_MISFIT;
}

/* Whether an answer of which nothing is known is MySQL's, strictly: many binary protocols begin
 * with a small number. */
ANSWER_PART int looks_like_mysql(struct answer_reading* reading) {
  if (!reading) return 0;
  __u32 length = mysql_length(reading);
  bool whole = length + 4 == reading->bytes;
  if (byte_of(reading->window.low, 3) != 1) return 0;
  switch (byte_of(reading->window.low, 4)) {
    case 0: /* OK: two numbers, flags, warnings */
      return whole && length >= 7;
    case 0xff:
      return whole && length > 9 && is_mysql_code(mysql_code(reading)) &&
             byte_of(reading->window.low, 7) == '#';
    default: /* the number of columns, and the first of them, whose catalogue is "def" */
      return length == 1 && byte_of(reading->window.high, 0) == 2 &&
             BEGINS(reading->window.high >> 8, "\3def");
  }
}

/* ---- memcached's text protocol ---- */

/* Words that no other protocol shares: beanstalkd says NOT_FOUND, DELETED and TOUCHED, too. */
ANSWER_PART int looks_like_memcached(struct answer_reading* reading) {
  if (!reading) return 0;
  const struct answer_window window = reading->window;
  return BEGINS(window.low, "VALUE ") || BEGINS(window.low, "STORED\r\n") ||
         BEGINS_2(&window, "NOT_STOR", "ED\r\n") || BEGINS_2(&window, "CLIENT_E", "RROR ") ||
         BEGINS_2(&window, "SERVER_E", "RROR ") || BEGINS(window.low, "ERROR\r\n") ||
         BEGINS(window.low, "END\r\n") || BEGINS(window.low, "EN\r\n") ||
         BEGINS(window.low, "HD\r\n") || BEGINS(window.low, "VERSION ") ||
         (BEGINS(window.low, "ERROR To") && reading->first); /* many open connections */
}

static __always_inline int memcached_answer(const struct answer_reading* reading) {
  const struct answer_window window = reading->window;
  __u8 first = byte_of(window.low, 0), second = byte_of(window.low, 1);
  if (reading->here < 3) return ANSWER_SPLIT;
  if (BEGINS_2(&window, "CLIENT_E", "RROR")) return SLOGATE_ANSWER_memcached_client_error;
  if (BEGINS_2(&window, "SERVER_E", "RROR") || BEGINS(window.low, "ERROR"))
    return SLOGATE_ANSWER_memcached_server_error;
  if (BEGINS(window.low, "END\r\n") || BEGINS(window.low, "EN\r\n"))
    return SLOGATE_ANSWER_memcached_miss;
  bool word = is_upper(first) && (is_upper(second) || second == '_');
  bool number = is_digit(first) && (is_digit(second) || second == '\r');
  return word || number ? SLOGATE_ANSWER_memcached_success : ANSWER_MISFIT;
}

/* ---- TLS ---- */

enum {
  TLS_CHANGE_CIPHER = 20,
  TLS_ALERT,
  TLS_HANDSHAKE,
  TLS_DATA,
};
enum { TLS_SERVER_HELLO = 2, TLS_NEW_TICKET = 4 };

#define ANSWER_TLS_EXTENSIONS 16
#define ANSWER_TLS_ALERT 7 /* bytes of an alert in plain text, its record's header included */

static __always_inline bool is_tls_record(__u64 word, __u8 type) {
  return byte_of(word, 0) == type && byte_of(word, 1) == 3 && byte_of(word, 2) <= 4;
}

static __always_inline bool is_server_hello(const struct answer_window* window) {
  return is_tls_record(window->low, TLS_HANDSHAKE) && byte_of(window->low, 5) == TLS_SERVER_HELLO &&
         !byte_of(window->low, 6) && byte_of(window->high, 1) == 3;
}

/* An alert in plain text; encrypted ones are longer. */
static __always_inline bool is_alert(__u64 word) {
  __u8 level = byte_of(word, 5);
  return is_tls_record(word, TLS_ALERT) && !byte_of(word, 3) && byte_of(word, 4) == 2 &&
         (level == 1 || level == 2);
}

static __always_inline __u32 big_endian_16(__u64 word) {
  return (__u32)byte_of(word, 0) << 8 | byte_of(word, 1);
}

/* What a message after the ServerHello of TLS 1.2 says. */
static __always_inline int tls_follows(__u8 record, __u8 message) {
  if (record == TLS_CHANGE_CIPHER) return ANSWER_HANDSHAKE_resumed;
  if (record != TLS_HANDSHAKE) return ANSWER_HANDSHAKE_none;
  return message == TLS_NEW_TICKET ? ANSWER_HANDSHAKE_resumed : ANSWER_HANDSHAKE_full;
}

/* Which of TLS 1.3's extensions there are: bit 0 for the version (43), bit 1 for a ticket that was
 * taken (41). Each is looked at by its header alone: a share of a key may be of 1,100 bytes. */
ANSWER_PART int tls_extensions(ANSWER_SOURCE* source, struct answer_reading* reading, __u32 at,
                               __u32 end) {
  ANSWER_KEEP(source);
  if (!source || !reading) return 0;
  int found = 0;
  ANSWER_UNROLL
  for (int i = 0; i < ANSWER_TLS_EXTENSIONS; i++) {
    struct answer_window window;
    if (at + 4 > end || !look(source, reading->here, at, &window)) break;
    __u32 type = big_endian_16(window.low), length = big_endian_16(window.low >> 16);
    if (type == 43) found |= 1;
    if (type == 41) found |= 2;
    at += 4 + length;
  }
  return found;
}

/* The ServerHello of which the window is the beginning, at `base`. */
ANSWER_PART int tls_hello(ANSWER_SOURCE* source, struct answer_reading* reading, __u32 base) {
  ANSWER_KEEP(source);
  if (!source || !reading) return ANSWER_HANDSHAKE_none;
  struct answer_window window = reading->window;
  __u32 record_end = base + 5 + big_endian_16(window.low >> 24);
  __u32 end = base + 9 + ((__u32)byte_of(window.low, 7) << 8 | byte_of(window.high, 0));
  /* The random value that is no random value: RFC 8446 4.1.3. */
  bool retry = BEGINS(window.high >> 24, "\xcf\x21\xad\x74");
  reading->misfits = ANSWER_TLS_told;
  if (!look(source, reading->here, base + 43, &window)) return ANSWER_HANDSHAKE_none;
  __u32 session = byte_of(window.low, 0);
  if (session > 32) return ANSWER_HANDSHAKE_none;
  int extensions = tls_extensions(source, reading, base + 44 + session + 3 + 2, end);
  if (extensions & 1) {
    reading->misfits = retry ? ANSWER_TLS_retry : ANSWER_TLS_last;
    if (retry) return ANSWER_HANDSHAKE_none;
    return extensions & 2 ? ANSWER_HANDSHAKE_resumed : ANSWER_HANDSHAKE_full;
  }
  /* In the same record, or in one of its own. */
  bool same = end < record_end;
  int follows = ANSWER_HANDSHAKE_none;
  if (look(source, reading->here, same ? end : record_end, &window))
    follows = same ? tls_follows(TLS_HANDSHAKE, byte_of(window.low, 0))
                   : tls_follows(byte_of(window.low, 0), byte_of(window.low, 5));
  if (follows == ANSWER_HANDSHAKE_none) reading->misfits = ANSWER_TLS_hello;
  return follows;
}

/* What a server says before data of the application flows. */
ANSWER_PART int tls_flight(ANSWER_SOURCE* source, struct answer_reading* reading) {
  ANSWER_KEEP(source);
  if (!source || !reading) return 0;
  __u32 base = 0;
  __u8 step = reading->misfits;
  reading->kind = ANSWER_handshake;
  if (is_alert(reading->window.low)) {
    bool fatal = byte_of(reading->window.low, 5) == 2;
    if (fatal) {
      reading->misfits = ANSWER_TLS_told;
      reading->handshake = ANSWER_HANDSHAKE_failed;
      return 0;
    }
    /* A warning may come before the hello: the server does not know the name it was called by. */
    base = ANSWER_TLS_ALERT;
    if (!look(source, reading->here, base, &reading->window)) return 0;
  }
  if (is_server_hello(&reading->window)) {
    reading->handshake = (__u8)tls_hello(source, reading, base);
    return 0;
  }
  __u8 record = byte_of(reading->window.low, 0);
  if (record == TLS_HANDSHAKE || record == TLS_CHANGE_CIPHER || record == TLS_ALERT) {
    if (step != ANSWER_TLS_hello) return 0;
    reading->handshake = (__u8)tls_follows(record, byte_of(reading->window.low, 5));
    if (reading->handshake) reading->misfits = ANSWER_TLS_told;
    return 0;
  }
  reading->misfits = ANSWER_TLS_data;
  reading->kind = reading->asked ? ANSWER_outcome : ANSWER_nothing;
  reading->answer = SLOGATE_ANSWER_tls_unknown;
  return 0;
}

/* ---- all of them ---- */

/* Whether an answer's protocol is known, so that its end can be told from other traffic. */
static __always_inline bool is_known_protocol(__u8 protocol) {
  return protocol >= SLOGATE_PROTOCOL_http && protocol <= SLOGATE_PROTOCOL_memcached;
}

/* The row of an answer of this protocol that could not be read or understood. */
static __always_inline __u8 unknown_answer(__u8 protocol) {
  switch (protocol) {
    case SLOGATE_PROTOCOL_http:
      return SLOGATE_ANSWER_http_unknown;
    case SLOGATE_PROTOCOL_redis:
      return SLOGATE_ANSWER_redis_unknown;
    case SLOGATE_PROTOCOL_postgresql:
      return SLOGATE_ANSWER_postgresql_unknown;
    case SLOGATE_PROTOCOL_mysql:
      return SLOGATE_ANSWER_mysql_unknown;
    case SLOGATE_PROTOCOL_memcached:
      return SLOGATE_ANSWER_memcached_unknown;
    case SLOGATE_PROTOCOL_tls:
      return SLOGATE_ANSWER_tls_unknown;
    default:
      return SLOGATE_ANSWER_unknown_unknown;
  }
}

/* Whether an answer says that the server failed. */
static __always_inline bool is_server_error(__u8 answer) {
  return answer == SLOGATE_ANSWER_http_server_error ||
         answer == SLOGATE_ANSWER_redis_server_error ||
         answer == SLOGATE_ANSWER_postgresql_server_error ||
         answer == SLOGATE_ANSWER_mysql_server_error ||
         answer == SLOGATE_ANSWER_memcached_server_error;
}

/* Whether bytes are worth a look, by what is known before. What is not asked for is, at the
 * beginning of a connection and until a handshake has told what it is. */
static __always_inline bool is_worth_reading(const struct answer_reading* reading) {
  if (reading->protocol == SLOGATE_PROTOCOL_opaque) return 0;
  if (reading->protocol == SLOGATE_PROTOCOL_tls)
    return reading->misfits == ANSWER_TLS_hello || reading->misfits == ANSWER_TLS_retry ||
           (reading->asked && reading->misfits != ANSWER_TLS_data);
  return reading->asked || reading->first;
}

/* What is counted if no byte could be read. */
static __always_inline void leave_unread(struct answer_reading* reading) {
  reading->kind = reading->asked ? ANSWER_outcome : ANSWER_nothing;
  reading->answer = unknown_answer(reading->protocol);
}

static __always_inline void note_misfit(struct answer_reading* reading) {
  if (++reading->misfits < ANSWER_MISFITS) return;
  reading->protocol = SLOGATE_PROTOCOL_opaque;
}

/* Whether it is a reply of Redis, and not of one of those that begin the same way: what is a line
 * has an end as well, and an error a code. That one has none is believed of a connection whose
 * protocol is known: scripts and proxies say what they like. */
ANSWER_PART int looks_like_redis(ANSWER_SOURCE* source, struct answer_reading* reading) {
  ANSWER_KEEP(source);
  if (!source || !reading || redis_reply(reading) < 0) return 0;
  struct answer_window end = reading->window;
  __u32 bytes = reading->bytes, rest = reading->rest;
  if (BEGINS(end.low, "-") && !is_upper(byte_of(end.low, 1))) return 0;
  switch (byte_of(end.low, 0)) {
    case ':':
    case ',':
    case '(':
    case '+':
    case '-':
      if (!reading->in_line && rest > 3 && byte_of(word_at(&end, rest - 2), 0) == '\r') return 1;
      if (!reading->in_line || reading->here != bytes || bytes < 2) return 0;
      return look(source, bytes, bytes - 2, &end) && BEGINS(end.low, "\r\n");
    default:
      return 1;
  }
}

/* Which protocol an answer is of, if it is like that of one; `untold` if not. */
static __always_inline __u8 learn(ANSWER_SOURCE* source, struct answer_reading* reading) {
  if (http_answer(reading) != ANSWER_MISFIT) return SLOGATE_PROTOCOL_http;
  if (looks_like_redis(source, reading)) return SLOGATE_PROTOCOL_redis;
  if (looks_like_memcached(reading)) return SLOGATE_PROTOCOL_memcached;
  if (looks_like_mysql(reading)) return SLOGATE_PROTOCOL_mysql;
  if (looks_like_postgresql(source, reading)) return SLOGATE_PROTOCOL_postgresql;
  return SLOGATE_PROTOCOL_untold;
}

static __always_inline int answer_of(ANSWER_SOURCE* source, struct answer_reading* reading) {
  switch (reading->protocol) {
    case SLOGATE_PROTOCOL_http:
      return http_answer(reading);
    case SLOGATE_PROTOCOL_redis:
      return redis_answer(reading);
    case SLOGATE_PROTOCOL_postgresql:
      return postgresql_answer(source, reading);
    case SLOGATE_PROTOCOL_mysql:
      return mysql_answer(reading);
    case SLOGATE_PROTOCOL_memcached:
      return memcached_answer(reading);
    default:
      return ANSWER_MISFIT;
  }
}

/*
 * A connection's first bytes that nobody asked for. MySQL greets; the others say nothing unless
 * they turn the client away: that is one failed answer, whatever the error says, but for an HTTP
 * server that is tired of waiting (408), which owed nothing. Who speaks first otherwise is none of
 * these protocols, such as SMTP, or POP3, whose +OK is no Redis's.
 */
static __always_inline void read_unasked(ANSWER_SOURCE* source, struct answer_reading* reading) {
  int said = mysql_greeting(reading);
  if (said == ANSWER_GREETS) reading->phase |= SLOGATE_PHASE_login;
  reading->protocol = SLOGATE_PROTOCOL_mysql;
  if (said == ANSWER_MISFIT) {
    reading->protocol = learn(source, reading);
    said = answer_of(source, reading);
    reading->rest = 0;
  }
  if (said == SLOGATE_ANSWER_redis_client_error) said = SLOGATE_ANSWER_redis_server_error;
  if (said == SLOGATE_ANSWER_postgresql_client_error) said = SLOGATE_ANSWER_postgresql_server_error;
  if (said >= 0 && is_server_error((__u8)said)) {
    reading->kind = ANSWER_outcome;
    reading->answer = (__u8)said;
    return;
  }
  reading->kind = ANSWER_nothing;
  if (reading->protocol != SLOGATE_PROTOCOL_mysql && reading->protocol != SLOGATE_PROTOCOL_http)
    reading->protocol = SLOGATE_PROTOCOL_opaque;
}

/* Keeps what a parser returned for an answer that was asked for. */
static __always_inline void conclude(struct answer_reading* reading, int said) {
  reading->kind = said == ANSWER_INTERIM ? ANSWER_interim : ANSWER_outcome;
  if (said >= 0 || said == ANSWER_INTERIM || said == ANSWER_LEAVES) reading->misfits = 0;
  if (said == ANSWER_MISFIT) note_misfit(reading);
  if (said == ANSWER_LEAVES) {
    reading->protocol = SLOGATE_PROTOCOL_opaque;
    reading->phase |= SLOGATE_PHASE_upgraded;
  }
  if (said >= 0)
    reading->answer = (__u8)said;
  else if (said == ANSWER_LEAVES)
    reading->answer = SLOGATE_ANSWER_http_success;
  else
    reading->answer = unknown_answer(reading->protocol);
}

/* SETTINGS of HTTP/2, which its servers say first. */
static __always_inline bool is_settings(const struct answer_window* window) {
  __u64 low = window->low;
  return !(low & 0xffffffff0000ffffull) && byte_of(low, 3) == 4 && byte_of(low, 2) % 6 == 0 &&
         !byte_of(window->high, 0);
}

static __always_inline void read_asked(ANSWER_SOURCE* source, struct answer_reading* reading) {
  bool untold = reading->protocol == SLOGATE_PROTOCOL_untold;
  if (untold) reading->protocol = learn(source, reading);
  reading->settings = untold && reading->first && is_settings(&reading->window);
  reading->rest = 0;
  conclude(reading, answer_of(source, reading));
}

/* The same as read_answer(), of bytes of which the window has the first. */
ANSWER_PART int read_window(ANSWER_SOURCE* source, struct answer_reading* reading) {
  ANSWER_KEEP(source);
  if (!source || !reading) return 0;
  /* Within any protocol: some begin in the clear, and a proxy may be asked for a tunnel. */
  if (reading->protocol != SLOGATE_PROTOCOL_tls &&
      (is_server_hello(&reading->window) || (reading->asked && is_alert(reading->window.low)))) {
    reading->protocol = SLOGATE_PROTOCOL_tls;
    reading->misfits = ANSWER_TLS_told;
    reading->phase = 0; /* the login goes on unseen */
  }
  if (reading->protocol == SLOGATE_PROTOCOL_tls)
    tls_flight(source, reading);
  else if (reading->asked)
    read_asked(source, reading);
  else
    read_unasked(source, reading);
  return 0;
}

/* Windows of 64 bytes in which an answer is looked for behind interim ones: a line is at least one,
 * and a hint for a browser (103) has a line for each link. */
#define ANSWER_INTERIM_STEPS 16

/* Whether bytes end as a head without a body does. */
static __always_inline bool ends_as_head(ANSWER_SOURCE* source,
                                         const struct answer_reading* reading) {
  __u32 end = 0;
  if (reading->here != reading->bytes || reading->bytes < sizeof(end)) return 0;
  return peek(source, reading->bytes - (__u32)sizeof(end), &end, sizeof(end)) &&
         BEGINS(end, "\r\n\r\n");
}

/* What an empty line is followed by, with the window at that line: ANSWER_INTERIM for nothing. */
static __always_inline int answer_behind(struct answer_reading* reading, __u32 at) {
  __u32 here = reading->here;
  if (at >= reading->bytes) return ANSWER_INTERIM;
  if (at >= here) return ANSWER_SPLIT;
  reading->window.low = word_at(&reading->window, 2);
  reading->window.high >>= 16;
  reading->here = here - at;
  int said = http_answer(reading);
  reading->here = here;
  return said;
}

/* An interim answer of which the window has the first bytes, and what is behind it: a proxy may
 * hand over both at once. Its request must not stay open for an answer that has been given; so
 * where nothing is found, that the bytes go on beyond a head says that there is one. */
ANSWER_PART int read_interim(ANSWER_SOURCE* source, struct answer_reading* reading) {
  ANSWER_KEEP(source);
  if (!source || !reading) return 0;
  int said = ANSWER_INTERIM;
  bool ended = 0;
  reading->rest = 0;
  ANSWER_UNROLL
  for (int i = 0; i < ANSWER_INTERIM_STEPS; i++) {
    if (skip_line(source, reading) <= 0) break;
    if (reading->in_line) continue;
    if (!look(source, reading->here, reading->rest, &reading->window)) break;
    if (!BEGINS(reading->window.low, "\r\n")) continue;
    ended = 1;
    reading->rest += 2;
    said = answer_behind(reading, reading->rest);
    if (said != ANSWER_INTERIM || reading->rest >= reading->bytes) break;
    ended = 0;
  }
  reading->rest = reading->in_line = 0;
  if (!ended && !ends_as_head(source, reading)) said = ANSWER_SPLIT;
  conclude(reading, said);
  return 0;
}

#define ANSWER_LOWER 0x2020202020202020ull

/* `Upgrade: h2c`, as far as letters go. */
static __always_inline bool is_upgrade(const struct answer_window* line) {
  if ((line->low | ANSWER_LOWER) != ANSWER_TEXT("upgrade:")) return 0;
  __u64 value = line->high | ANSWER_LOWER;
  return BEGINS(value, " h2c") || BEGINS(value, "h2c");
}

/* Whether 101, of which the window has the first bytes, says that HTTP/2 is next, and where that
 * begins. */
ANSWER_PART int read_upgrade(ANSWER_SOURCE* source, struct answer_reading* reading) {
  ANSWER_KEEP(source);
  if (!source || !reading) return 0;
  bool upgrades = 0;
  reading->rest = 0;
  ANSWER_UNROLL
  for (int i = 0; i < ANSWER_INTERIM_STEPS; i++) {
    if (skip_line(source, reading) <= 0) break;
    if (reading->in_line) continue;
    if (!look(source, reading->here, reading->rest, &reading->window)) break;
    if (BEGINS(reading->window.low, "\r\n")) {
      if (upgrades) reading->upgraded = reading->rest + 2;
      break;
    }
    upgrades |= is_upgrade(&reading->window);
  }
  reading->rest = reading->in_line = 0;
  return 0;
}

/* Tells what bytes say that is_worth_reading() is for. */
static __always_inline void read_answer(ANSWER_SOURCE* source, struct answer_reading* reading) {
  reading->handshake = ANSWER_HANDSHAKE_none;
  reading->endless = reading->login = reading->settings = 0;
  reading->rest = reading->in_line = reading->upgraded = 0;
  if (!look(source, reading->here, 0, &reading->window)) {
    leave_unread(reading);
    return;
  }
  /* The commonest cases at once: a call costs 15 ns. */
  int said = ANSWER_MISFIT;
  if (reading->asked && reading->protocol == SLOGATE_PROTOCOL_http) said = http_answer(reading);
  if (reading->asked && reading->protocol == SLOGATE_PROTOCOL_redis) said = redis_answer(reading);
  if (said == ANSWER_MISFIT)
    read_window(source, reading);
  else
    conclude(reading, said);
  if (reading->kind == ANSWER_interim && reading->protocol == SLOGATE_PROTOCOL_http)
    read_interim(source, reading);
  if (reading->phase & SLOGATE_PHASE_upgraded) read_upgrade(source, reading);
}

#endif
