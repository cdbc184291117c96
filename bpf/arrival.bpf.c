/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What the answers to a client say, from their first bytes as they arrive; and what arrives on
 * connections of HTTP/2, at either end.
 *
 * tcp_probe runs under the socket's lock for each segment that comes in on an established
 * connection, in softirq or from the backlog, before TCP looks at it. If TCP takes the segment,
 * sk_data_ready follows: so what is read here is left in the socket, and data_ready books it when
 * it closes the request. A segment that TCP does not take after all (no room, a bad checksum) comes
 * again, is read again, and what it says is left once more in the same place.
 *
 * Nothing runs here for what arrives with the handshake, in a Fast Open or after the client's own
 * FIN: those answers are unknown.
 */
#include "arrived.h"
#include "send_length.h"

/* The first is to be had since 6.12 for programs of this kind; where it is missing the agent does
 * not load them. */
extern int bpf_dynptr_from_skb(struct sk_buff* skb, u64 flags,
                               struct bpf_dynptr* packet) __ksym __weak;
extern int bpf_dynptr_clone(const struct bpf_dynptr* packet,
                            struct bpf_dynptr* clone) __ksym __weak;
extern int bpf_dynptr_adjust(const struct bpf_dynptr* packet, __u64 start, __u64 end) __ksym __weak;

/* The new bytes of a packet. Wherever they lie: those that come over loopback and veth are in
 * fragments, all of them. */
#define ANSWER_SOURCE const struct bpf_dynptr
#define ANSWER_KEEP(source)                                 \
  struct bpf_dynptr own;                                    \
  if (bpf_dynptr_clone(source, &own)) return ANSWER_MISFIT; \
  source = &own

static __always_inline bool peek(const struct bpf_dynptr* bytes, __u32 offset, void* to, __u32 n) {
  return !bpf_dynptr_read(to, n, bytes, offset, 0);
}

#include "answer.h"
/* after answer.h */
#include "follow.h"
#include "replies.h"

/* How many bytes of data a segment has. TCP has read its header, so this need not: that it is a
 * pure ACK is known after three loads. */
static __always_inline __u32 data_of(const struct sk_buff* skb) {
  const struct tcp_skb_cb* segment = (const struct tcp_skb_cb*)skb->cb;
  return segment->end_seq - segment->seq - (segment->tcp_flags & TCP_FLAG_FIN);
}

/* How many of them are old. What is out of order has no new ones: all that is between must arrive
 * first, and the segment that closes the gap is read in its turn. */
static __always_inline __u32 old_of(const struct tcp_sock* tp, const struct sk_buff* skb) {
  return tp->rcv_nxt - ((const struct tcp_skb_cb*)skb->cb)->seq;
}

/* Whether an answer has begun that nobody has been told of: a reader may want to be told of no less
 * than so many bytes (SO_RCVLOWAT). */
static __always_inline bool has_begun(const struct tcp_sock* tp, const struct slogate_sock* state) {
  return state->arrived != ARRIVED_nothing && state->arrived != ARRIVED_interim &&
         tp->rcv_nxt != tp->copied_seq;
}

/* Without a look for the slot where that decides nothing. */
static __always_inline bool is_read(struct sock* sk, struct slogate_sock* state) {
  if (are_all_answers_read()) return 1;
  const struct slogate_slot* slot = slot_of(sk, state);
  return slot && has_answers_read(slot);
}

/* What is left of it for data_ready. */
static __always_inline __u8 arrived_of(const struct answer_reading* reading) {
  switch (reading->kind) {
    case ANSWER_outcome:
      return (ARRIVED_answer + reading->answer) | (reading->login ? ARRIVED_LOGIN : 0);
    case ANSWER_interim:
      return ARRIVED_interim;
    case ANSWER_handshake:
      return ARRIVED_handshake + reading->handshake;
    default:
      return ARRIVED_nothing;
  }
}

/* The new bytes of a packet, `n` at its end. */
static __always_inline bool new_bytes(struct sk_buff* skb, __u32 n, struct bpf_dynptr* bytes) {
  return !bpf_dynptr_from_skb(skb, 0, bytes) && !bpf_dynptr_adjust(bytes, skb->len - n, skb->len);
}

/* ---- HTTP/2 ---- */

/* Follows the frames that arrive. What came before a gap was closed is not looked at again when it
 * is: its frames have gone by unseen. */
