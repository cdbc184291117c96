/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* No program: the agent creates the shared maps from this object. */
#include "maps.h"

/* clang keeps only the name of a type that is reached through an inner map, and libbpf needs its
 * size: these make it whole. */
const struct slogate_slot* slogate_slot_type;
const struct slogate_key* slogate_key_type;
const struct slogate_ref* slogate_ref_type;

char LICENSE[] SEC("license") = "GPL";
