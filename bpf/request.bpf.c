/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Requests: request and queue on the server's side of a connection, client_request on the client's.
 *
 * A request opens when data arrives on a socket that owes nothing, and closes when the application
 * hands over the first byte of the answer. One request, one count, whatever its segments and
 * writes; a burst of pipelined requests counts once for each answer that found it open.
 *
 * sk_data_ready and tcp_sendmsg_locked both run under the socket's lock, so nothing here races.
 * Where these tracepoints are missing (before 6.3 and 6.16), programs at the entry of functions
 * stand in that run at the same places, where the kernel allows that (fentry).
 * Where neither is to be had for tcp_sendmsg_locked, sock_send_length stands in, which runs without
 * the lock: send_length.h.
 */
#include "arrived.h"
#include "farewell.h"
#include "frames_sent.h"
#include "outcome.h"
#include "send_length.h"
#include "upload.h"

/* tcp_clock_cache is the time at which TCP began to handle the segment, in the clock of
 * bpf_ktime_get_ns: right to a microsecond here, and a load instead of a clock read. A child made
 * by Fast Open may not have one yet. */
static __always_inline __u64 arrival_time(const struct tcp_sock* tp) {
  __u64 now = tp->tcp_clock_cache;
  return now ? now : bpf_ktime_get_ns();
}

/* One request of more bytes than this is taken for an upload. */
#define LARGE_REQUEST 8192

/* What a client says last in a handshake of TLS is followed by its request at once: two messages,
 * the first of which has no answer or tickets. */
static __always_inline bool is_in_handshake(const struct slogate_sock* state) {
  return state->protocol == SLOGATE_PROTOCOL_tls && state->misfits != ANSWER_TLS_data;
}

/* Whether data that arrives during an open request looks like another one. The rest of a large
 * request does not: it comes within a round trip of what came before, unless the reader has no room
 * for it, and there is much of it. */
static __always_inline bool overlaps(const struct tcp_sock* tp, const struct slogate_sock* state,
                                     __u64 since_last) {
  if (is_in_handshake(state)) return 0;
  return !(state->flags & (SLOGATE_SOCK_unread | SLOGATE_SOCK_overlapped)) &&
         since_last > (__u64)tp->srtt_us * 1000 / 8 && tp->rcv_nxt - state->begun <= LARGE_REQUEST;
}

static __always_inline void begin_request(const struct tcp_sock* tp, struct slogate_sock* state) {
  state->begun = tp->copied_seq;
  state->flags = SLOGATE_SOCK_unread | (may_be_rest(tp, state) ? SLOGATE_SOCK_rest : 0);
}

/* What comes behind the end of a handshake is a request, however long it is. */
static __always_inline void pass_handshake(struct slogate_sock* state) {
  if (state->protocol == SLOGATE_PROTOCOL_tls && state->misfits == ANSWER_TLS_last)
    state->misfits = ANSWER_TLS_told;
}

static __always_inline void request_arrived(struct sock* sk, struct tcp_sock* tp,
                                            struct slogate_sock* state, __u64 now) {
  __u64 opened = state->opened;
  __u64 last = state->last;
  state->last = now;
  if (opened && send_is_unseen(sk, tp, state)) {
    if (replace_answered(tp, state, opened, now)) close_request(sk, state, opened, now);
    begin_request(tp, state);
  } else if (!opened) {
    struct slogate_slot* slot = state->started ? slot_of(sk, state) : 0;
    if (slot) finish_answer(slot, state);
    state->sent = tp->write_seq;
    begin_request(tp, state);
    state->opened = now;
  } else if (expects_nothing(tp, state)) {
    pass_handshake(state);
    begin_request(tp, state);
    state->opened = now;
  } else if (overlaps(tp, state, now - last)) {
    state->flags |= SLOGATE_SOCK_overlapped;
  }
}

/* Since when the request is open that an answer arrives for; 0 for none. */
static __always_inline __u64 close_client_request(struct sock* sk, struct tcp_sock* tp,
                                                  struct slogate_sock* state) {
  __u64 opened = state->opened;
  state->flags &= ~SLOGATE_SOCK_rest;
  if (opened)
    state->opened = 0;
  else if (!is_subflow(tp) && send_is_unseen(sk, tp, state))
    opened = unseen_request(tp);
  note_answered(tp, state);
  return opened;
}

