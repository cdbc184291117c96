/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Which sockets the inventory visits: those that had an event since, or have something under way. A
 * node may hold a hundred thousand connections that do nothing, and a visit takes a microsecond.
 *
 * `listed` of a socket's state and its entry in slogate_news change together. Programs that see an
 * event make it 1. The inventory, which runs without the socket's lock, counts it up where it finds
 * the socket quiet, and beyond SLOGATE_QUIET_VISITS takes it off, in a walk of its own:
 *
 *   event                                        inventory
 *   listed: n -> 1, by exchange                  delete the entry
 *   n was 0: make the entry                      listed: n -> 0, by compare-and-exchange
 *                                                failed: an event took the entry for there; make it
 *
 * Whichever exchange comes first, there is an entry where `listed` is not 0. An event that finds 1
 * does nothing more. None is lost that comes while the inventory looks: that makes 1 a 2, and only
 * after another visit, a second later, a socket is taken off, and looked at once more after that.
 *
 * No program sees segments without data. So a socket is not quiet before each side has acknowledged
 * all that it was sent. Those of keepalives and of windows that open are booked late, not lost: TCP
 * keeps their number, and the next event, the end of the connection or a walk over all sockets,
 * once a minute, books what it has grown by.
 *
 * Where the kernel has no memory for an entry, or its socket has used up its own (optmem),
 * `unlisted` of struct slogate_control rises, upon which the agent visits all sockets at its next
 * tick, but spends no more than a twentieth of its time on that.
 */
#ifndef SLOGATE_NEWS_H
#define SLOGATE_NEWS_H

#include "roll.h"

static __always_inline struct slogate_sock* state_of(struct sock* sk) {
  return bpf_sk_storage_get(&slogate_sockets, sk, 0, 0);
}

static __always_inline void enter_news(struct sock* sk, struct slogate_sock* state) {
  if (by_roll) {
    if (enter_roll(sk, state)) return;
  } else if (bpf_sk_storage_get(&slogate_news, sk, 0, BPF_LOCAL_STORAGE_GET_F_CREATE)) {
    return;
  }
  /* Its next event tries again. */
  *(volatile __u32*)&state->listed = 0;
  struct slogate_control* c = control();
  if (c) __sync_fetch_and_add(&c->unlisted, 1);
}

/* The first event of a socket, or after it was found quiet. */
static __noinline __attribute__((unused)) int list_socket(struct sock* sk,
                                                          struct slogate_sock* state) {
  if (!__sync_lock_test_and_set(&state->listed, 1)) enter_news(sk, state);
  return 0;
}

static __always_inline void note_news(struct sock* sk, struct slogate_sock* state) {
  if (*(volatile __u32*)&state->listed != 1) list_socket(sk, state);
}

/* ---- in the inventory ---- */

/* Notes what a visit has found. `busy`: something is under way. `same`: no segment came or went
 * since the visit before. */
static __always_inline void note_visit(struct sock* sk, struct slogate_sock* state, bool busy,
                                       bool same) {
  __u32 listed = *(volatile __u32*)&state->listed;
  if (!listed) {
    /* In a walk over all sockets: there was no memory for it, or an event that went unseen. */
    if (busy) list_socket(sk, state);
    return;
  }
  __u32 next = busy || !same ? 1 : listed + 1;
  if (next != listed && next <= SLOGATE_QUIET_VISITS + 1)
    __sync_val_compare_and_swap(&state->listed, listed, next);
}

/* Whether it was taken off. */
static __always_inline bool take_off(struct sock* sk, struct slogate_sock* state) {
  __u32 listed = *(volatile __u32*)&state->listed;
  if (listed <= SLOGATE_QUIET_VISITS) return 0;
  bpf_sk_storage_delete(&slogate_news, sk);
  if (__sync_val_compare_and_swap(&state->listed, listed, 0) == listed) return 1;
  enter_news(sk, state);
  return 0;
}

#endif
