/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The contract between the BPF programs and the agent: every type that lies in a map. Compiled for
 * both, so there is nothing to keep in step by hand. Includers define __u8..__u64 first (kernel.h
 * in bpf/, <linux/types.h> elsewhere).
 *
 * All words of a slot are cumulative and only ever grow while the slot has one owner; nobody clears
 * a count by reading it.
 */
#ifndef SLOGATE_ABI_H
#define SLOGATE_ABI_H

#include "histogram.h"

/* Rises with every change of layout or meaning below. */
#define SLOGATE_ABI_VERSION 6

enum slogate_signal {
#define SLOGATE_SIGNAL(name, ...) SLOGATE_SIGNAL_##name,
#include "signals.def"
  SLOGATE_SIGNALS
};

enum slogate_counter {
#define SLOGATE_COUNTER(name, ...) SLOGATE_COUNTER_##name,
#include "signals.def"
  SLOGATE_COUNTERS
};

/* What an answer says: a row of SLOGATE_ANSWERS. Added to the first counter of its role. */
enum slogate_answer {
#define SLOGATE_ANSWER_ENUM(role, protocol, outcome) SLOGATE_ANSWER_##protocol##_##outcome,
  SLOGATE_ANSWERS(SLOGATE_ANSWER_ENUM, ) SLOGATE_ANSWER_KINDS
};
#define SLOGATE_ANSWER_COUNTER(client, answer)                                                 \
  ((enum slogate_counter)(                                                                     \
      ((client) ? SLOGATE_COUNTER_client_http_success : SLOGATE_COUNTER_server_http_success) + \
      (answer)))

enum slogate_site {
#define SLOGATE_SITE(name, ...) SLOGATE_SITE_##name,
#include "signals.def"
  SLOGATE_SITES
};

enum slogate_probe {
#define SLOGATE_PROBE(name, ...) SLOGATE_PROBE_##name,
#include "signals.def"
  SLOGATE_PROBES
};

/*
 * Drops are kept by the kernel's own reason number, which moves between kernels: the names come
 * from the running kernel's BTF. Number 0 is never a drop, so word 0 holds the reasons of
 * subsystems and those past the end.
 */
#define SLOGATE_DROP_REASONS 140

/* What a socket is for. Only `service` is judged: probes and scrapes would drown or flatter it. */
enum slogate_class {
  SLOGATE_CLASS_service,
  SLOGATE_CLASS_probe,
  SLOGATE_CLASS_scrape,
  SLOGATE_CLASS_proxy,
  SLOGATE_CLASSES
};

/* Key of the index: one slot for each traffic class of each cgroup, and for each port that is
 * counted apart. */
struct slogate_key {
  __u64 cgroup; /* id of the cgroup that owns the socket (its creator's) */
  __u32 class_; /* enum slogate_class */
  __u32 port;   /* of struct slogate_class_rule */
};

/* A slot number and the generation it was taken in. Generations start at 1: no slot answers to 0.
 */
struct slogate_ref {
  __u32 slot;
  __u32 generation;
};

enum slogate_slot_state {
  SLOGATE_SLOT_free,    /* anyone may claim it, by compare-and-exchange */
  SLOGATE_SLOT_taken,   /* by a program */
  SLOGATE_SLOT_leaving, /* its owner is gone or has to make room: the agent is emptying it */
  SLOGATE_SLOT_retired, /* by the agent: reserved, or its chunk is about to be given back */
};

/* Marks of what changed in a slot, so that the agent reads a few cache lines of it instead of 150:
 * the counters, and of each histogram groups of neighbouring buckets, which is where a workload's
 * requests are. What they mean may change without a new version: an agent reads all of a slot
 * first, and has replaced the programs of another one by then. */