/* `arrived`: what bpf/arrival.bpf.c has read of the answer to a request, or unasked. */
static __always_inline void book_arrived(struct sock* sk, struct slogate_sock* state, __u64 opened,
                                         __u64 now, __u8 arrived) {
  struct slogate_slot* slot = slot_of(sk, state);
  if (!slot) return;
  bool login = arrived & ARRIVED_LOGIN;
  arrived &= ~ARRIVED_LOGIN;
  if (arrived >= ARRIVED_handshake) {
    count_handshake(slot, 1, arrived - ARRIVED_handshake);
    return;
  }
  if (opened && !login) record(slot, SLOGATE_SIGNAL_client_request, opened, now);
  if (has_answers_read(slot))
    count_answer(slot, 1, arrived ? arrived - ARRIVED_answer : unknown_answer(state->protocol), 1);
}

static __always_inline void answer_arrived(struct sock* sk, struct tcp_sock* tp,
                                           struct slogate_sock* state, __u64 now) {
  __u8 arrived = state->arrived;
  if (arrived) state->arrived = ARRIVED_nothing;
  if (arrived == ARRIVED_interim) return;
  __u64 opened = close_client_request(sk, tp, state);
  if (opened || arrived) book_arrived(sk, state, opened, now, arrived);
}

/* A listener's news: one more connection waits to be accepted. */
static __always_inline void connection_waits(struct sock* sk, struct slogate_sock* state) {
  struct slogate_sock* books = books_of(sk, state);
  if (books->full == is_full_queue(sk) && books->drops == (__u32)sk->sk_drops.counter) return;
  struct slogate_slot* slot = slot_of(sk, state);
  if (slot) look_at_queue(slot, books, sk);
}

static __always_inline void on_data_ready(struct sock* sk) {
  int tcp_state = sk->__sk_common.skc_state;
  if (tcp_state == TCP_SYN_SENT || tcp_state == TCP_CLOSE) return;
  struct slogate_sock* state = known_socket(sk);
  if (!state) state = adopt(sk);
  if (!state) return;
  if (tcp_state == TCP_LISTEN) {
    connection_waits(sk, state);
    return;
  }
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (!tp) return;

  if (!has_unread(tp)) return;
  if (is_followed(state)) {
    state->last = arrival_time(tp);
    return;
  }
  if (state->role == SLOGATE_ROLE_server && !can_be_answered(sk, state)) return;
  if (state->role == SLOGATE_ROLE_server)
    request_arrived(sk, tp, state, arrival_time(tp));
  else if (state->role == SLOGATE_ROLE_client)
    answer_arrived(sk, tp, state, state->last = arrival_time(tp));
}

SEC("tp_btf/sk_data_ready")
int BPF_PROG(data_ready, struct sock* sk) {
  if (!is_tcp(sk)) return 0;
  return SLOGATE_RUN(data_ready, sk->__sk_common.skc_hash, on_data_ready(sk));
}

/* What sk_data_ready of a TCP socket is, unless somebody put another function in its place: that of
 * kernel TLS calls this one when it has a whole record. */
SEC("fentry/sock_def_readable")
int BPF_PROG(entry_sock_def_readable, struct sock* sk) {
  if (!is_tcp(sk)) return 0;
  return SLOGATE_RUN(data_ready, sk->__sk_common.skc_hash, on_data_ready(sk));
}

/* 1xx asks for the rest of the request, or says that the answer will take a while. What comes next
 * is no other request; nor has close_answered() anything to close. */
static __always_inline void go_on(const struct tcp_sock* tp, struct slogate_sock* state,
                                  __u32 bytes) {
  state->begun = tp->rcv_nxt - LARGE_REQUEST - 1;
  state->sent = tp->write_seq + bytes;
}

/* Whether a server that says something has read nothing since its hello but how its client ends the
 * handshake. What the client says next may have come already. */
