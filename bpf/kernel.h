/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The few kernel types the programs touch, with the few members they read, as CO-RE declarations:
 * libbpf finds the real offsets in the running kernel's BTF when it loads the programs. Everything
 * read here is in every kernel since 6.1 unless a comment says otherwise.
 */
#ifndef SLOGATE_KERNEL_H
#define SLOGATE_KERNEL_H

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef __u64 u64;
typedef __u32 u32;
typedef _Bool bool;

/* Of the user-space ABI, so fixed. */
enum bpf_map_type {
  BPF_MAP_TYPE_HASH = 1,
  BPF_MAP_TYPE_ARRAY = 2,
  BPF_MAP_TYPE_LRU_HASH = 9,
  BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
  BPF_MAP_TYPE_SK_STORAGE = 24,
  BPF_MAP_TYPE_RINGBUF = 27,
};
enum {
  BPF_ANY = 0,
  BPF_NOEXIST = 1,
  BPF_F_NO_PREALLOC = 1,
  BPF_F_MMAPABLE = 1024,
  BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
};
enum { AF_INET = 2, AF_INET6 = 10, IPPROTO_TCP = 6, ETH_P_IP = 0x0800 };
enum {
  TCP_ESTABLISHED = 1,
  TCP_SYN_SENT,
  TCP_SYN_RECV,
  TCP_FIN_WAIT1,
  TCP_FIN_WAIT2,
  TCP_TIME_WAIT,
  TCP_CLOSE,
  TCP_CLOSE_WAIT,
  TCP_LAST_ACK,
  TCP_LISTEN,
  TCP_CLOSING,
  TCP_NEW_SYN_RECV,
};
enum {
  EPIPE = 32,
  ENETUNREACH = 101,
  ECONNRESET = 104,
  ETIMEDOUT = 110,
  ECONNREFUSED = 111,
  EHOSTUNREACH = 113
};

struct iovec;

#define TCP_FLAG_FIN 1   /* in tcp_flags */
#define RCV_SHUTDOWN 1   /* in sk_shutdown */
#define TCP_NO_RTT (~0u) /* in rtt_min before the first sample */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
  u64 id;
  const char* name;
  struct kernfs_node* __parent; /* since 6.15 (633488947ef66b) */
};
struct kernfs_node___before_6_15 {
  struct kernfs_node* parent;
};
struct cgroup {
  struct kernfs_node* kn;
};
struct sock_cgroup_data {
  struct cgroup* cgroup;
};

typedef struct {
  int counter;
} atomic_t;
struct sock;
struct in6_addr {
  union {
    __u8 u6_addr8[16];
    __be32 u6_addr32[4];
  } in6_u;
};
struct ns_common {
  unsigned int inum;
};
struct net {
  u64 net_cookie;
  struct ns_common ns;
};
typedef struct {
  struct net* net;
} possible_net_t;
struct sock_common {
  __be32 skc_daddr;
  __be32 skc_rcv_saddr;
  unsigned int skc_hash;
  __u16 skc_num;
  unsigned short skc_family;
  volatile unsigned char skc_state;
  unsigned char skc_ipv6only : 1;
  possible_net_t skc_net; /* where the kernel has network namespaces */
  struct in6_addr skc_v6_daddr;
  struct in6_addr skc_v6_rcv_saddr;
  struct sock* skc_listener; /* of a struct request_sock: in a union with other things */
};
struct sock {
  struct sock_common __sk_common;
  atomic_t sk_drops;
  u32 sk_ack_backlog; /* of a listener: connections that wait to be accepted, and how many may */
  u32 sk_max_ack_backlog;
  __u16 sk_protocol;
  unsigned char sk_userlocks : 4;
  __u8 sk_shutdown; /* which sides the application has shut down; both, once it closes */
  int sk_err;
  void* sk_bpf_storage;
  void* sk_socket; /* 0 once the application has closed it */
  struct sock_cgroup_data sk_cgrp_data;
};
struct inet_bind_bucket {
  signed char fastreuse;
};
struct inet_sock {
  __be16 inet_sport;
};
struct inet_connection_sock {
  struct inet_sock icsk_inet;
  struct inet_bind_bucket* icsk_bind_hash;
};
struct minmax {
  struct {
    u32 v;
  } s[3];
};
struct list_head {
  struct list_head* next;
};
struct tcp_options_received {
  u32 rcv_tsecr;        /* of the newest segment, less our own offset */
  __u16 saw_tstamp : 1; /* it has one */
  __u16 tstamp_ok : 1;  /* both sides send them */
};
struct tcp_sock {
  struct inet_connection_sock inet_conn;
  bool is_mptcp; /* where the kernel has MPTCP */
  u32 mss_cache;
  __u8 tcp_usec_ts : 1; /* since 6.7: timestamps in us, not in ms */
  u32 segs_in;
  u32 data_segs_in; /* those with data: a FIN alone has none */
  u64 bytes_received;
  u32 rcv_nxt;
  u32 copied_seq;
  u32 segs_out;
  u32 data_segs_out;
  u32 write_seq;
  u32 snd_nxt;
  u32 packets_out; /* sent and not acknowledged */
  u32 rcv_wup;     /* rcv_nxt as it was when we acknowledged last */
  u32 snd_una;
  struct list_head tsorted_sent_queue; /* what was sent and not acknowledged, oldest first */
  struct tcp_options_received rx_opt;
  u32 srtt_us; /* times 8 */
  u32 total_retrans;
  struct minmax rtt_min; /* us; from now or earlier, each later than the one before */
  u64 tcp_clock_cache;   /* ns, the clock of bpf_ktime_get_ns */
  struct {
    u64 mstamp; /* us: when the newest segment that was delivered had been sent */
  } rack;
};

struct net_device {
  possible_net_t nd_net;
};
struct sk_buff {
  struct sock* sk;
  unsigned int len;
  char cb[48];       /* of a segment that TCP has received: struct tcp_skb_cb */
  u64 skb_mstamp_ns; /* when TCP sent it */
  struct list_head tcp_tsorted_anchor;
  struct net_device* dev;
  __be16 protocol;
  __u16 transport_header; /* from head */
  __u16 network_header;
  unsigned char* head;
};
struct tcp_skb_cb {
  __u32 seq, end_seq; /* SYN and FIN take a number each */
  __u16 tcp_flags;    /* 8 bits before 6.15 */
};

/* What a send hands over. */
enum iter_type { ITER_IOVEC, ITER_UBUF }; /* by name: their numbers move between kernels */
struct iov_iter {
  __u8 iter_type;
  u64 iov_offset;            /* what of the first piece has been taken already */
  const struct iovec* __iov; /* since 6.4 (de4f5fed3f231a); in a union with the next */
  void* ubuf;
  u64 count;
};
struct iov_iter___before_6_4 {
  const struct iovec* iov;
};
struct msghdr {
  struct iov_iter msg_iter;
};

struct seq_file;
struct bpf_iter_meta {
  struct seq_file* seq;
};
struct bpf_map;
struct bpf_iter__bpf_sk_storage_map {
  struct bpf_iter_meta* meta;
  struct bpf_map* map;
  struct sock* sk;
  void* value;
};
struct task_struct;
struct file;
struct socket {
  struct sock* sk;
};
struct bpf_iter__task_file {
  struct bpf_iter_meta* meta;
  struct task_struct* task;
  __u32 fd;
  struct file* file;
};

#pragma clang attribute pop

/* Of the user-space ABI, so fixed. */
struct bpf_dynptr {
  __u64 opaque[2];
};
struct iovec {
  u64 iov_base;
  u64 iov_len;
};

#endif