#define SLOGATE_DIRTY_ALL 1ull
#define SLOGATE_DIRTY_COUNTERS 2ull
#define SLOGATE_GROUP_SHIFT 5
#define SLOGATE_GROUP (1u << SLOGATE_GROUP_SHIFT)
#define SLOGATE_GROUPS ((SLOGATE_BUCKETS + SLOGATE_GROUP - 1) / SLOGATE_GROUP)
#define SLOGATE_DIRTY_BUCKET(signal, bucket) \
  (4ull << ((signal)*SLOGATE_GROUPS + ((bucket) >> SLOGATE_GROUP_SHIFT)))

/* One owner's measurements. The first line is what the hot path and the scan of a tick touch. */
struct slogate_slot {
  __u64 cgroup; /* owner, written last when a slot is taken; 0 for none */
  __u32 class_;
  __u32 state;      /* enum slogate_slot_state */
  __u32 generation; /* raised by the agent when it frees the slot */
  __u32 port;       /* as in struct slogate_key */
  __u32 answers;    /* by the agent: 1 where answers are read although `answers` of struct
                       slogate_control is 0 */
  __u32 zero;
  __u64 dirty; /* marks set by programs after a change, cleared by the agent before it reads */
  __u64 counters[SLOGATE_COUNTERS];
  __u64 drops[SLOGATE_DROP_REASONS];
  __u64 histograms[SLOGATE_SIGNALS][SLOGATE_BUCKETS];
};

/* Slots come in chunks, each one inner map of the slab: growing adds a chunk and copies nothing. */
#define SLOGATE_CHUNK_SHIFT 5
#define SLOGATE_CHUNK_SLOTS (1u << SLOGATE_CHUNK_SHIFT)
#define SLOGATE_MAX_CHUNKS 4096
#define SLOGATE_MAX_SLOTS (SLOGATE_MAX_CHUNKS * SLOGATE_CHUNK_SLOTS)

/* Limits of the other maps. */
#define SLOGATE_FREE_SLOTS 4096       /* free slots listed for new owners, at most; a power of 2 */
#define SLOGATE_CLASS_RULES 256       /* rules of the configuration */
#define SLOGATE_NODE_ADDRESSES 1024   /* addresses of this node */
#define SLOGATE_EVENT_BYTES (1 << 19) /* ring of owner events; a power of two */

/* What finds no slot is booked here, so that a sum over all slots stays true. Nobody owns it. */
#define SLOGATE_UNATTRIBUTED 0

/* Everything of owners that lost their slot: two copies, one of which counts at any moment. */
#define SLOGATE_TOTALS 1

/* Slots below this one are reserved. */
#define SLOGATE_FIRST_SLOT 3

/* Programs count their runs on one of this many lines, by CPU, so that CPUs seldom share a line. */
#define SLOGATE_RUN_LINES 64

/* One run in this many is timed, at its own cost. */
#define SLOGATE_RUN_SAMPLE 1024

/*
 * Counted without atomics: a run that is interrupted by another one of the same CPU may be missed.
 * These are for judging cost, not for any decision.
 */
struct slogate_runs {
  __u64 runs[SLOGATE_PROBES];
  __u64 timed[SLOGATE_PROBES];
  __u64 timed_ns[SLOGATE_PROBES];
  __u64 skipped[SLOGATE_PROBES]; /* runs left out, see `spare` below */
};

