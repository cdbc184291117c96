/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Slots and the few ways to book something there; what every program does around its work. */
#ifndef SLOGATE_SLOT_H
#define SLOGATE_SLOT_H

#include "maps.h"
/* after maps.h */
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

/* The generation of programs this object belongs to; set by the agent before loading. */
const volatile __u32 slogate_epoch = 0;

static __always_inline struct slogate_control* control(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&slogate_control, &zero);
}

/* Counts a sample that could not be kept where it belongs. */
static __always_inline void lose(enum slogate_site site) {
  struct slogate_control* c = control();
  if (c) __sync_fetch_and_add(&c->lost[site], 1);
}

/* ---- booking ---- */

/* After the change it announces: the agent clears the marks before it reads. */
static __always_inline void touch(struct slogate_slot* slot, __u64 mark) {
  if (!(slot->dirty & mark)) __sync_fetch_and_or(&slot->dirty, mark);
}

static __always_inline void add(struct slogate_slot* slot, enum slogate_counter counter, __u64 n) {
  __sync_fetch_and_add(&slot->counters[counter], n);
  touch(slot, SLOGATE_DIRTY_COUNTERS);
}

static __always_inline void record(struct slogate_slot* slot, enum slogate_signal signal,
                                   __u64 start, __u64 end) {
  /* Two clocks that are the same but read at different places may be a few ns apart. */
  __u64 ns = end > start ? end - start : 0;
  __u32 bucket = slogate_bucket(ns);
  __sync_fetch_and_add(&slot->histograms[signal][bucket], 1);
  touch(slot, SLOGATE_DIRTY_BUCKET(signal, bucket));
}

/* ---- slots ---- */

static __always_inline struct slogate_slot* slot_at(__u32 number) {
  __u32 chunk = number >> SLOGATE_CHUNK_SHIFT, place = number & (SLOGATE_CHUNK_SLOTS - 1);
  void* inner = bpf_map_lookup_elem(&slogate_slab, &chunk);
  return inner ? bpf_map_lookup_elem(inner, &place) : 0;
}

static __always_inline bool is_tcp(const struct sock* sk) {
  unsigned short family = sk->__sk_common.skc_family;
  return (family == AF_INET || family == AF_INET6) && sk->sk_protocol == IPPROTO_TCP;
}

/* One of the TCP connections of an MPTCP socket. A listener of MPTCP also has plain ones, for
 * clients that do not speak it. */
static __always_inline bool is_subflow(const struct tcp_sock* tp) {
  return bpf_core_field_exists(tp->is_mptcp) && tp->is_mptcp;
}

/* ---- counts that TCP keeps itself ---- */

/* Books what a count of the socket grew by since it was last booked. Several CPUs may try: one of
 * them books it, and nothing is ever booked backwards. */
static __always_inline void advance(struct slogate_slot* slot, enum slogate_counter counter,
                                    __u32* booked, __u32 now) {
  __u32 before = *(volatile __u32*)booked;
  __s32 grown = (__s32)(now - before);
  if (grown <= 0) return;
  if (__sync_val_compare_and_swap(booked, before, now) == before) add(slot, counter, grown);
}

/* Segments, retransmits and round-trip time cost the hot path nothing: TCP keeps them itself, and
 * they are brought up to date about once a second, on a retransmit and at the end. */
static __always_inline void settle(struct slogate_slot* slot, struct slogate_sock* state,
                                   struct tcp_sock* tp) {
  advance(slot, SLOGATE_COUNTER_segments_in, &state->segs_in, tp->segs_in);
  advance(slot, SLOGATE_COUNTER_segments_out, &state->segs_out, tp->segs_out);
  advance(slot, SLOGATE_COUNTER_retransmits, &state->retransmits, tp->total_retrans);
}

/* The smoothed round-trip time would not do: it holds how long the peer took to acknowledge, which
 * is until its next request or its delayed ACK, and for a client until the answer. TCP's minimum
 * has the handshake, and later samples that are higher only where no delayed ACK can be in them. Of
 * the three minima that TCP keeps this is the latest: 75 to 150 s old, the first one 300. */
static __always_inline void sample_rtt(struct slogate_slot* slot, struct slogate_sock* state,
                                       struct tcp_sock* tp) {
  __u32 segs = tp->segs_in, rtt = tp->rtt_min.s[2].v;
  __u32 before = *(volatile __u32*)&state->rtt_segs;
  if (rtt == TCP_NO_RTT || segs == before) return;
  if (__sync_val_compare_and_swap(&state->rtt_segs, before, segs) == before)
    record(slot, SLOGATE_SIGNAL_rtt, 0, (__u64)rtt * 1000);
}

/* ---- what every program does around its work ---- */

/* Whether the agent's CPU budget leaves a connection out, by the hash the kernel finds it by: that
 * of its addresses and ports, the same for as long as it lives; 0 for listeners, which are always
 * watched. */
static __always_inline bool is_watched(__u64 spare, __u32 hash) {
  return !(hash & (__u32)(spare >> 32));
}

static __always_inline bool is_spared(__u64 spare, enum slogate_probe probe, __u32 hash) {
  return (spare >> probe & 1) || !is_watched(spare, hash);
}

static __always_inline struct slogate_runs* run_line(void) {
  __u32 line = bpf_get_smp_processor_id() & (SLOGATE_RUN_LINES - 1);
  return bpf_map_lookup_elem(&slogate_runs, &line);
}

static __always_inline void skip_run(enum slogate_probe probe) {
  struct slogate_runs* runs = run_line();
  if (runs) runs->skipped[probe]++;
}

static __always_inline struct slogate_runs* run_begin(enum slogate_probe probe, __u64* start) {
  struct slogate_runs* runs = run_line();
  *start = 0;
  if (runs && (++runs->runs[probe] & (SLOGATE_RUN_SAMPLE - 1)) == 0) *start = bpf_ktime_get_ns();
  return runs;
}

static __always_inline void run_end(struct slogate_runs* runs, enum slogate_probe probe,
                                    __u64 start) {
  if (!runs || !start) return;
  runs->timed_ns[probe] += bpf_ktime_get_ns() - start;
  runs->timed[probe]++;
}

/* Does `call` as a run of `probe` for a socket with this hash, unless the budget leaves it out and
 * if these programs are the ones that count: of two generations that are attached at the same time
 * one does. Counts the run and times one in SLOGATE_RUN_SAMPLE. */
#define SLOGATE_RUN(probe, hash, call)                                           \
  ({                                                                             \
    const struct slogate_control* c_ = control();                                \
    if (!c_ || c_->epoch != slogate_epoch) {                                     \
    } else if (c_->spare && is_spared(c_->spare, SLOGATE_PROBE_##probe, hash)) { \
      skip_run(SLOGATE_PROBE_##probe);                                           \
    } else {                                                                     \
      __u64 start_;                                                              \
      struct slogate_runs* runs_ = run_begin(SLOGATE_PROBE_##probe, &start_);    \
      call;                                                                      \
      run_end(runs_, SLOGATE_PROBE_##probe, start_);                             \
    }                                                                            \
    0;                                                                           \
  })

#endif
