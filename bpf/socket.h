/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * From a socket to the slot it is booked to, and what is remembered of a socket. All that is rare
 * is a function of its own, so that the hot path stays short and the verifier sees it once.
 */
#ifndef SLOGATE_SOCKET_H
#define SLOGATE_SOCKET_H

#include "listener.h"
#include "news.h"

/* Not inlined into the hot path; not every object uses each of them. */
#define COLD static __noinline __attribute__((unused))

#define HALF_CLOSED \
  ((1 << TCP_CLOSE_WAIT) | (1 << TCP_LAST_ACK) | (1 << TCP_CLOSING) | (1 << TCP_TIME_WAIT))

/* Not a minisock: of those the kernel keeps too little to be read as a struct sock. */
static __always_inline bool is_full(const struct sock* sk) {
  int state = sk->__sk_common.skc_state;
  return state != TCP_TIME_WAIT && state != TCP_NEW_SYN_RECV;
}

static __always_inline bool is_v4(const struct slogate_address* address) {
  return !address->words[0] && !address->words[1] && address->words[2] == bpf_htonl(0xffff);
}

static __always_inline bool is_loopback(const struct slogate_address* address) {
  if (is_v4(address)) return address->bytes[12] == 127;
  return !address->words[0] && !address->words[1] && !address->words[2] &&
         address->words[3] == bpf_htonl(1);
}

static __always_inline bool is_same(const struct slogate_address* one,
                                    const struct slogate_address* other) {
  return one->words[0] == other->words[0] && one->words[1] == other->words[1] &&
         one->words[2] == other->words[2] && one->words[3] == other->words[3];
}

/* Both ends of a socket. */
static __always_inline void read_addresses(const struct sock* sk, struct slogate_address* own,
                                           struct slogate_address* peer) {
  if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6) {
    BPF_CORE_READ_INTO(own, sk, __sk_common.skc_v6_rcv_saddr);
    BPF_CORE_READ_INTO(peer, sk, __sk_common.skc_v6_daddr);
    return;
  }
  own->words[2] = peer->words[2] = bpf_htonl(0xffff);
  own->words[3] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
  peer->words[3] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
}

static __always_inline bool is_in_nodes_namespace(const struct sock* sk) {
  struct slogate_control* c = control();
  /* Where the kernel has no network namespaces there is but one. */
  if (!bpf_core_field_exists(sk->__sk_common.skc_net)) return 1;
  return c && BPF_CORE_READ(sk, __sk_common.skc_net.net, net_cookie) == c->node_netns;
}

/* Whether a connection's peer is this node. In another network namespace than the node's, loopback
 * is that namespace itself, and so is the connection's own address: two namespaces may well have
 * the same one, such as a bridge's. */
static __always_inline bool is_node(const struct slogate_address* own,
                                    const struct slogate_address* peer, bool in_nodes) {
  if (is_loopback(peer)) return in_nodes;
  if (!in_nodes && is_same(own, peer)) return 0;
  return bpf_map_lookup_elem(&slogate_node, peer) != 0;
}

/* Enters what the configuration says of connections to a server's port, from this node or not. */
COLD void enter_class(__u32 port, bool local, struct slogate_key* owner) {
  /* The most particular rule wins: port and peer, port, peer. */
  struct slogate_class_key key = {.port = port, .peer = 1};
  struct slogate_class_rule* found = local ? bpf_map_lookup_elem(&slogate_classes, &key) : 0;
  if (!found) {
    key.peer = 0;
    found = bpf_map_lookup_elem(&slogate_classes, &key);
  }
  if (!found && local) {
    key = (struct slogate_class_key){.port = 0, .peer = 1};
    found = bpf_map_lookup_elem(&slogate_classes, &key);
  }
  if (!found) return;
  owner->class_ = found->class_;
  owner->port = found->port;
}

/* The same for a server's socket; a client's local port says nothing about it. Reads through
 * bpf_core_read, so that any pointer to a socket will do. */
