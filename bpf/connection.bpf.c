/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Connections: how they open, how long that takes, how they break. */
#include "farewell.h"
#include "refusal.h"
#include "streams.h"
#include "upload.h"

/* Set by the agent before loading: whether the kernel tells of resets without a socket (since
 * 6.10); where it doesn't, drops.bpf.c finds refused connections. */
const volatile bool resets_without_socket = 0;

static __always_inline void connecting(struct sock* sk) {
  struct slogate_sock* state = remember(sk, SLOGATE_ROLE_client, 0);
  if (state) state->opened = bpf_ktime_get_ns();
}

/* Fast Open brings the request with the SYN, and sk_data_ready says nothing of it: it is taken to
 * arrive with the end of the handshake. Otherwise there is no data yet. */
static __always_inline void opened_by_syn(struct slogate_sock* state, const struct tcp_sock* tp) {
  if (state->opened || tp->rcv_nxt == tp->copied_seq) return;
  state->opened = state->last = bpf_ktime_get_ns();
  state->begun = tp->copied_seq;
  state->flags = SLOGATE_SOCK_unread;
}

static __always_inline void established(struct sock* sk, int from) {
  struct slogate_sock* state = known_socket(sk);
  /* A connect may be older than the programs; or meet another one, and pass through SYN_RECV. */
  bool client = state ? state->role == SLOGATE_ROLE_client : from == TCP_SYN_SENT;
  if (!state) state = remember(sk, client ? SLOGATE_ROLE_client : SLOGATE_ROLE_server, 0);
  struct slogate_slot* slot = state ? slot_of(sk, state) : 0;
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (!slot || !tp) return;
  bool subflow = is_subflow(tp);
  if (subflow)
    add(slot, client ? SLOGATE_COUNTER_unmeasured_client : SLOGATE_COUNTER_unmeasured_server, 1);
  if (!client) {
    add(slot, SLOGATE_COUNTER_connections_server, 1);
    if (!subflow) opened_by_syn(state, tp);
    return;
  }
  add(slot, SLOGATE_COUNTER_connections_client, 1);
  __u64 opened = state->opened;
  state->opened = 0;
  /* Sequence numbers start only after SYN_SENT; without this one the first words of a server that
   * speaks first would look like an answer. */
  state->sent = tp->write_seq;
  if (opened) record(slot, SLOGATE_SIGNAL_connect, opened, bpf_ktime_get_ns());
}

/* Only a client is refused: what a server turns away never becomes a connection of its own. */
static __always_inline enum slogate_counter error_counter(bool client, int error) {
  switch (error) {
    case ECONNREFUSED:
      return client ? SLOGATE_COUNTER_client_refused : SLOGATE_COUNTER_server_other;
    case ETIMEDOUT:
      return client ? SLOGATE_COUNTER_client_timed_out : SLOGATE_COUNTER_server_timed_out;
    case ECONNRESET:
    case EPIPE: /* a reset after the peer's FIN */
      return client ? SLOGATE_COUNTER_client_reset : SLOGATE_COUNTER_server_reset;
    case EHOSTUNREACH:
    case ENETUNREACH:
      return client ? SLOGATE_COUNTER_client_unreachable : SLOGATE_COUNTER_server_unreachable;
    default:
      return client ? SLOGATE_COUNTER_client_other : SLOGATE_COUNTER_server_other;
  }
}

/* ---- the end of a connection ---- */

struct ending {
  int from;         /* the state that it ends in */
  int error;        /* what the kernel put on it; 0 where the application ended it */
  bool client;      /* this end is the client's */
  bool in_use;      /* the application has not closed it yet */
  bool peer_first;  /* the peer's FIN had come before ours went */
  bool crossed;     /* its FIN and ours met on their way */
  bool open;        /* a request has no answer, and is no goodbye */
  bool undelivered; /* bytes that were written have not arrived */
  bool idle;        /* nothing was under way in either direction, and had not been for a while */
};

static __always_inline bool is_reset(const struct ending* end) {
  return end->error == ECONNRESET || end->error == EPIPE;
}

/* What is not acknowledged has not arrived, unless the reset shows otherwise; our FIN is nothing.
 */
static __always_inline bool is_undelivered(const struct tcp_sock* tp,
                                           const struct slogate_sock* state, int from) {
  bool fin = from == TCP_FIN_WAIT1 || from == TCP_CLOSING || from == TCP_LAST_ACK;
  return (__s32)(tp->write_seq - tp->snd_una) > fin && !(state->flags & SLOGATE_SOCK_arrived);
}

