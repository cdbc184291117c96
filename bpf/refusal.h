/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Connections that a server refuses: the kernel answers a SYN with a reset because nobody listens.
 * No socket takes part, so all is read from the packet.
 *
 * It is booked to the cgroup that listened there last, in the class that the accepted connection
 * would have had: where probes of the node's own addresses are a class, refused ones are in it. A
 * flood of SYNs to closed ports must cost little and take nothing from anybody: here are only
 * look-ups, and what has no slot yet gets none.
 */
#ifndef SLOGATE_REFUSAL_H
#define SLOGATE_REFUSAL_H

#include "socket.h"

/* A TCP header, of which only the beginning is read. */
struct slogate_segment {
  __be16 from, to;
  __be32 sequence, acknowledged;
  __u8 offset, flags;
};
enum { SEGMENT_FIN = 1, SEGMENT_SYN = 2, SEGMENT_RST = 4, SEGMENT_ACK = 16 };

/* Where addresses are in the headers, and what follows these. */
enum { IPV4_FROM = 12, IPV4_TO = 16, IPV4_NEXT = 9, IPV6_FROM = 8, IPV6_TO = 24, IPV6_NEXT = 6 };

static __always_inline bool is_first(const struct slogate_segment* segment) {
  return (segment->flags & (SEGMENT_FIN | SEGMENT_SYN | SEGMENT_RST | SEGMENT_ACK)) == SEGMENT_SYN;
}

static __always_inline void read_address(struct slogate_address* address, const void* at, bool v4) {
  if (v4) {
    set_any(address, 1);
    bpf_probe_read_kernel(&address->bytes[12], sizeof(__be32), at);
  } else {
    bpf_probe_read_kernel(address, sizeof(*address), at);
  }
}

/* The connection would have a hash by which the agent's CPU budget leaves it out or not; without a
 * socket there is none. This one leaves out the same share. */
static __always_inline __u32 hash_of(const struct slogate_segment* segment) {
  return ((segment->sequence ^ segment->from) * 0x9e3779b1u) >> 16;
}

static __always_inline struct slogate_listener* last_listener(struct slogate_listener_key* place,
                                                              bool v4) {
  struct slogate_listener* last = bpf_map_lookup_elem(&slogate_listeners, place);
  if (last && last->cgroup) return last;
  set_any(&place->address, v4);
  return bpf_map_lookup_elem(&slogate_listeners, place);
}

static __always_inline void book_refusal(const struct slogate_key* owner) {
  __u32 zero = 0;
  void* owners = bpf_map_lookup_elem(&slogate_index, &zero);
  struct slogate_ref* ref = owners ? bpf_map_lookup_elem(owners, owner) : 0;
  struct slogate_slot* slot = ref ? slot_at(ref->slot) : 0;
  if (slot && slot->generation == ref->generation) add(slot, SLOGATE_COUNTER_server_refused, 1);
}

/* The packet comes as a number, for the verifier to ask nothing about it. */
COLD int on_refused(__u64 number) {
  const struct sk_buff* packet = (const struct sk_buff*)number;
  const unsigned char* head = BPF_CORE_READ(packet, head);
  struct slogate_segment segment = {};
  bpf_probe_read_kernel(&segment, sizeof(segment), head + BPF_CORE_READ(packet, transport_header));
  if (!is_first(&segment)) return 0;
  struct slogate_control* c = control();
  if (!c || !is_watched(c->spare, hash_of(&segment))) return 0;

  bool v4 = BPF_CORE_READ(packet, protocol) == bpf_htons(ETH_P_IP);
  const unsigned char* header = head + BPF_CORE_READ(packet, network_header);
  /* Before 6.10 the drop of a datagram comes here, too. */
  __u8 next = 0;
  bpf_probe_read_kernel(&next, sizeof(next), header + (v4 ? IPV4_NEXT : IPV6_NEXT));
  if (next != IPPROTO_TCP) return 0;
  struct slogate_listener_key place = {.port = bpf_ntohs(segment.to)};
  place.netns = BPF_CORE_READ(packet, dev, nd_net.net, net_cookie);
  read_address(&place.address, header + (v4 ? IPV4_TO : IPV6_TO), v4);
  struct slogate_address own = place.address;
  struct slogate_listener* last = last_listener(&place, v4);
  if (!last || !last->cgroup) return 0;

  struct slogate_key owner = {.cgroup = last->cgroup};
  bool in_nodes = place.netns == c->node_netns;
  struct slogate_address peer = {};
  read_address(&peer, header + (v4 ? IPV4_FROM : IPV6_FROM), v4);
  bool local = is_node(&own, &peer, in_nodes);
  if (c->class_rules) enter_class(place.port, local, &owner);
  /* The kubelet's probes of a container that is being started again, where no rule says so. */
  if (local && !in_nodes && owner.class_ == SLOGATE_CLASS_service) return 0;
  book_refusal(&owner);
  return 0;
}

#endif