COLD void classify(const struct sock* sk, struct slogate_key* owner) {
  struct slogate_address own = {}, peer = {};
  read_addresses(sk, &own, &peer);
  bool local = is_node(&own, &peer, is_in_nodes_namespace(sk));
  enter_class(BPF_CORE_READ(sk, __sk_common.skc_num), local, owner);
}

static __always_inline struct kernfs_node* parent_of(struct kernfs_node* node) {
  struct kernfs_node* parent = 0;
  if (bpf_core_field_exists(node->__parent))
    bpf_core_read(&parent, sizeof(parent), &node->__parent);
  else
    bpf_core_read(&parent, sizeof(parent), &((struct kernfs_node___before_6_15*)node)->parent);
  return parent;
}

/* Tells the agent who owns a slot, by name: the cgroup may be gone before anyone could look. */
COLD void announce(struct cgroup* cgroup, const struct slogate_key* key,
                   const struct slogate_ref* ref) {
  struct slogate_owner_event* event = bpf_ringbuf_reserve(&slogate_events, sizeof(*event), 0);
  if (!event) {
    lose(SLOGATE_SITE_no_name);
    return;
  }
  event->cgroup = key->cgroup;
  event->class_ = key->class_;
  event->ref = *ref;
  event->truncated = 0;

  struct kernfs_node* node = 0;
  bpf_core_read(&node, sizeof(node), &cgroup->kn);
  __u32 parts = 0, bytes = 0;
  /* Without a loop: 6.1 takes none that begins again by anything but a jump, which is up to clang.
   */
#pragma unroll
  for (int i = 0; i < SLOGATE_PATH_DEPTH + 1; i++) {
    struct kernfs_node* parent = node ? parent_of(node) : 0;
    if (!parent) break; /* the root has no name worth keeping */
    barrier_var(bytes); /* or clang proves its bounds itself, and the verifier can't follow */
    if (i == SLOGATE_PATH_DEPTH || bytes >= SLOGATE_PATH_BYTES) {
      event->truncated = 1;
      break;
    }
    const char* name = 0;
    bpf_core_read(&name, sizeof(name), &node->name);
    long length = bpf_probe_read_kernel_str(event->path + bytes, SLOGATE_PATH_PART, name);
    if (length < 0) break;
    if (length == SLOGATE_PATH_PART) event->truncated = 1;
    bytes += length & (2 * SLOGATE_PATH_PART - 1);
    parts++;
    node = parent;
  }
  event->parts = parts;
  event->bytes = bytes;
  bpf_ringbuf_submit(event, 0);
}

/* How many entries of the ring are tried: stale ones are rare, the agent takes them out. */
#define FREE_TRIES 16

/* Claims a slot from the ring of free ones; not 0 when there is none. */
COLD int claim_slot(struct slogate_control* c, struct slogate_ref* ref) {
  for (int i = 0; i < FREE_TRIES; i++) {
    __u32 taken = *(volatile __u32*)&c->free_taken;
    if (taken == *(volatile __u32*)&c->free_listed) break;
    __u32 place = taken & (SLOGATE_FREE_SLOTS - 1);
    __u64* number = bpf_map_lookup_elem(&slogate_free, &place);
    __u32 slot_number = number ? *(volatile __u64*)number : 0;
    /* Somebody else may have taken the entry, the slot, or the chunk it was in. */
    if (__sync_val_compare_and_swap(&c->free_taken, taken, taken + 1) != taken) continue;
    struct slogate_slot* slot = slot_at(slot_number);
    if (!slot || __sync_val_compare_and_swap(&slot->state, SLOGATE_SLOT_free, SLOGATE_SLOT_taken) !=
                     SLOGATE_SLOT_free)
      continue;
    ref->slot = slot_number;
    ref->generation = slot->generation;
    return 0;
  }
  return -1;
}

