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

/* What a count of the socket grew by since it was last asked for. Several CPUs may ask: one of them
 * is told, and it never goes backwards. */
static __always_inline __u32 growth(__u32* seen, __u32 now) {
  __u32 before = *(volatile __u32*)seen;
  __s32 grown = (__s32)(now - before);
  if (grown <= 0) return 0;
  return __sync_val_compare_and_swap(seen, before, now) == before ? grown : 0;
}

static __always_inline void advance(struct slogate_slot* slot, enum slogate_counter counter,
                                    __u32* booked, __u32 now) {
  __u32 grown = growth(booked, now);
  if (grown) add(slot, counter, grown);
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

/* ---- connections that carried data ---- */

/* One that carried nothing owes nothing: a checker that connects and hangs up is no use of the
 * service. Told about once a second and at the end, so it costs the hot path nothing. */
static __always_inline bool has_carried(const struct tcp_sock* tp) {
  return tp->data_segs_in || tp->data_segs_out;
}

static __always_inline void count_use(struct slogate_slot* slot, struct slogate_sock* state,
                                      const struct tcp_sock* tp) {
  if (*(volatile __u32*)&state->used || !has_carried(tp)) return;
  if (__sync_val_compare_and_swap(&state->used, 0, 1)) return;
  bool client = state->role == SLOGATE_ROLE_client;
  add(slot, client ? SLOGATE_COUNTER_used_client : SLOGATE_COUNTER_used_server, 1);
}

/* ---- what listeners turn away ---- */

static __always_inline bool is_full_queue(const struct sock* sk) {
  return sk->sk_ack_backlog > sk->sk_max_ack_backlog;
}

/*
 * sk_drops of a listener counts what overflowed its accept queue, and as well each handshake that
 * its client gave up and each ACK that a deferred accept lets pass unheard. The queue grows only by
 * connections that sk_data_ready tells of, and each of these is a look: so what was dropped since a
 * look that found room did not overflow. No tracepoint tells of accept(), so other drops between a
 * full queue and the next look still count.
 */
static __always_inline void look_at_queue(struct slogate_slot* slot, struct slogate_sock* state,
                                          const struct sock* sk) {
  __u32 dropped = growth(&state->drops, sk->sk_drops.counter);
  if (dropped && state->full) add(slot, SLOGATE_COUNTER_server_listen_overflow, dropped);
  state->full = is_full_queue(sk);
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
