/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Packets of TCP sockets that the kernel threw away, by its own reason. */
#include "refusal.h"

/* Set by the agent before loading: the reasons that count as a drop, by the running kernel's number
 * (counted_drop_reasons() in agent/host/kernel_features.cpp), and whether the tracepoint names the
 * receiving socket (since 6.11). */
const volatile __u8 counted[SLOGATE_DROP_REASONS] = {};
const volatile bool has_rx_sk = 0;
/* TCP_LISTEN_OVERFLOW, by number; 0 where the kernel does not say it (before 6.15). */
const volatile __u32 listen_overflow = 0;

/* Where the last ACK of a handshake finds the accept queue full, the kernel adds to the listener's
 * sk_drops twice: once as it gives up the connection and once as it frees the packet. One of them
 * is passed over here. */
static __always_inline void on_overflow(struct sock* listener) {
  struct slogate_sock* state = bpf_sk_storage_get(&slogate_sockets, listener, 0, 0);
  if (state) __sync_fetch_and_add(&books_of(listener, state)->drops, 1);
}
/* The reason of a segment for which there is no socket, where only its drop tells of a refused
 * connection (see connection.bpf.c); else 0, which is no reason. */
const volatile __u32 no_socket = 0;

/* The verifier does not know a request socket's listener for a socket, so all of it is read through
 * bpf_core_read. */
static __always_inline void on_packet_drop(struct sock* sk, __u32 reason) {
  /* A half-open connection is its listener's. */
  int state = BPF_CORE_READ(sk, __sk_common.skc_state);
  if (state == TCP_NEW_SYN_RECV) sk = BPF_CORE_READ(sk, __sk_common.skc_listener);
  if (state == TCP_TIME_WAIT) return;
  unsigned short family = BPF_CORE_READ(sk, __sk_common.skc_family);
  if (family != AF_INET && family != AF_INET6) return;
  if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP) return;
  struct slogate_ref ref = {};
  struct slogate_slot* slot = find_slot(sk, 1, &ref);
  if (!slot) return;
  __sync_fetch_and_add(&slot->drops[reason], 1);
  touch(slot, SLOGATE_DIRTY_ALL);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(packet_drop, struct sk_buff* skb, void* location, __u32 reason) {
  if (no_socket && reason == no_socket && !skb->sk) {
    __u64 packet = 0;
    bpf_probe_read_kernel(&packet, sizeof(packet), ctx);
    SLOGATE_RUN(packet_drop, 0, on_refused(packet));
  }
  barrier_var(reason); /* or clang compares one copy of it and uses another one */
  /* Reasons of subsystems have a number above 16 bits; they and those past the table share one
   * word. */
  if (reason < SLOGATE_DROP_REASONS) {
    if (!counted[reason]) return 0;
  } else {
    reason = 0;
  }
  struct sock* sk = skb->sk;
  if (has_rx_sk && ctx[3]) sk = (struct sock*)ctx[3];
  if (!sk) return 0;
  if (has_rx_sk && listen_overflow && reason == listen_overflow) {
    struct sock* listener = (struct sock*)ctx[3];
    const struct slogate_control* c = control();
    if (listener && c && c->epoch == slogate_epoch) on_overflow(listener);
  }
  return SLOGATE_RUN(packet_drop, BPF_CORE_READ(sk, __sk_common.skc_hash),
                     on_packet_drop(sk, reason));
}

char LICENSE[] SEC("license") = "GPL";
