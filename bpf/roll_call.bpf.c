/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The inventory of the sockets on the roll, as often as the agent runs it: see roll.h. */
#include "farewell.h"
#include "streams.h"

/* What the agent gives a pass: the first row that it wants to have. */
struct roll_pass {
  __u64 from;
};

/* Since 6.2. */
extern void* bpf_rdonly_cast(const void* object, __u32 type) __ksym __weak;

static __always_inline struct slogate_open* output(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&slogate_open, &zero);
}

static __always_inline void write_row(const struct roll_pass* pass, struct slogate_open* open,
                                      const struct slogate_inflight* row) {
  __u64 place = open->rows++ - pass->from;
  if (place < SLOGATE_OPEN_ROWS) open->row[place & (SLOGATE_OPEN_ROWS - 1)] = *row;
}

static __always_inline bool lists_all(const struct slogate_control* c) {
  return c->walk == SLOGATE_WALK_list;
}

/* ---- what is open ---- */

/* Before that it may carry data by Fast Open, and is not counted as a connection yet. */
static __always_inline bool is_established(int state) {
  return state != TCP_SYN_SENT && state != TCP_SYN_RECV;
}

static __always_inline void report_streams(const struct roll_pass* pass, struct slogate_control* c,
                                           struct slogate_open* open, const void* from,
                                           struct slogate_inflight* row) {
  struct slogate_http2* http2 = &open->http2;
  if (!from || bpf_probe_read_kernel(http2, sizeof(*http2), from)) return;
  if (c->walk != SLOGATE_WALK_news && !pass->from) {
    c->http2_connections++;
    c->http2_streams += http2->open;
  }
  if (lists_all(c)) {
    write_row(pass, open, row);
    return;
  }
  /* As many as there are, so that most connections cost no look at each. */
  if (!http2->open) return;
  for (__u32 i = 0; i < SLOGATE_STREAMS; i++) {
    const struct slogate_stream* stream = &http2->streams[i];
    if (!is_waiting(http2, stream)) continue;
    row->opened = stream->mark;
    write_row(pass, open, row);
  }
}

/* Whether nobody watched it, or nothing has happened to it since: see forget_unwatched(). */
static __always_inline bool is_unwatched(const struct slogate_control* c,
                                         const struct slogate_sock* state, __u32 hash) {
  return !is_watched(c->spare, hash) || (state->visited != c->rewatched && hash & c->unwatched);
}

static __always_inline void report(const struct roll_pass* pass, struct slogate_control* c,
                                   const struct slogate_entry* entry,
                                   const struct slogate_sock* state, const struct tcp_sock* tp) {
  struct slogate_open* open = output();
  if (!open) return;
  const struct sock* sk = (const struct sock*)tp;
  int tcp_state = sk->__sk_common.skc_state;
  struct slogate_inflight row = {
      .ref = state->ref, .role = state->role, .port = sk->__sk_common.skc_num, .state = tcp_state};
  bool connection =
      state->role != SLOGATE_ROLE_listener && !is_unwatched(c, state, sk->__sk_common.skc_hash);
  if (connection && state->protocol == SLOGATE_PROTOCOL_http2) {
    report_streams(pass, c, open, (const void*)entry->http2, &row);
    return;
  }
  if (connection && state->opened && tcp_state != TCP_SYN_SENT && !expects_nothing(tp, state))
    row.opened = state->opened;
  if (row.opened || lists_all(c)) write_row(pass, open, &row);
}

/* ---- what TCP has counted itself ---- */

/* What came and went while nobody watched is not ours. */
static __always_inline void pass_over(struct slogate_sock* books, const struct tcp_sock* tp) {
  books->segs_in = books->rtt_segs = tp->segs_in;
  books->segs_out = tp->segs_out;
  books->retransmits = tp->total_retrans;
}

static __always_inline void bring_up(const struct slogate_control* c, struct slogate_slot* slot,
                                     struct slogate_sock* books, struct tcp_sock* tp) {
  const struct sock* sk = (const struct sock*)tp;
  if (books->role == SLOGATE_ROLE_listener) {
    look_at_queue(slot, books, sk);
    return;
  }
  bool unwatched = is_unwatched(c, books, sk->__sk_common.skc_hash);
  books->visited = c->rewatched;
  if (unwatched) {
    pass_over(books, tp);
    return;
  }
  settle(slot, books, tp);
  sample_rtt(slot, books, tp);
  if (is_established(sk->__sk_common.skc_state)) count_use(slot, books, tp);
}

/* ---- the roll ---- */

/* Whether the socket at that address is the one that was entered, and not closed. */
static __always_inline bool is_there(const struct slogate_entry* entry, const struct sock* sk) {
  return (__u64)(long)sk->sk_bpf_storage == entry->storage &&
         sk->__sk_common.skc_state != TCP_CLOSE;
}

static __always_inline void visit(const struct roll_pass* pass, const __u64* key,
                                  struct slogate_entry* entry) {
  struct slogate_control* c = control();
  struct tcp_sock* tp =
      bpf_rdonly_cast((const void*)*key, bpf_core_type_id_kernel(struct tcp_sock));
  struct slogate_sock state = {};
  if (!c) return;
  bool known = is_there(entry, (const struct sock*)tp) &&
               !bpf_probe_read_kernel(&state, sizeof(state), (const void*)entry->state);
  /* It may have been given to another one in between. */
  if (!known || !is_there(entry, (const struct sock*)tp)) {
    bpf_map_delete_elem(&slogate_roll, key);
    return;
  }
  /* No look-up for a new slot here: the socket's next event makes it. */
  struct slogate_slot* slot = slot_at(state.ref.slot);
  if (slot && slot->generation != state.ref.generation) slot = 0;
  if (slot && !pass->from) bring_up(c, slot, &entry->books, tp);
  report(pass, c, entry, &state, tp);
}

static long call_one(struct bpf_map* map, const __u64* key, struct slogate_entry* entry,
                     struct roll_pass* pass) {
  SLOGATE_RUN(roll_call, 0, visit(pass, key, entry));
  return 0;
}

SEC("raw_tp")
int roll_call(const __u64* context) {
  struct roll_pass pass = {.from = context[0]};
  struct slogate_open* open = output();
  if (!open) return 0;
  open->rows = 0;
  bpf_for_each_map_elem(&slogate_roll, call_one, &pass, 0);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