/* A slot for an owner that has none. Two CPUs may be here for the same owner. */
COLD int take_slot(void* owners, struct cgroup* cgroup, const struct slogate_key* key,
                   struct slogate_ref* ref) {
  struct slogate_control* c = control();
  struct slogate_slot* slot = c && !claim_slot(c, ref) ? slot_at(ref->slot) : 0;
  if (!slot) {
    lose(SLOGATE_SITE_no_slot);
    return -1;
  }
  slot->class_ = key->class_;
  slot->port = key->port;
  *(volatile __u64*)&slot->cgroup = key->cgroup;

  long error = bpf_map_update_elem(owners, key, ref, BPF_NOEXIST);
  if (!error) {
    announce(cgroup, key, ref);
    return 0;
  }
  /* The agent finds it free and lists it again. */
  *(volatile __u64*)&slot->cgroup = 0;
  *(volatile __u32*)&slot->state = SLOGATE_SLOT_free;
  struct slogate_ref* theirs = bpf_map_lookup_elem(owners, key);
  if (theirs) {
    *ref = *theirs;
    return 0;
  }
  lose(SLOGATE_SITE_index_full);
  return -1;
}

/*
 * The slot of the cgroup that owns the socket: its creator's, and for an accepted one its
 * listener's, whoever serves it. Where there is none to be had, the slot of what is unattributed,
 * with a generation that no slot answers to: the next sample asks again.
 *
 * Global, so that the verifier checks it once and not at each call; that is why the socket comes as
 * a number and is read through bpf_core_read.
 */
__noinline int find_owner(__u64 socket, __u32 server, struct slogate_ref* ref) {
  if (!ref) return -1;
  const struct sock* sk = (const struct sock*)socket;
  struct slogate_key key = {};
  struct slogate_control* c = control();
  struct cgroup* cgroup = BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
  key.cgroup = BPF_CORE_READ(cgroup, kn, id);
  if (server && c && c->class_rules) classify(sk, &key);

  struct slogate_ref found = {};
  __u32 zero = 0;
  void* owners = bpf_map_lookup_elem(&slogate_index, &zero);
  if (owners) {
    struct slogate_ref* known = bpf_map_lookup_elem(owners, &key);
    if (known) {
      *ref = *known;
      return 0;
    }
    if (!take_slot(owners, cgroup, &key, &found)) {
      *ref = found;
      return 0;
    }
  }
  __u64 one = 1, *left_out = bpf_map_lookup_elem(&slogate_left_out, &key.cgroup);
  if (left_out)
    __sync_fetch_and_add(left_out, 1);
  else
    bpf_map_update_elem(&slogate_left_out, &key.cgroup, &one, BPF_NOEXIST);
  ref->slot = SLOGATE_UNATTRIBUTED;
  ref->generation = 0;
  return 0;
}

static __always_inline struct slogate_slot* find_slot(const struct sock* sk, bool server,
                                                      struct slogate_ref* ref) {
  /* To the verifier a pointer stays one until its bytes have been read as something else. */
  __u64 socket = 0;
  bpf_probe_read_kernel(&socket, sizeof(socket), &sk);
  return find_owner(socket, server, ref) ? 0 : slot_at(ref->slot);
}

/* The slot of a socket that is already known. */
static __always_inline struct slogate_slot* slot_of(const struct sock* sk,
                                                    struct slogate_sock* state) {
  struct slogate_slot* slot = slot_at(state->ref.slot);
  if (slot && slot->generation == state->ref.generation) return slot;
  /* The slot has been given to another owner since, or there was none. */
  struct slogate_ref ref = {};
  slot = find_slot(sk, state->role != SLOGATE_ROLE_client, &ref);
  state->ref = ref;
  return slot;
}

/* ---- sockets ---- */

/* A connection that was not watched, as far as anyone knows: what happened meanwhile is not ours.
 */
