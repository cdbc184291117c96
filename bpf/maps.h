/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The maps, as the programs see them. Each object declares them all; the agent creates them once,
 * from maps.bpf.c, and hands the same ones to every object.
 */
#ifndef SLOGATE_MAPS_H
#define SLOGATE_MAPS_H

#include "kernel.h"
/* after kernel.h */
#include <bpf/bpf_helpers.h>

#include "maps/abi.h"

/* Inner maps by size, without types: the agent makes those that are used without any, and for 6.1
 * one with types is no like of one without. */
struct slogate_chunk {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, SLOGATE_CHUNK_SLOTS);
  __uint(key_size, sizeof(__u32));
  __uint(value_size, sizeof(struct slogate_slot));
};

/* Slot number -> slot, through its chunk. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, SLOGATE_MAX_CHUNKS);
  __type(key, __u32);
  __array(values, struct slogate_chunk);
} slogate_slab SEC(".maps");

struct slogate_index_inner {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 64);
  __uint(key_size, sizeof(struct slogate_key));
  __uint(value_size, sizeof(struct slogate_ref));
};

/* One element: the hash from owner to slot, replaced as a whole when it grows. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, 1);
  __type(key, __u32);
  __array(values, struct slogate_index_inner);
} slogate_index SEC(".maps");

/* Numbers of free slots: a ring, see struct slogate_control. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, SLOGATE_FREE_SLOTS);
  __type(key, __u32);
  __type(value, __u64);
} slogate_free SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct slogate_sock);
} slogate_sockets SEC(".maps");

/* Of those that speak HTTP/2. */
struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct slogate_http2);
} slogate_http2 SEC(".maps");

/* Those that the inventory visits: see news.h. Nobody reads the value. */
struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, __u32);
} slogate_news SEC(".maps");

/* Address of a socket -> what the inventory has to know of it, see roll.h. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SLOGATE_ROLL);
  __type(key, __u64);
  __type(value, struct slogate_entry);
} slogate_roll SEC(".maps");

/* What a pass over it says. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct slogate_open);
} slogate_open SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct slogate_control);
} slogate_control SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, SLOGATE_RUN_LINES);
  __type(key, __u32);
  __type(value, struct slogate_runs);
} slogate_runs SEC(".maps");

/* Rules that give a server socket a class other than `service`, or slots of its port's own. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SLOGATE_CLASS_RULES);
  __type(key, struct slogate_class_key);
  __type(value, struct slogate_class_rule);
} slogate_classes SEC(".maps");

/* This node's own addresses. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SLOGATE_NODE_ADDRESSES);
  __type(key, struct slogate_address);
  __type(value, __u32);
} slogate_node SEC(".maps");

/* See bpf/listener.h. Old entries make room for new ones. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, SLOGATE_LISTENERS);
  __type(key, struct slogate_listener_key);
  __type(value, struct slogate_listener);
} slogate_listeners SEC(".maps");

/* Cgroup -> samples that found no slot. Old entries make room for new ones. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, SLOGATE_LEFT_OUT);
  __type(key, __u64);
  __type(value, __u64);
} slogate_left_out SEC(".maps");

/* For agents of other versions; no program reads it. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct slogate_schema);
} slogate_schema SEC(".maps");

/* struct slogate_owner_event */
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, SLOGATE_EVENT_BYTES);
} slogate_events SEC(".maps");

#endif