/* One element, shared by all programs. */
struct slogate_control {
  __u64 lost[SLOGATE_SITES];
  /*
   * The programs that count are those of this epoch; the others return at once. A newer agent
   * attaches its own programs with the next epoch and then stores it here: one store is the moment
   * of the change, for all of them. 0 silences all.
   */
  __u32 epoch;
  __u32 class_rules; /* number of rules in the class map: 0 skips the look-up */
  __u64 heartbeat;   /* when an agent was last here; CLOCK_MONOTONIC in ns */
  /*
   * Free slots are listed in a ring that the agent fills and the programs take from:
   * slogate_free[n % SLOGATE_FREE_SLOTS] for free_taken <= n < free_listed. An entry is a hint, the
   * slot's own state decides: the same slot may be listed twice, or no longer exist.
   */
  __u32 free_taken;
  __u32 free_listed;
  /*
   * What the agent's CPU budget leaves out; 0 for nothing. Low half: a bit for each program that is
   * not to run. High half: connections whose hash has one of these bits are not watched.
   */
  __u64 spare;
  /*
   * The agent's own: which of the two copies of the totals counts, and the slot that was added to
   * it last until that slot has been emptied (see maps/slab.cpp).
   */
  __u64 fold;
  __u32 programs_epoch; /* the one that was activated last; epoch may have fallen to 0 since */
  __u32 walk;           /* enum slogate_walk: what the inventory does that was begun last */
  __u64 node_netns;     /* cookie of the network namespace that the node's addresses are of */
  __u32 answers;        /* 1: answers of every cgroup are read, else those of slots that say so */
  /* Connections of HTTP/2, and streams that are open on them, as the walk over all sockets that was
   * begun last has found so far; the agent clears them before it begins one. */
  __u32 http2_connections;
  __u32 http2_streams;
  __u32 unlisted; /* how often a socket found no memory for its entry in slogate_news */
  __u32 walks;    /* the number of the walk that was begun last */
  /* Where the inventory goes by slogate_roll: how often connections came to be watched again, and
   * the bits of the hash of those that may not have been watched before. */
  __u32 rewatched;
  __u32 unwatched;
  __u32 zero;
};

/* What a walk of the inventory is for. */
enum slogate_walk {
  SLOGATE_WALK_news,  /* those in slogate_news: are brought up to date, open requests reported */
  SLOGATE_WALK_all,   /* the same with all sockets, and who is missing in slogate_news is entered */
  SLOGATE_WALK_list,  /* as that one, and every socket is reported */
  SLOGATE_WALK_quiet, /* those in slogate_news: quiet ones are taken out of it, and no more */
};

/* Programs go quiet when no agent came for this long. */
#define SLOGATE_QUIET_NS (3600ull * 1000 * 1000 * 1000)

/* Cgroups whose samples found no slot, with their number: the busiest of those left out. */
#define SLOGATE_LEFT_OUT 1024

/* The class map: rules of the configuration for sockets of servers. */
struct slogate_class_key {
  __u16 port; /* local port, host order; 0 for any */
  __u16 peer; /* 1: only peers whose address is one of this node's */
};
struct slogate_class_rule {
  __u16 class_; /* enum slogate_class */
  __u16 port;   /* the key's, where it is to be counted apart from the rest of its class; else 0 */
};

/* An IPv6 address, or an IPv4 address mapped into it; network order. */
struct slogate_address {
  union {
    __u8 bytes[16];
    __u32 words[4];
  };
};

/* Where servers listen, and who did last: at most so many places, the longest unused make room. */
#define SLOGATE_LISTENERS 2048

/* A place to listen. One socket may take two: IPv6's "any" is IPv4's, too, unless it says not. */
struct slogate_listener_key {
  __u64 netns;                    /* the namespace's cookie: never given again, unlike its inode */
  struct slogate_address address; /* the listener's own; ::ffff:0.0.0.0 or :: for any */
  __u32 port;                     /* host order */
  __u32 zero;
};
struct slogate_listener {
  __u64 cgroup;    /* who stopped listening here last; 0 for nobody yet */
  __u32 listening; /* sockets that are known to listen here now */
  __u32 zero;
};

enum slogate_role {
  SLOGATE_ROLE_none,
  SLOGATE_ROLE_server,
  SLOGATE_ROLE_client,
  SLOGATE_ROLE_listener,
  SLOGATE_ROLE_subflow, /* a server's, of MPTCP: its requests cannot be told */
};

/* What a connection speaks, as its answers tell. */
enum slogate_protocol {
  SLOGATE_PROTOCOL_untold, /* nothing was read yet that tells */
  SLOGATE_PROTOCOL_http,
  SLOGATE_PROTOCOL_redis,
  SLOGATE_PROTOCOL_postgresql,
  SLOGATE_PROTOCOL_mysql,
  SLOGATE_PROTOCOL_memcached,
  SLOGATE_PROTOCOL_tls,    /* in its handshake */
  SLOGATE_PROTOCOL_opaque, /* given up: never read again */
  SLOGATE_PROTOCOL_http2,  /* told by the client's preface: see struct slogate_http2 */
};

