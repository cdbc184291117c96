// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/curl.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <type_traits>

namespace slogate {
namespace {

constexpr const char* kName = "libcurl.so.4";
constexpr const char* kRemedy = "install libcurl4";

Result<Curl> load() {
  void* const library = ::dlopen(kName, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return fail(fmt::format("cannot load {}", ::dlerror()), kRemedy);
  const char* missing = nullptr;
  const auto find = [&](auto& function, const char* name) {
    // POSIX has functions and objects of one size for this.
    function =
        reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
    if (function == nullptr && missing == nullptr) missing = name;
  };
  Curl curl{};
  find(curl.global_init, "curl_global_init");
  find(curl.easy_init, "curl_easy_init");
  find(curl.easy_cleanup, "curl_easy_cleanup");
  find(curl.easy_setopt, "curl_easy_setopt");
  find(curl.easy_getinfo, "curl_easy_getinfo");
  find(curl.easy_strerror, "curl_easy_strerror");
  find(curl.slist_append, "curl_slist_append");
  find(curl.slist_free_all, "curl_slist_free_all");
  find(curl.multi_init, "curl_multi_init");
  find(curl.multi_cleanup, "curl_multi_cleanup");
  find(curl.multi_add_handle, "curl_multi_add_handle");
  find(curl.multi_remove_handle, "curl_multi_remove_handle");
  find(curl.multi_poll, "curl_multi_poll");
  find(curl.multi_perform, "curl_multi_perform");
  find(curl.multi_info_read, "curl_multi_info_read");
  find(curl.multi_wakeup, "curl_multi_wakeup");
  if (missing != nullptr) return fail(fmt::format("{} has no {}", kName, missing), kRemedy);
  if (curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return fail("libcurl does not start");
  return curl;
}

const Result<Curl>& loaded() {
  static const Result<Curl> once = load();
  return once;
}

}  // namespace

Result<void> load_curl() {
  if (!loaded()) return fail(loaded().error());
  return {};
}

const Curl& curl() {
  return *loaded();
}

}  // namespace slogate
