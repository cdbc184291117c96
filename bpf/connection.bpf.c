/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Connections: how they open, how long that takes, how they break. */
#include "socket.h"

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

/*
 * Whether the end of a connection is an error of it: one that never opened always is (given up by
 * the application without an error: `other`); an open one only if the kernel put an error on it
 * while somebody still used it. What happens after our side has closed concerns nobody, except a
 * client that shut down its side and still waits for an answer.
 */
static __always_inline bool is_error(const struct slogate_sock* state, int from, int error) {
  if (from == TCP_SYN_SENT) return 1;
  if (!error) return 0;
  if (from == TCP_ESTABLISHED || from == TCP_CLOSE_WAIT || from == TCP_SYN_RECV) return 1;
  return state->role == SLOGATE_ROLE_client && state->opened;
}

static __always_inline void closed(struct sock* sk, int from) {
  struct slogate_sock* state = known_socket(sk);
  if (!state) return;
  struct slogate_slot* slot = slot_of(sk, state);
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (!slot || !tp) return;
  if (state->role == SLOGATE_ROLE_listener) {
    advance(slot, SLOGATE_COUNTER_server_listen_overflow, &state->drops, sk->sk_drops.counter);
    return;
  }
  bool client = state->role == SLOGATE_ROLE_client;
  if (is_error(state, from, sk->sk_err)) add(slot, error_counter(client, sk->sk_err), 1);
  if (state->opened && from != TCP_SYN_SENT)
    add(slot, client ? SLOGATE_COUNTER_unanswered_client : SLOGATE_COUNTER_unanswered_server, 1);
  state->opened = 0;
  settle(slot, state, tp);
  sample_rtt(slot, state, tp);
}

/* A node that lost its agent for good must not go on paying for it. */
static __always_inline void fall_silent_without_agent(void) {
  struct slogate_control* c = control();
  if (c && bpf_ktime_get_ns() > c->heartbeat + SLOGATE_QUIET_NS) c->epoch = 0;
}

static __always_inline void on_set_state(struct sock* sk, int from, int to) {
  if (to == TCP_ESTABLISHED) fall_silent_without_agent();
  if (to == TCP_SYN_SENT)
    connecting(sk);
  else if (to == TCP_ESTABLISHED)
    established(sk, from);
  else if (to == TCP_LISTEN)
    remember(sk, SLOGATE_ROLE_listener, 1);
  else if (to == TCP_CLOSE)
    closed(sk, from);
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
  if (slot && tp) settle(slot, state, tp);
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(retransmit, struct sock* sk) {
  return SLOGATE_RUN(retransmit, sk->__sk_common.skc_hash, on_retransmit(sk));
}

static __always_inline void on_reset(struct sock* sk, enum slogate_counter counter) {
  struct slogate_sock* state = known_socket(sk);
  if (!state) state = adopt(sk);
  struct slogate_slot* slot = state ? slot_of(sk, state) : 0;
  if (slot) add(slot, counter, 1);
}

/* Resets that answer segments for no socket at all have no owner and are not counted. */
SEC("tp_btf/tcp_send_reset")
int BPF_PROG(reset_sent, struct sock* sk) {
  if (!sk || !is_full(sk) || !is_tcp(sk)) return 0;
  return SLOGATE_RUN(reset_sent, sk->__sk_common.skc_hash,
                     on_reset(sk, SLOGATE_COUNTER_resets_out));
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(reset_received, struct sock* sk) {
  return SLOGATE_RUN(reset_received, sk->__sk_common.skc_hash,
                     on_reset(sk, SLOGATE_COUNTER_resets_in));
}

char LICENSE[] SEC("license") = "GPL";