static __always_inline bool was_unwatched(const struct sock* sk, const struct slogate_sock* state) {
  const struct slogate_control* c = control();
  return by_roll && c && state->visited != c->rewatched && sk->__sk_common.skc_hash & c->unwatched;
}

COLD int forget_unwatched(struct sock* sk, struct slogate_sock* state, __u32 rewatched) {
  struct tcp_sock* tp = was_unwatched(sk, state) ? bpf_skc_to_tcp_sock(sk) : 0;
  struct slogate_sock* books = books_of(sk, state);
  bool passed_over = books->visited == rewatched;
  state->visited = rewatched;
  if (!tp) return 0;
  state->opened = state->started = 0;
  state->flags = 0;
  state->sent = tp->write_seq;
  /* Where its frames are is found out again, as after any gap. */
  struct slogate_http2* http2 = bpf_sk_storage_get(&slogate_http2, sk, 0, 0);
  if (http2) http2->doubt = http2->last;
  if (passed_over) return 0;
  books->visited = rewatched;
  books->segs_in = books->rtt_segs = tp->segs_in;
  books->segs_out = tp->segs_out;
  books->retransmits = tp->total_retrans;
  return 0;
}

/* Of a socket that something happens to. */
static __always_inline struct slogate_sock* known_socket(struct sock* sk) {
  struct slogate_sock* state = state_of(sk);
  if (!state) return 0;
  note_news(sk, state);
  if (by_roll) {
    const struct slogate_control* c = control();
    if (c && state->visited != c->rewatched) forget_unwatched(sk, state, c->rewatched);
  }
  return state;
}