/* So long without a byte, and ten round trips, is longer than any pause within an answer that is
 * worth more than what it would hide: the pools of clients and the timeouts of servers for idle
 * connections begin at a second. */
#define IDLE_NS 1000000000ull

static __always_inline bool is_idle(const struct tcp_sock* tp, const struct slogate_sock* state) {
  __u64 quiet = bpf_ktime_get_ns() - state->last, round_trip = (__u64)tp->srtt_us * 1000 / 8;
  return !state->opened && state->last && tp->snd_una == tp->write_seq && quiet > IDLE_NS &&
         quiet > 10 * round_trip;
}

/*
 * Whether the end of a connection is an error of it: one that never opened always is (given up by
 * the application without an error: `other`); an open one only if it carried something and the
 * kernel put an error on it while somebody still used it. What happens after our side has closed
 * concerns nobody, except a client that shut down its side and still waits for an answer.
 *
 * A reset is no error of a server that owed nothing, as when a proxy has read the answer and drops
 * the connection; nor of one whose client had left before the answer or in the middle of it, which
 * is the client's doing (`client_gone`). A client cannot know whether an answer was complete: to it
 * every reset is an error, unless the connection was idle, as those of pools are.
 */
static __always_inline bool is_error(const struct ending* end, const struct tcp_sock* tp) {
  if (end->from == TCP_SYN_SENT) return 1;
  if (!end->error || !has_carried(tp)) return 0;
  bool writes =
      end->from == TCP_ESTABLISHED || end->from == TCP_CLOSE_WAIT || end->from == TCP_SYN_RECV;
  if (end->client) return (writes && !(is_reset(end) && end->idle)) || (end->open && end->in_use);
  if (!writes) return 0;
  return !is_reset(end) || (!end->open && !end->peer_first && end->undelivered);
}

/* Whether a server's client ended the connection before it had its answer. A FIN alone does not say
 * so, since a client may send one and wait: but where the server ends without an answer after it,
 * or a reset comes in reply to the answer, there was nobody left to read it. */
static __always_inline bool is_client_gone(const struct ending* end) {
  if (end->client) return 0;
  if (end->open) return end->peer_first || end->crossed || end->error;
  return end->peer_first && is_reset(end) && end->undelivered;
}

/* Where sock_send_length ends requests it has not run yet if the reset came while the answer was
 * being sent: it waited for the socket's lock. */
static __always_inline void close_answered(struct sock* sk, struct slogate_sock* state,
                                           const struct tcp_sock* tp) {
  __u64 opened = *(volatile __u64*)&state->opened;
  if (state->role != SLOGATE_ROLE_server || !opened || !has_sent(sk, tp, state)) return;
  if (__sync_val_compare_and_swap(&state->opened, opened, 0) == opened)
    close_request(sk, state, opened, bpf_ktime_get_ns());
}

/* What became of the requests of a connection that has one at a time is counted here, the streams
 * of another one by streams.h. */
static __always_inline void count_end(struct slogate_slot* slot, struct slogate_sock* state,
                                      const struct ending* end, const struct tcp_sock* tp) {
  bool gone = is_client_gone(end);
  bool unanswered = end->open && !gone && end->from != TCP_SYN_SENT;
  bool one = state->protocol != SLOGATE_PROTOCOL_http2;
  if (is_error(end, tp)) {
    add(slot, error_counter(end->client, end->error), 1);
    if (state->flags & SLOGATE_SOCK_reset) add(slot, SLOGATE_COUNTER_harmful_in, 1);
  }
  if (gone && one) add(slot, SLOGATE_COUNTER_client_gone, 1);
  if (unanswered && one)
    add(slot, end->client ? SLOGATE_COUNTER_unanswered_client : SLOGATE_COUNTER_unanswered_server,
        1);
  /* If a reset follows, which goes out after this. */
  if (!end->client && !end->error && !end->peer_first && (unanswered || end->undelivered))
    state->flags |= SLOGATE_SOCK_owing;
}

/* A goodbye opens a request, as far as anyone can tell before the connection ends. */
static __always_inline bool says_goodbye(const struct slogate_slot* slot, const struct tcp_sock* tp,
                                         const struct slogate_sock* state, int from) {
  if (expects_nothing(tp, state)) return 1;
  __u32 bytes = state->role == SLOGATE_ROLE_client
                    ? bytes_sent(tp, state, from != TCP_ESTABLISHED && from != TCP_CLOSE_WAIT)
                    : bytes_read(tp, state, ((1 << from) & HALF_CLOSED) != 0);
  return may_be_farewell(state, bytes) || may_be_cancel(slot, tp, state, bytes);
}