/* What of a connection's course tells how its messages are to be taken: bits. */
enum slogate_phase {
  SLOGATE_PHASE_login = 1, /* its server has asked who is there, and has not heard enough yet */
  SLOGATE_PHASE_prepares =
      2,                     /* MySQL: a statement was prepared, so that statements may be closed */
  SLOGATE_PHASE_unknown = 4, /* its first bytes were not seen: it may be HTTP/2 nevertheless */
  SLOGATE_PHASE_upgraded = 8, /* HTTP's 101: HTTP/2 may be next */
};

enum slogate_sock_flags {
  SLOGATE_SOCK_unread = 1,     /* nobody has read the open request yet: queue is still running */
  SLOGATE_SOCK_overlapped = 2, /* data arrived late during the open request */
  SLOGATE_SOCK_reset = 4,      /* the peer's reset came */
  SLOGATE_SOCK_arrived = 8,    /* and the peer had all that was sent to it */
  SLOGATE_SOCK_owing = 16,     /* our reset is about to go out, and something was owed */
  SLOGATE_SOCK_read = 32,      /* servers: `written` is when the open request was first read */
  SLOGATE_SOCK_early = 64,     /* servers: an answer began before all of its request was read */
  SLOGATE_SOCK_rest = 128,     /* the open request may be the rest of an upload that was answered */
};

/*
 * What is remembered with each socket. Written under the socket's lock, but for the fields from
 * segs_in to rtt_segs and `used`, which the inventory moves as well and bpf/slot.h therefore with
 * compare-and-exchange, for `full`, for `listed` (see bpf/news.h), and for `opened` where
 * tcp_sendmsg_locked is missing (see bpf/send_length.h). Times are those of CLOCK_MONOTONIC in ns.
 */
struct slogate_sock {
  struct slogate_ref ref;
  __u64 opened;  /* start of the open request, or of the connect; 0 for none */
  __u64 last;    /* latest arrival of data; of a listener that is counted when it began, else 0 */
  __u32 sent;    /* where tcp_sendmsg_locked is missing: write_seq when the request began */
  __u8 role;     /* enum slogate_role */
  __u8 looks;    /* how often HEADERS were looked for where the first bytes were not seen */
  __u16 flags;   /* enum slogate_sock_flags */
  __u32 segs_in; /* what of the socket's own counts has been booked */
  __u32 segs_out;
  __u32 retransmits;
  __u32 drops;    /* listeners: sk_drops, at the last look */
  __u32 rtt_segs; /* segs_in at the last rtt sample */
  __u32 begun;    /* sequence number of the open request's first byte */
  __u32 used;     /* 1: counted among the connections that carried data, or not to be */
  __u32 full;     /* listeners: whether the accept queue was full, at the last look */
  __u64 started;  /* servers: start of the request whose answer may still go on; 0 for none */
  __u64 written;  /* servers: when the latest part of that answer was written; or see above */
  __u8 protocol;  /* enum slogate_protocol */
  __u8 misfits;   /* answers in a row that were none of it */
  __u8 arrived;   /* clients: 1 + enum slogate_answer of what arrives, 0 for nothing yet */
  __u8 phase;     /* enum slogate_phase */
  __u32 listed;   /* 0: not in slogate_news; else 1 + how often in a row it was found quiet */
  __u32 visited;  /* the number of the walk that came by last */
  __u32 zero;
};

/* A socket that was found quiet so many times in a row is not visited again until it has news. */
#define SLOGATE_QUIET_VISITS 2

/* ---- HTTP/2 ---- */

/* Streams that are told apart on one connection. Servers allow 100 to 128 as a rule; what finds no
 * room is counted, and not timed. */
#define SLOGATE_STREAMS 128
/* Entries of a connection's table of headers (HPACK) that are remembered: those that are a status.
 */