/* Starts to remember a socket. The counts it already has are not ours when it is adopted. */
COLD struct slogate_sock* remember(struct sock* sk, int role, bool adopted) {
  struct slogate_sock* state =
      bpf_sk_storage_get(&slogate_sockets, sk, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (!state) {
    lose(SLOGATE_SITE_no_storage);
    return 0;
  }
  struct slogate_ref ref = {};
  state->role = role;
  state->flags = 0;
  state->opened = state->started = 0;
  state->protocol = SLOGATE_PROTOCOL_untold;
  state->misfits = state->arrived = state->looks = 0;
  state->phase = adopted ? SLOGATE_PHASE_unknown : 0;
  struct slogate_slot* slot = find_slot(sk, role != SLOGATE_ROLE_client, &ref);
  state->ref = ref;
  state->drops = sk->sk_drops.counter;
  state->full = is_full_queue(sk);
  state->used = adopted; /* it was not counted as a connection either */
  if (by_roll) {
    const struct slogate_control* c = control();
    if (c) state->visited = c->rewatched;
    state->listed = 0; /* enters the roll as it is now */
  }
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (tp) {
    /* MPTCP has ways of its own to send: a request that opened here would never close. */
    if (role == SLOGATE_ROLE_server && is_subflow(tp)) state->role = SLOGATE_ROLE_subflow;
    state->sent = tp->write_seq;
    state->segs_in = adopted ? tp->segs_in : 0;
    state->segs_out = adopted ? tp->segs_out : 0;
    state->retransmits = adopted ? tp->total_retrans : 0;
    state->rtt_segs = state->segs_in;
  }
  note_news(sk, state);
  return slot ? state : 0;
}

/* ---- requests ---- */

#define FIN_SENT                                                                            \
  ((1 << TCP_FIN_WAIT1) | (1 << TCP_FIN_WAIT2) | (1 << TCP_CLOSING) | (1 << TCP_LAST_ACK) | \
   (1 << TCP_TIME_WAIT))

/* Whether the application has sent something since `sent` was noted; its FIN is nothing. */
static __always_inline bool has_sent(const struct sock* sk, const struct tcp_sock* tp,
                                     const struct slogate_sock* state) {
  int fin = ((1 << sk->__sk_common.skc_state) & FIN_SENT) != 0;
  return (__s32)(tp->write_seq - state->sent) > fin;
}

/* Whether something has arrived that nobody has read. A FIN takes a sequence number too, and alone
 * it is no data. */
static __always_inline bool has_unread(const struct tcp_sock* tp) {
  bool fin = ((1 << ((const struct sock*)tp)->__sk_common.skc_state) & HALF_CLOSED) != 0;
  return (__s32)(tp->rcv_nxt - tp->copied_seq) > fin;
}

/* Nothing was ever written on the connection. */
static __always_inline bool has_sent_nothing(const struct tcp_sock* tp) {
  return !tp->data_segs_out && tp->write_seq == tp->snd_nxt;
}

/* Set by the agent before loading: 0 takes out all that reads answers. */
const volatile bool read_answers = 0;

/* Whether the answers of all cgroups are read. */
static __always_inline bool are_all_answers_read(void) {
  const struct slogate_control* c = control();
  return c && c->answers;
}

/* Whether those of one are. */
static __always_inline bool has_answers_read(const struct slogate_slot* slot) {
  return read_answers && (slot->answers || are_all_answers_read());
}

static __always_inline void count_answer(struct slogate_slot* slot, bool client, __u32 answer,
                                         __u64 n) {
  if (answer < SLOGATE_ANSWER_KINDS) add(slot, SLOGATE_ANSWER_COUNTER(client, answer), n);
}

/* When a request was read whose answer was to tell first whether it is one. */
COLD void record_queue(struct slogate_slot* slot, struct slogate_sock* state, __u64 opened) {
  record(slot, SLOGATE_SIGNAL_queue, opened, state->written);
}

static __always_inline void record_request(struct slogate_slot* slot, struct slogate_sock* state,
                                           __u64 opened, __u64 now) {
  record(slot, SLOGATE_SIGNAL_request, opened, now);
  if (state->flags & SLOGATE_SOCK_overlapped) add(slot, SLOGATE_COUNTER_overlapped, 1);
  if (state->flags & SLOGATE_SOCK_read) record_queue(slot, state, opened);
}

/* Closes a request where nothing can be read of its answer. */
static __always_inline void close_request(struct sock* sk, struct slogate_sock* state, __u64 opened,
                                          __u64 now) {
  struct slogate_slot* slot = slot_of(sk, state);
  if (!slot) return;
  record_request(slot, state, opened, now);
  if (has_answers_read(slot)) add(slot, SLOGATE_COUNTER_server_unknown_unknown, 1);
}

/* The answer that was still being written is over: at the next request, or with the connection. */
static __always_inline void finish_answer(struct slogate_slot* slot, struct slogate_sock* state) {
  if (!state->started) return;
  record(slot, SLOGATE_SIGNAL_answer, state->started, state->written);
  state->started = 0;
}

/*
 * A socket that is older than the programs, at its first event. Only connect() chooses a local port
 * with fastreuse < 0, so that tells a client from a server; a client that had bound its port itself
 * is taken for a server.
 */
COLD struct slogate_sock* adopt(struct sock* sk) {
  int state = sk->__sk_common.skc_state;
  if (state == TCP_LISTEN) {
    struct slogate_sock* listener = remember(sk, SLOGATE_ROLE_listener, 1);
    if (listener) begin_listening(sk, listener);
    return listener;
  }
  if (state == TCP_CLOSE) return 0;
  struct tcp_sock* tp = bpf_skc_to_tcp_sock(sk);
  if (!tp) return 0;
  int role = SLOGATE_ROLE_server;
  if (state == TCP_SYN_SENT) {
    role = SLOGATE_ROLE_client;
  } else if (state != TCP_SYN_RECV) {
    struct inet_bind_bucket* bind = tp->inet_conn.icsk_bind_hash;
    signed char reuse = 0;
    if (bind) bpf_core_read(&reuse, sizeof(reuse), &bind->fastreuse);
    if (reuse < 0) role = SLOGATE_ROLE_client;
  }
  return remember(sk, role, 1);
}

#endif