static __always_inline bool gives_tickets(const struct tcp_sock* tp,
                                          const struct slogate_sock* state) {
  return may_be_finished(state, tp->copied_seq - state->begun);
}

/* Whether a server of TLS says something while it has not read a byte of the open request: that is
 * no answer to it, but more tickets, which many servers send one by one, or a goodbye. */
static __always_inline bool is_unheard(struct sock* sk, const struct slogate_sock* state) {
  if (!read_answers || state->protocol != SLOGATE_PROTOCOL_tls) return 0;
  const struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  return tp && tp->copied_seq == state->begun;
}

/* A server that is told goodbye by TLS, and says so in return: no request, and no answer. */
static __always_inline bool takes_leave(const struct tcp_sock* tp, const struct slogate_sock* state,
                                        const struct msghdr* message) {
  return state->protocol == SLOGATE_PROTOCOL_tls && message &&
         may_be_alert(bytes_read(tp, state, has_peer_ended(tp))) &&
         may_be_alert(at_most_32_bits(message->msg_iter.count));
}

static __always_inline void record_answered(struct slogate_slot* slot, struct slogate_sock* state,
                                            const struct answer_reading* reading, __u64 opened,
                                            __u64 now) {
  record_request(slot, state, opened, now);
  if (is_server_error(reading->answer)) record(slot, SLOGATE_SIGNAL_failed_request, opened, now);
  if (!is_known_protocol(state->protocol) || reading->endless) return;
  state->started = opened;
  state->written = now;
}

/* More of an early answer, such as its body, while the rest of the upload comes in: it ends
 * nothing, and that it is no answer of HTTP says nothing of the protocol. */
static __always_inline bool is_more_of_early(const struct slogate_sock* state,
                                             const struct answer_reading* reading) {
  return state->flags & SLOGATE_SOCK_rest && reading->kind == ANSWER_outcome &&
         reading->answer == SLOGATE_ANSWER_http_unknown;
}

/* What a server says in answer to anything, and is no handshake, ends that: even where no byte of
 * it could be read. */
static __always_inline void end_handshake(struct slogate_sock* state,
                                          const struct answer_reading* reading) {
  if (state->protocol == SLOGATE_PROTOCOL_tls && reading->kind != ANSWER_handshake &&
      (state->misfits == ANSWER_TLS_last || state->misfits == ANSWER_TLS_told))
    state->misfits = ANSWER_TLS_data;
}

/* Whether a server begins to speak HTTP/2. */
static __always_inline bool begins_with_answer(struct sock* sk, const struct tcp_sock* tp,
                                               struct slogate_sock* state, __u64 opened,
                                               const struct answer_reading* reading) {
  if (!follow_http2) return 0;
  if (reading->upgraded)
    return upgrade_to_http2(sk, tp, state, opened, tp->write_seq + reading->upgraded);
  return reading->settings && begin_at_settings(sk, tp, state, opened);
}

/* Reads the first byte of an answer, or what looks like it; whether it ends the request. */
static __always_inline bool read_begin(struct sock* sk, struct tcp_sock* tp,
                                       struct slogate_slot* slot, struct slogate_sock* state,
                                       __u64 opened, __u64 now, const struct msghdr* message) {
  struct sent source = {};
  struct answer_reading reading = {.asked = 1, .first = has_sent_nothing(tp)};
  bool last = gives_tickets(tp, state);
  __u8 misfits = state->misfits;
  read_send(state, message, &source, &reading);
  if (is_more_of_early(state, &reading)) {
    state->protocol = SLOGATE_PROTOCOL_http;
    state->misfits = misfits;
    return 0;
  }
  if (begins_with_answer(sk, tp, state, opened, &reading)) {
    if (state->flags & SLOGATE_SOCK_read) record_queue(slot, state, opened);
    state->flags = 0;
    frames_sent(sk, state, message);
    return 0;
  }
  end_handshake(state, &reading);
  if (takes_leave(tp, state, message) || (last && reading.kind == ANSWER_outcome))
    reading.kind = ANSWER_nothing;
  count_send(slot, &source, &reading);
  if (reading.kind == ANSWER_interim) {
    go_on(tp, state, reading.bytes);
    return 0;
  }
  if (last && reading.kind == ANSWER_nothing && has_unread(tp)) {
    begin_request(tp, state);
    state->opened = state->last;
    return 0;
  }
  if (reading.kind == ANSWER_outcome && !reading.login)
    record_answered(slot, state, &reading, opened, now);
  return 1;
}

