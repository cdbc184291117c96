/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* No program: the agent creates the shared maps from this object, with the first chunk and index. */
#include "maps.h"

struct slogate_chunk slogate_chunk SEC(".maps");
struct slogate_index_inner slogate_owners SEC(".maps");

char LICENSE[] SEC("license") = "GPL";
