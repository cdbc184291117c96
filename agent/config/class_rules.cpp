// SPDX-License-Identifier: Apache-2.0
#include "agent/config/class_rules.h"

#include <map>

namespace slogate {
namespace {

// In the kernel's order of look-ups a port alone goes before any peer on this node.
constexpr uint16_t kAnyPeer = 0, kThisNode = 1;

}  // namespace

ClassRules to_class_rules(const std::vector<ClassRule>& rules, const std::vector<Slo>& slos) {
  std::map<std::pair<uint16_t, uint16_t>, slogate_class_rule> all;
  for (const ClassRule& rule : rules)
    all[{rule.port, rule.from_node ? kThisNode : kAnyPeer}].class_ = rule.class_;
  const auto of_node = all.find({0, kThisNode});
  for (const Slo& slo : slos) {
    if (!slo.port) continue;
    const auto [rule, is_new] = all.try_emplace({*slo.port, kAnyPeer});
    if (rule->second.class_ == SLOGATE_CLASS_service) rule->second.port = *slo.port;
    if (of_node != all.end()) all.try_emplace({*slo.port, kThisNode}, of_node->second);
  }
  ClassRules result;
  for (const auto& [key, rule] : all)
    result.emplace_back(slogate_class_key{key.first, key.second}, rule);
  return result;
}

}  // namespace slogate