static __always_inline void answer_begins(struct sock* sk, struct slogate_sock* state, __u64 opened,
                                          const struct msghdr* message) {
  /* A request that arrived in the middle of a send is not answered by the rest of that. */
  if (is_going_on(message)) return;
  __u64 now = bpf_ktime_get_ns();
  struct slogate_slot* slot = slot_of(sk, state);
  bool read = slot && has_answers_read(slot);
  struct tcp_sock* tp = 0;
  if (read && state->protocol != SLOGATE_PROTOCOL_opaque) {
    tp = bpf_skc_to_tcp_sock(sk);
    if (!tp || !read_begin(sk, tp, slot, state, opened, now, message)) return;
  } else if (slot) {
    record_request(slot, state, opened, now);
    if (read) add(slot, SLOGATE_COUNTER_server_unknown_unknown, 1);
  }
  state->opened = 0;
  state->flags = tp && is_early(tp, state) ? SLOGATE_SOCK_early : 0;
}

/* Whether what nobody asked for may say which protocol this is, or how its handshake went. */
static __always_inline bool may_tell(const struct slogate_sock* state) {
  if (!read_answers) return 0;
  if (state->protocol == SLOGATE_PROTOCOL_tls)
    return state->misfits == ANSWER_TLS_hello || state->misfits == ANSWER_TLS_retry;
  return state->protocol == SLOGATE_PROTOCOL_untold && !state->misfits;
}

/* A send while nothing is owed: more of an answer, or what nobody asked for. */
static __always_inline void more_is_sent(struct sock* sk, struct slogate_sock* state,
                                         const struct msghdr* message) {
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (!tp) return;
  struct sent source = {};
  struct answer_reading reading = {.first = has_sent_nothing(tp)};
  if (state->protocol == SLOGATE_PROTOCOL_untold && !reading.first) return;
  struct slogate_slot* slot = slot_of(sk, state);
  if (!slot || !has_answers_read(slot)) return;
  read_send(state, message, &source, &reading);
  count_send(slot, &source, &reading);
}

/* More of an answer that has begun; what Redis says between answers is none. */
static __always_inline void answer_goes_on(struct slogate_sock* state,
                                           const struct msghdr* message) {
  struct sent source = {};
  struct answer_reading reading = {};
  if (state->protocol == SLOGATE_PROTOCOL_redis && message && !is_going_on(message) &&
      find_bytes(message, &source, &reading) && look(&source, reading.here, 0, &reading.window) &&
      is_push(&reading.window))
    return;
  state->written = bpf_ktime_get_ns();
}

static __always_inline void client_asks(struct sock* sk, struct slogate_sock* state) {
  struct tcp_sock* tp = 0;
  bool may_wait_in_vain = state->phase & SLOGATE_PHASE_prepares ||
                          state->flags & SLOGATE_SOCK_rest || is_in_handshake(state);
  if (state->opened && !may_wait_in_vain) return;
  if (read_answers) tp = bpf_skc_to_tcp_sock(sk);
  if (state->opened) {
    if (!tp || !expects_nothing(tp, state)) return;
    pass_handshake(state);
  }
  if (tp) state->begun = tp->write_seq;
  state->flags &= ~SLOGATE_SOCK_rest;
  if (tp && may_send_rest(tp, state)) state->flags |= SLOGATE_SOCK_rest;
  state->opened = bpf_ktime_get_ns();
}

/* Runs under the socket's lock before a byte of the chunk is copied or sent, so its first run after
 * an arrival is the true first byte of the answer; tcp_clock_cache may be stale here. */