#define SLOGATE_HTTP2_KNOWN 16
/* Bytes of a frame that are kept until all of its beginning is there, and of a block of headers. */
#define SLOGATE_HTTP2_HEAD 20
#define SLOGATE_HTTP2_KEPT 32
/* Where a block of headers is decoded, piece by piece; a power of 2. */
#define SLOGATE_HTTP2_SCRATCH 256

/* One direction of a connection: how far its frames were followed, see bpf/http2.h. */
struct slogate_http2_way {
  __u32 next;    /* sequence number of the first byte that was not looked at */
  __u32 stream;  /* of the block of headers that is being read */
  __u32 block;   /* bytes of it that are still to come in this frame */
  __u32 padding; /* bytes that follow them */
  __u32 skip;    /* bytes of a field to pass over */
  __u16 status;  /* what the block says so far: `:status`, 0 for nothing */
  __u16 grpc;    /* and 1 + `grpc-status` */
  __u8 lost;     /* where the next frame begins is not known */
  __u8 have;     /* bytes in `head` */
  __u8 need;     /* bytes that are to be there; 0 for those that every frame has */
  __u8 flags;    /* of the HEADERS that began the block */
  __u8 part;     /* enum http2_part: whether the block goes on after this frame */
  __u8 kept;     /* bytes in `rest` */
  __u8 in_value; /* the next byte of the block is the beginning of a field's value */
  __u8 kind;     /* enum http2_field_kind of that field */
  __u8 inserts;  /* it is to be entered in the table */
  __u8 obscure;  /* a field of the block stands for an entry that nobody has seen */
  __u8 zero[2];
  __u8 head[SLOGATE_HTTP2_HEAD]; /* the beginning of the frame that is being read */
  __u8 rest[SLOGATE_HTTP2_KEPT]; /* the beginning of a field whose end is not there yet */
};

/* An entry of the table of headers: the number-th that was inserted. */
struct slogate_http2_known {
  __u32 number;
  __u16 value;
  __u8 kind; /* enum http2_field_kind */
  __u8 zero;
};

enum slogate_stream_flags {
  SLOGATE_STREAM_answered = 1, /* the first frame of its answer has been seen */
  SLOGATE_STREAM_unread = 2,   /* nobody has read its request yet */
};

struct slogate_stream {
  __u64 opened; /* start of the request, 0 where it was not seen */
  __u64 mark;   /* its latest frame; once it is answered, the first frame of the answer */
  __u32 id;     /* 0 for none */
  __u16 status; /* `:status` of the answer, 0 for none that is known */
  __u8 flags;   /* enum slogate_stream_flags */
  __u8 zero;
};

/* What is remembered with a socket of HTTP/2 besides struct slogate_sock, so that others pay
 * nothing for it. Written under the socket's lock. */
struct slogate_http2 {
  struct slogate_http2_way in, out;
  __u64 statuses;  /* which of the latest 64 are in `known`; the latest is the lowest bit */
  __u32 inserted;  /* entries of the table of the answers' headers since the beginning */
  __u32 since;     /* of earlier ones it is not known which were statuses */
  __u32 last;      /* the latest stream that was opened */
  __u32 doubt;     /* streams up to this one may have ended unseen */
  __u32 accepted;  /* GOAWAY: later ones are refused */
  __u32 unread;    /* servers: the first stream that may not have been read; 0 for none */
  __u32 untold;    /* streams without an entry with `:status` 200, which trailers may say more of */
  __u16 open;      /* streams that have an entry */
  __u16 displaced; /* those that are not in the place of their number */
  __u8 grpc;       /* 1: a grpc-status has been seen */
  __u8 resumed;    /* 1: frames were lost since `last`: a gap in the numbers are missed streams */
  __u8 unsure;     /* 1: there are streams without an entry that have not ended */
  __u8 newest;     /* entry of `known` that is written next */
  struct slogate_http2_known known[SLOGATE_HTTP2_KNOWN];
  struct slogate_stream streams[SLOGATE_STREAMS];
  __u8 scratch[SLOGATE_HTTP2_SCRATCH];
};