/* Last of all: what it was booked in is asked for here alone, which is less for the verifier. */
static __always_inline void book_rest(struct slogate_slot* slot, struct sock* sk,
                                      struct slogate_sock* state, struct tcp_sock* tp, int from) {
  struct slogate_sock* books = books_of(sk, state);
  if (from != TCP_SYN_SENT) count_use(slot, books, tp);
  settle(slot, books, tp);
  sample_rtt(slot, books, tp);
}

static __always_inline void end_all_streams(struct slogate_slot* slot, struct slogate_http2* http2,
                                            const struct ending* end) {
  struct http2_booking booking = {
      .now = bpf_ktime_get_ns(), .client = end->client, .asker = is_client_gone(end)};
  end_streams(slot, http2, &booking);
}

static __always_inline void closed(struct sock* sk, int from) {
  struct slogate_sock* state = known_socket(sk);
  if (!state) return;
  struct slogate_slot* slot = slot_of(sk, state);
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (!slot || !tp) return;
  if (state->role == SLOGATE_ROLE_listener) {
    look_at_queue(slot, books_of(sk, state), sk);
    return;
  }
  close_answered(sk, state, tp);
  finish_answer(slot, state);
  struct slogate_http2* http2 = state->protocol == SLOGATE_PROTOCOL_http2 ? http2_of(sk) : 0;
  bool waits = http2 && has_waiting(http2);
  struct ending end = {.from = from,
                       .error = sk->sk_err,
                       .client = state->role == SLOGATE_ROLE_client,
                       .in_use = sk->sk_socket != 0,
                       .peer_first = from == TCP_CLOSE_WAIT || from == TCP_LAST_ACK,
                       .crossed = from == TCP_CLOSING,
                       .open = waits || (state->opened && !says_goodbye(slot, tp, state, from)),
                       .undelivered = is_undelivered(tp, state, from),
                       .idle = !waits && is_idle(tp, state)};
  if (!http2) {
    if (end.open && state->flags & SLOGATE_SOCK_read) record_queue(slot, state, state->opened);
    state->opened = 0;
  }
  count_end(slot, state, &end, tp);
  if (http2) end_all_streams(slot, http2, &end);
  book_rest(slot, sk, state, tp, from);
}

static __always_inline void ends(struct sock* sk) {
  struct slogate_sock* state = known_socket(sk);
  if (state && lingers(sk, state)) state->flags |= SLOGATE_SOCK_rest;
}

/* A node that lost its agent for good must not go on paying for it. */
static __always_inline void fall_silent_without_agent(void) {
  struct slogate_control* c = control();
  if (c && bpf_ktime_get_ns() > c->heartbeat + SLOGATE_QUIET_NS) c->epoch = 0;
}

static __always_inline void listens(struct sock* sk) {
  struct slogate_sock* state = remember(sk, SLOGATE_ROLE_listener, 1);
  struct slogate_slot* slot = state && begin_listening(sk, state) ? slot_of(sk, state) : 0;
  if (slot) add(slot, SLOGATE_COUNTER_listener_gaps, 1);
}

/* One that was never known gets a slot now, so that what it refuses has one. */
static __always_inline void stops_listening(struct sock* sk) {
  struct slogate_sock* state = known_socket(sk);
  struct slogate_ref ref = {};
  if (!state) find_slot(sk, 1, &ref);
  end_listening(sk, state);
}

