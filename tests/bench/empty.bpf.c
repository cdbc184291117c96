/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What a program costs that does nothing, on each of the hooks that are compared. */
#include "bpf/kernel.h"
/* after kernel.h */
#include <bpf/bpf_helpers.h>

SEC("tp_btf/sk_data_ready")
int empty_data_ready(void* context) {
  return 0;
}

SEC("tp_btf/tcp_sendmsg_locked")
int empty_send_locked(void* context) {
  return 0;
}

SEC("tp_btf/sock_send_length")
int empty_send_length(void* context) {
  return 0;
}

SEC("tp_btf/tcp_rcv_space_adjust")
int empty_first_read(void* context) {
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
