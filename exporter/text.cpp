// SPDX-License-Identifier: Apache-2.0
#include "exporter/text.h"

#include <prometheus/text_serializer.h>

#include <exception>

namespace slogate {

std::string to_text(const std::vector<prometheus::MetricFamily>& families) {
  try {
    return prometheus::TextSerializer().Serialize(families);
  } catch (const std::exception&) {
    return {};
  }
}

}  // namespace slogate