static __always_inline void on_set_state(struct sock* sk, int from, int to) {
  if (to == TCP_ESTABLISHED) fall_silent_without_agent();
  if (to == TCP_SYN_SENT)
    connecting(sk);
  else if (to == TCP_ESTABLISHED)
    established(sk, from);
  else if (to == TCP_LISTEN)
    listens(sk);
  else if (to == TCP_FIN_WAIT1)
    ends(sk);
  else if (to == TCP_CLOSE)
    closed(sk, from);
  if (by_roll && to == TCP_CLOSE) leave_roll(sk, state_of(sk));
  /* A child begins as LISTEN, too, and goes on to SYN_RECV. */
  if (from == TCP_LISTEN && to == TCP_CLOSE) stops_listening(sk);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(set_state, struct sock* sk, int from, int to) {
  if (!is_tcp(sk)) return 0;
  return SLOGATE_RUN(set_state, sk->__sk_common.skc_hash, on_set_state(sk, from, to));
}

static __always_inline void on_retransmit(struct sock* sk) {
  struct slogate_sock* state = known_socket(sk);
  /* An adopted socket's count starts with the next one: this one is in it already. */
  if (!state) state = adopt(sk);
  struct slogate_slot* slot = state ? slot_of(sk, state) : 0;
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (slot && tp) settle(slot, books_of(sk, state), tp);
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(retransmit, struct sock* sk) {
  return SLOGATE_RUN(retransmit, sk->__sk_common.skc_hash, on_retransmit(sk));
}

/* ---- resets ---- */

static __always_inline struct slogate_sock* count_reset(struct sock* sk,
                                                        enum slogate_counter counter) {
  struct slogate_sock* state = known_socket(sk);
  if (!state) state = adopt(sk);
  struct slogate_slot* slot = state ? slot_of(sk, state) : 0;
  if (slot) add(slot, counter, 1);
  return state;
}

static __always_inline void on_reset_sent(struct sock* sk) {
  struct slogate_sock* state = count_reset(sk, SLOGATE_COUNTER_resets_out);
  if (!state || !(state->flags & SLOGATE_SOCK_owing)) return;
  state->flags &= ~SLOGATE_SOCK_owing;
  struct slogate_slot* slot = slot_of(sk, state);
  if (slot) add(slot, SLOGATE_COUNTER_harmful_out, 1);
}

/* Resets that answer segments for no socket at all have no owner and are not counted, but for the
 * refused connections among them. */
SEC("tp_btf/tcp_send_reset")
int BPF_PROG(reset_sent, struct sock* sk) {
  /* As numbers: before 6.13 the verifier takes both for pointers that are there,
   * and leaves out what asks whether they are. */
  struct {
    __u64 socket, packet;
  } raw = {};
  bpf_probe_read_kernel(&raw, sizeof(raw), ctx);
  if (!raw.socket) {
    if (!resets_without_socket || !raw.packet) return 0;
    return SLOGATE_RUN(reset_sent, 0, on_refused(raw.packet));
  }
  if (!sk || !is_full(sk) || !is_tcp(sk)) return 0;
  return SLOGATE_RUN(reset_sent, sk->__sk_common.skc_hash, on_reset_sent(sk));
}

/*
 * Whether the peer had received all that was sent to it when it sent the reset that is being
 * handled. A reset acknowledges, too, but TCP does not look, and no tracepoint shows it: a client
 * that reads an answer and drops the connection within the 40 ms for which it may put off its
 * acknowledgement leaves the answer unacknowledged for ever.
 *
 * The reset's timestamp tells: a peer echoes that of the oldest segment it has received and not
 * acknowledged, and puts off acknowledging at most two (RFC 7323 4.3, RFC 5681 4.2). A reset that
 * was sent for want of a socket has none. Where the two sides use no timestamps, as with Windows,
 * so few bytes are taken to have arrived.
 */
static __always_inline bool has_arrived(struct tcp_sock* tp) {
  if (tp->snd_una == tp->write_seq) return 1;
  if (tp->snd_nxt != tp->write_seq || tp->write_seq - tp->snd_una > 2 * tp->mss_cache) return 0;
  if (!BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.tstamp_ok)) return 1;
  if (!BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.saw_tstamp)) return 0;
  void* oldest = BPF_CORE_READ(tp, tsorted_sent_queue.next);
  struct sk_buff* skb = oldest - bpf_core_field_offset(struct sk_buff, tcp_tsorted_anchor);
  __u64 sent = BPF_CORE_READ(skb, skb_mstamp_ns);
  bool in_us =
      bpf_core_field_exists(tp->tcp_usec_ts) && BPF_CORE_READ_BITFIELD_PROBED(tp, tcp_usec_ts);
  return (__s32)(tp->rx_opt.rcv_tsecr - (__u32)(sent / (in_us ? 1000 : 1000000))) >= 0;
}

/* Comes before the end of the connection that follows from it. */
static __always_inline void on_reset_received(struct sock* sk) {
  struct slogate_sock* state = count_reset(sk, SLOGATE_COUNTER_resets_in);
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (!state || !tp) return;
  state->flags |= SLOGATE_SOCK_reset;
  if (has_arrived(tp)) state->flags |= SLOGATE_SOCK_arrived;
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(reset_received, struct sock* sk) {
  return SLOGATE_RUN(reset_received, sk->__sk_common.skc_hash, on_reset_received(sk));
}

char LICENSE[] SEC("license") = "GPL";
