/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* No program: the agent creates the shared maps from this object. */
#include "maps.h"

char LICENSE[] SEC("license") = "GPL";
