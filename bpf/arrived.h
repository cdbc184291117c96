/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What bpf/arrival.bpf.c leaves in `arrived` of struct slogate_sock for data_ready to book. */
#ifndef SLOGATE_ARRIVED_H
#define SLOGATE_ARRIVED_H

#include "maps.h"

enum {
  ARRIVED_nothing,
  ARRIVED_answer,                                          /* and enum slogate_answer more */
  ARRIVED_interim = ARRIVED_answer + SLOGATE_ANSWER_KINDS, /* the answer is still to come */
  ARRIVED_handshake,                                       /* and enum answer_handshake more */
};

/* And this bit, where the answer is a step of the login. */
#define ARRIVED_LOGIN 0x80
_Static_assert(ARRIVED_handshake < ARRIVED_LOGIN - 8, "the rest has no such bit");

#endif