/* What the inventory says of each open request, or of every socket. */
struct slogate_inflight {
  struct slogate_ref ref;
  __u64 opened; /* as in struct slogate_sock */
  __u16 role;   /* enum slogate_role */
  __u16 port;   /* local port, host order; 0 once the kernel has given it up */
  __u32 state;  /* of TCP, as in include/net/tcp_states.h */
};

/*
 * The roll of sockets by their address in the kernel, which the inventory goes by where the kernel
 * refuses iterators over the elements of maps. It may read what is remembered with the socket, and
 * only programs at an event may write there: so what has been booked of TCP's own counts is kept in
 * `books` for as long as the socket is on the roll.
 */
struct slogate_entry {
  __u64 storage; /* of the socket, where the kernel keeps all that programs remember with it:
                    another address is another socket */
  __u64 state;   /* where its struct slogate_sock is */
  __u64 http2;   /* where its struct slogate_http2 is; 0 for none */
  struct slogate_sock books;
};
/* Sockets on the roll. */
#define SLOGATE_ROLL 32768

/* What a pass over the roll has to say: the rows from one number on. */
#define SLOGATE_OPEN_ROWS 4096 /* a power of 2 */
struct slogate_open {
  __u32 rows; /* that there were in all */
  __u32 zero;
  struct slogate_inflight row[SLOGATE_OPEN_ROWS];
  struct slogate_http2 http2; /* a copy that is being read */
};

/*
 * Event ring: a slot got an owner. The path is the cgroup's, leaf first, each part with a
 * terminating zero, at most SLOGATE_PATH_DEPTH parts and without the root.
 */
#define SLOGATE_PATH_DEPTH 12
#define SLOGATE_PATH_PART 128
#define SLOGATE_PATH_BYTES 1024
struct slogate_owner_event {
  __u64 cgroup;
  struct slogate_ref ref;
  __u32 class_;
  __u32 parts;     /* how many are in `path` */
  __u32 bytes;     /* how long they are */
  __u32 truncated; /* 1 when the path had more or longer parts than fit */
  char path[SLOGATE_PATH_BYTES + SLOGATE_PATH_PART];
};

/*
 * What lies in the pinned maps, for an agent of another version. Its own layout never changes but
 * by appending: everything an agent needs to find old totals by name, whatever their order.
 */
#define SLOGATE_SCHEMA_MAGIC 0x65746167736f6c73ull /* "slogate", backwards, and an s */
#define SLOGATE_SCHEMA_NAMES 64
#define SLOGATE_SCHEMA_NAME 32
#define SLOGATE_SCHEMA_COUNTERS (2 * SLOGATE_SCHEMA_NAMES)
struct slogate_schema {
  __u64 magic;
  __u32 abi;
  __u32 slot_bytes;
  __u32 chunk_slots;
  __u32 first_slot;
  __u32 totals; /* slot numbers, as above */
  __u32 unattributed;
  __u32 counters, counters_offset; /* how many, and where in a slot */
  __u32 drops, drops_offset;
  __u32 signals, buckets, histograms_offset;
  __s32 edge_first;  /* k of the first bucket's upper edge, 2^(k/8) s */
  __u64 programs;    /* hash of the attached programs */
  __u32 fold_offset; /* of `fold` in struct slogate_control; its top bit names the copy */
  __u32 tables;      /* hash of the names of probes and sites, by whose rows runs and losses lie */
  char counter_names[SLOGATE_SCHEMA_NAMES][SLOGATE_SCHEMA_NAME];
  char signal_names[SLOGATE_SCHEMA_NAMES][SLOGATE_SCHEMA_NAME];
  /* Those of the counters that counter_names has no room for. */
  char more_counter_names[SLOGATE_SCHEMA_COUNTERS - SLOGATE_SCHEMA_NAMES][SLOGATE_SCHEMA_NAME];
};

#endif
