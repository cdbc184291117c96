/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What the parsers of answer.h and http2.h have in common: how they are compiled, and texts as
 * words. */
#ifndef SLOGATE_PARSER_H
#define SLOGATE_PARSER_H

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the first of several bytes is taken to be the lowest one"
#endif

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#ifdef __bpf__
#define ANSWER_PART __attribute__((noinline))
#else
#define ANSWER_PART static inline
#endif
/* At the beginning of each that reads, for an includer to whom the verifier lets no address of a
 * caller's be kept but in a register. */
#ifndef ANSWER_KEEP
#define ANSWER_KEEP(source)
#endif
/* 6.1 takes no loop that begins again by anything but a jump, which is up to clang. */
#ifdef __clang__
#define ANSWER_UNROLL _Pragma("clang loop unroll(full)")
#else
#define ANSWER_UNROLL
#endif

/* A text of up to 8 characters as the word it makes, and whether a word begins with it. */
#define ANSWER_CHAR(text, i) \
  ((__u64)(__u8)((i) < sizeof(text) - 1 ? (text)[(i) < sizeof(text) - 1 ? (i) : 0] : 0) << 8 * (i))
#define ANSWER_TEXT(text)                                                                      \
  (ANSWER_CHAR(text, 0) | ANSWER_CHAR(text, 1) | ANSWER_CHAR(text, 2) | ANSWER_CHAR(text, 3) | \
   ANSWER_CHAR(text, 4) | ANSWER_CHAR(text, 5) | ANSWER_CHAR(text, 6) | ANSWER_CHAR(text, 7))
#define BEGINS(word, text) \
  (((word) & (~0ull >> (64 - 8 * (sizeof(text) - 1)))) == ANSWER_TEXT(text))
/* The same for a window and a text in two parts, the first of 8 characters. */
#define BEGINS_2(window, text, more) (BEGINS((window)->low, text) && BEGINS((window)->high, more))

#endif