static __noinline int frames_arrived(struct sock* sk, struct slogate_sock* state,
                                     struct sk_buff* skb, __u32 n) {
  struct slogate_http2* http2 = http2_of(sk);
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (!http2 || !tp) return 0;
  __u8 client = state->role == SLOGATE_ROLE_client;
  struct http2_walk walk = {.begin = tp->rcv_nxt, .end = tp->rcv_nxt + n, .answers = client};
  /* The middle of a frame. */
  if (!http2->in.lost && (__s32)(walk.end - http2->in.next) <= 0) return 0;
  struct slogate_slot* slot = slot_of(sk, state);
  struct bpf_dynptr bytes;
  if (!slot || !new_bytes(skb, n, &bytes)) return 0;
  struct http2_booking booking = {.now = bpf_ktime_get_ns(), .client = client};
  if (http2->in.lost) http2_resume(&bytes, http2, &walk);
  for (int i = 0; i < HTTP2_STEPS; i++) {
    if (!http2_step(&bytes, http2, &walk)) break;
    if (walk.event != HTTP2_nothing) book_step(slot, http2, &walk, &booking);
  }
  http2_clear(http2);
  if (http2->unread) state->flags |= SLOGATE_SOCK_unread;
  return 0;
}

/* Begins after an upgrade. Who follows the frames that came with it is the caller: here they would
 * be deeper on the stack than there is room for it. */
static __noinline int upgraded(struct sock* sk, struct slogate_sock* state, __u32 head) {
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  return tp && upgrade_to_http2(sk, tp, state, state->opened, tp->rcv_nxt + head);
}

/* ---- other protocols ---- */

/* `reading` knows how many bytes there are, at the end of the packet. */
static __always_inline void read_packet(struct sock* sk, struct slogate_sock* state,
                                        struct sk_buff* skb, struct answer_reading* reading) {
  struct bpf_dynptr bytes;
  if (!new_bytes(skb, reading->bytes, &bytes)) return;
  read_answer(&bytes, reading);
  if (reading->upgraded && follow_http2) {
    upgraded(sk, state, reading->upgraded);
    return;
  }
  state->protocol = reading->protocol;
  state->misfits = reading->misfits;
  state->phase = reading->phase;
  state->arrived = arrived_of(reading);
  struct slogate_slot* slot = reading->rest ? slot_of(sk, state) : 0;
  if (slot) count_more_replies(slot, 1, &bytes, reading);
}

/* Whether a server is spoken to in HTTP/2 from here on. */
static __noinline int hears_preface(struct sock* sk, struct slogate_sock* state,
                                    struct sk_buff* skb, __u32 n) {
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  struct bpf_dynptr bytes;
  if (!tp || is_subflow(tp) || !is_read(sk, state) || !new_bytes(skb, n, &bytes)) return 0;
  struct http2_walk walk = {.begin = tp->rcv_nxt, .end = tp->rcv_nxt + n};
  return begins_http2(sk, tp, state, &bytes, &walk);
}

/* What arrives on a connection that may be one of HTTP/2, now or from here on. */
static __always_inline void frames_may_arrive(struct sock* sk, struct slogate_sock* state,
                                              struct sk_buff* skb, __u32 data) {
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (!tp) return;
  __u32 old = old_of(tp, skb);
  if (old >= data) return;
  bool follows = state->protocol == SLOGATE_PROTOCOL_http2;
  if (!follows && !may_begin_http2(state, !tp->bytes_received)) return;
  if (follows || hears_preface(sk, state, skb, data - old))
    frames_arrived(sk, state, skb, data - old);
}

static __always_inline void on_arrival(struct sock* sk, struct sk_buff* skb, __u32 data) {
  struct slogate_sock* state = known_socket(sk);
  if (!state) return;
  if (state->role == SLOGATE_ROLE_server || state->protocol == SLOGATE_PROTOCOL_http2) {
    if (may_be_http2(state)) frames_may_arrive(sk, state, skb, data);
    return;
  }
  if (state->role != SLOGATE_ROLE_client) return;
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (!tp) return;
  struct answer_reading reading = {.asked = state->opened || send_is_unseen(sk, tp, state),
                                   .first = !tp->bytes_received && !is_subflow(tp),
                                   .protocol = state->protocol,
                                   .misfits = state->misfits,
                                   .phase = state->phase};
  if (!is_worth_reading(&reading)) return;
  __u32 old = old_of(tp, skb);
  if (old >= data || has_begun(tp, state) || !is_read(sk, state)) return;
  reading.here = reading.bytes = data - old;
  read_packet(sk, state, skb, &reading);
  if (state->protocol == SLOGATE_PROTOCOL_http2) frames_arrived(sk, state, skb, data - old);
}

SEC("tp_btf/tcp_probe")
int BPF_PROG(answer_arrived, struct sock* sk, struct sk_buff* skb) {
  __u32 data = data_of(skb);
  if (!data) return 0;
  return SLOGATE_RUN(answer_arrived, sk->__sk_common.skc_hash, on_arrival(sk, skb, data));
}

char LICENSE[] SEC("license") = "GPL";
