// SPDX-License-Identifier: Apache-2.0
// YAML as a small tree in which every node knows its place in the file. yaml-cpp's own Node keeps
// duplicate keys without a word, follows aliases and forgets where it stood.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace slogate {

// One value of a YAML file.
struct YamlNode {
  enum class Kind { Null, Scalar, Sequence, Map };

  Kind kind = Kind::Null;
  int line = 1, column = 1;  // where it starts, from 1; columns are bytes
  std::string text = {};     // of a scalar
  // Of a map, keys[i] is the key of items[i]; a key that stands twice is here twice.
  std::vector<YamlNode> keys = {}, items = {};

  // The value of the first such key of a map, null when there is none.
  [[nodiscard]] const YamlNode* find(std::string_view key) const;
  // "text", "a list", ... for messages.
  [[nodiscard]] std::string_view kind_name() const;
};

// Why a text is not YAML that slogate takes. Line and column are from 1.
struct YamlError {
  int line = 1, column = 1;
  std::string message, remedy = {};
};

inline constexpr size_t kMaxYamlBytes = 1 << 20;
inline constexpr size_t kMaxYamlDepth = 32;

// The one document of a file, a Null node when there is none. Refuses what is longer than
// kMaxYamlBytes, nested deeper than kMaxYamlDepth, not UTF-8, or has control characters, tabs as
// indentation, anchors, aliases, tags, directives, a second document or a value that does not
// end on its line. Scalars come out as printable UTF-8.
[[nodiscard]] std::expected<YamlNode, YamlError> parse_yaml(std::string_view text);

}  // namespace slogate