static __always_inline void on_send_locked(struct sock* sk, const struct msghdr* message) {
  struct slogate_sock* state = known_socket(sk);
  if (!state) state = adopt(sk);
  if (!state) return;
  if (is_followed(state) || (may_say_preface(sk, state) && says_preface(sk, state, message))) {
    frames_sent(sk, state, message);
    return;
  }
  __u64 opened = state->opened;
  if (state->role == SLOGATE_ROLE_client)
    client_asks(sk, state);
  else if (state->role == SLOGATE_ROLE_server && opened && !is_unheard(sk, state))
    answer_begins(sk, state, opened, message);
  else if (state->role == SLOGATE_ROLE_server && state->started)
    answer_goes_on(state, message);
  else if (state->role == SLOGATE_ROLE_server && may_tell(state))
    more_is_sent(sk, state, message);
}

SEC("tp_btf/tcp_sendmsg_locked")
int BPF_PROG(send_locked, struct sock* sk, const struct msghdr* message) {
  return SLOGATE_RUN(send_locked, sk->__sk_common.skc_hash, on_send_locked(sk, message));
}

/* The tracepoint comes after what may keep a send from beginning, the entry before it. */
static __always_inline bool can_send(const struct sock* sk, unsigned long bytes) {
  int state = sk->__sk_common.skc_state;
  return bytes && (state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT || state == TCP_SYN_RECV);
}

SEC("fentry/tcp_sendmsg_locked")
int BPF_PROG(entry_tcp_sendmsg_locked, struct sock* sk, const struct msghdr* message,
             unsigned long bytes) {
  if (!can_send(sk, bytes)) return 0;
  return SLOGATE_RUN(send_locked, sk->__sk_common.skc_hash, on_send_locked(sk, message));
}

/* Before 6.5 sendfile and splice have a way of their own. */
SEC("fentry/do_tcp_sendpages")
int BPF_PROG(entry_do_tcp_sendpages, struct sock* sk, void* page, int offset, unsigned long bytes) {
  if (!can_send(sk, bytes)) return 0;
  return SLOGATE_RUN(send_locked, sk->__sk_common.skc_hash, on_send_locked(sk, 0));
}

static __always_inline void on_send_length(struct sock* sk, int bytes) {
  struct slogate_sock* state = socket_that_sent(sk, bytes);
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (!state || !tp) return;
  __u64 answered = take_answered(tp, state);
  if (answered) close_request(sk, state, answered, bpf_ktime_get_ns());
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(send_length, struct sock* sk, int ret, int flags) {
  if (ret <= 0 || !is_tcp(sk)) return 0;
  return SLOGATE_RUN(send_length, sk->__sk_common.skc_hash, on_send_length(sk, ret));
}

/* Whether only the answer to an open request tells whether it is one, so that `queue` has to wait
 * for it: it may be a step of a login or a handshake, for which a server forks and loads what it
 * needs, or no request at all. */
static __always_inline bool is_in_doubt(const struct slogate_sock* state) {
  if (!read_answers || close_at_send_length) return 0;
  return state->protocol == SLOGATE_PROTOCOL_untold || is_in_handshake(state) ||
         state->phase & SLOGATE_PHASE_login || state->flags & SLOGATE_SOCK_rest;
}

/* Every way of reading goes through tcp_rcv_space_adjust, under the lock: recv, splice, zero-copy
 * receive, io_uring. Unlike sock_recv_length it does not run for a read that found nothing. */
static __always_inline void on_first_read(struct sock* sk) {
  struct slogate_sock* state = known_socket(sk);
  if (!state || !(state->flags & SLOGATE_SOCK_unread)) return;
  state->flags &= ~SLOGATE_SOCK_unread;
  __u64 opened = state->opened, now = bpf_ktime_get_ns();
  if (is_followed(state)) {
    frames_read(sk, state, now);
    return;
  }
  if (!opened) return;
  if (is_in_doubt(state)) {
    state->flags |= SLOGATE_SOCK_read;
    state->written = now;
    return;
  }
  struct slogate_slot* slot = slot_of(sk, state);
  if (slot) record(slot, SLOGATE_SIGNAL_queue, opened, now);
}

SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(first_read, struct sock* sk) {
  return SLOGATE_RUN(first_read, sk->__sk_common.skc_hash, on_first_read(sk));
}

char LICENSE[] SEC("license") = "GPL";
