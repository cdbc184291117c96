// SPDX-License-Identifier: Apache-2.0
// libcurl, loaded when it is needed. With all the libraries it needs itself it takes 6 MB of
// memory, a fifth of what an agent with a thousand cgroups has, and one without Kubernetes makes no
// call.
#pragma once

#include <curl/curl.h>

#include "maps/error.h"

namespace slogate {

// The functions of libcurl that Transport calls, under their names.
struct Curl {
  decltype(&::curl_global_init) global_init;
  decltype(&::curl_easy_init) easy_init;
  decltype(&::curl_easy_cleanup) easy_cleanup;
  decltype(&::curl_easy_setopt) easy_setopt;
  decltype(&::curl_easy_getinfo) easy_getinfo;
  decltype(&::curl_easy_strerror) easy_strerror;
  decltype(&::curl_slist_append) slist_append;
  decltype(&::curl_slist_free_all) slist_free_all;
  decltype(&::curl_multi_init) multi_init;
  decltype(&::curl_multi_cleanup) multi_cleanup;
  decltype(&::curl_multi_add_handle) multi_add_handle;
  decltype(&::curl_multi_remove_handle) multi_remove_handle;
  decltype(&::curl_multi_poll) multi_poll;
  decltype(&::curl_multi_perform) multi_perform;
  decltype(&::curl_multi_info_read) multi_info_read;
  decltype(&::curl_multi_wakeup) multi_wakeup;
};

// Loads it with the first call, before the agent limits its system calls, and keeps it until the
// process ends. Fails where it, a library that it needs, or one of the functions is missing.
Result<void> load_curl();

// Once load_curl() has succeeded.
const Curl& curl();

}  // namespace slogate
