/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The roll: what the inventory goes by where the kernel refuses iterators over the elements of
 * maps, which are the only way to a socket that programs may write to. A socket enters it with its
 * first event, under its address, and leaves it when it closes. roll_call.bpf.c goes over the roll,
 * reads the socket and what is remembered with it by address, and writes to the roll alone.
 *
 * So quiet sockets stay on it, and each walk visits all of them.
 */
#ifndef SLOGATE_ROLL_H
#define SLOGATE_ROLL_H

#include "slot.h"

/* Set by the agent before loading. */
const volatile bool by_roll = 0;

static __always_inline __u64 address_of(const struct sock* sk) {
  return (__u64)(long)sk;
}

static __always_inline struct slogate_entry* entry_of(const struct sock* sk) {
  __u64 key = address_of(sk);
  return bpf_map_lookup_elem(&slogate_roll, &key);
}

/* Whether there was room. What it said before of that address is of another life of the socket. */
static __always_inline bool enter_roll(struct sock* sk, struct slogate_sock* state) {
  __u64 key = address_of(sk);
  void* http2 = bpf_sk_storage_get(&slogate_http2, sk, 0, 0);
  struct slogate_entry entry = {.storage = (__u64)(long)sk->sk_bpf_storage,
                                .state = (__u64)(long)state,
                                .http2 = (__u64)(long)http2,
                                .books = *state};
  if (!bpf_map_update_elem(&slogate_roll, &key, &entry, BPF_ANY)) return 1;
  lose(SLOGATE_SITE_no_roll);
  return 0;
}

static __always_inline void leave_roll(struct sock* sk, struct slogate_sock* state) {
  __u64 key = address_of(sk);
  bpf_map_delete_elem(&slogate_roll, &key);
  if (state) state->listed = 0;
}

/* It has begun to speak HTTP/2. */
static __always_inline void enter_http2(const struct sock* sk, const struct slogate_http2* http2) {
  struct slogate_entry* entry = by_roll ? entry_of(sk) : 0;
  if (entry) entry->http2 = (__u64)(long)http2;
}

/* Where it stands what has been booked of the socket's own counts. */
static __always_inline struct slogate_sock* books_of(const struct sock* sk,
                                                     struct slogate_sock* state) {
  struct slogate_entry* entry = by_roll ? entry_of(sk) : 0;
  return entry ? &entry->books : state;
}

#endif
