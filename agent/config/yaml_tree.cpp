// SPDX-License-Identifier: Apache-2.0
#include "agent/config/yaml_tree.h"

#include <fmt/format.h>
#include <utf8.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <utility>

namespace slogate {
namespace {

constexpr const char* kQuoteStars =
    "quote a value that starts with \"*\" or \"&\"; anchors and aliases are not supported";

[[noreturn]] void refuse(const YAML::Mark& mark, std::string message, std::string remedy) {
  throw YamlError{mark.line + 1, mark.column + 1, std::move(message), std::move(remedy)};
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

// What is wrong with the characters of one line (without its end).
std::optional<YamlError> check_line(std::string_view line, int number) {
  const auto error = [&](size_t at, std::string message, std::string remedy) {
    return YamlError{number, static_cast<int>(at) + 1, std::move(message), std::move(remedy)};
  };
  const size_t start = line.find_first_not_of(" \t");
  if (const size_t tab = line.find('\t'); tab < start && start != std::string_view::npos)
    return error(tab, "a tab in the indentation", "YAML is indented with spaces");
  // yaml-cpp passes over directives it doesn't know, wherever they are.
  if (line.starts_with('%')) return error(0, "a YAML directive", "remove the line");
  const size_t invalid = std::min(utf8::find_invalid(line), line.size());
  // yaml-cpp takes 0x04 for the end of the file and would drop the rest silently.
  for (size_t i = 0; i < invalid; ++i)
    if (is_control(line[i]) && line[i] != '\t')
      return error(i, fmt::format("control character 0x{:02x}", line[i]), "remove it");
  if (invalid < line.size()) return error(invalid, "not UTF-8", "save the file as UTF-8");
  return std::nullopt;
}

std::optional<YamlError> check_text(std::string_view text) {
  if (text.size() > kMaxYamlBytes)
    return YamlError{1, 1, "the file is larger than 1 MiB", "make it smaller"};
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (auto error = check_line(line, number)) return error;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::nullopt;
}

// Whether the quoted text that begins `text` ends before the line does.
bool closes_on_line(std::string_view text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  const char quote = line.front();
  const char escape = quote == '"' ? '\\' : quote;
  for (size_t i = 1; i < line.size(); ++i) {
    const bool is_escape =
        line[i] == escape && (escape == '\\' || line.substr(i + 1).starts_with(quote));
    if (is_escape)
      ++i;
    else if (line[i] == quote)
      return true;
  }
  return false;
}

// Whether a scalar stands on one line of the file, `text` being the file from its start on. What
// does not is a missing quote or colon: yaml-cpp takes an open quote to reach to the end of the
// file, and adds the line after a plain value to it.
bool is_on_one_line(std::string_view text, std::string_view value) {
  if (text.starts_with('"') || text.starts_with('\'')) return closes_on_line(text);
  return text.starts_with(value);
}

// Builds the tree from yaml-cpp's events and throws a YamlError at what is not supported.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::string_view text) : text_(text) {}
  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (std::exchange(started_, true))
      refuse(mark, "a second document", "remove a line \"---\", or check the indentation");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    place(make(YamlNode::Kind::Null, mark, "", anchor));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(mark, "an alias", kQuoteStars);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = make(YamlNode::Kind::Scalar, mark, tag, anchor);
    if (!is_on_one_line(from(mark), value))
      refuse(mark, "the value does not end on its line", "is there a quote or a colon missing?");
    if (std::ranges::any_of(value, is_control))
      refuse(mark, "the value has a control character", "values are printable text");
    node.text = value;
    place(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(make(YamlNode::Kind::Sequence, mark, tag, anchor), mark);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(make(YamlNode::Kind::Map, mark, tag, anchor), mark);
  }
  void OnMapEnd() override { close(); }

 private:
  // The file from a mark on.
  [[nodiscard]] std::string_view from(const YAML::Mark& mark) const {
    return text_.substr(std::min(static_cast<size_t>(mark.pos), text_.size()));
  }

  [[nodiscard]] YamlNode make(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
                              YAML::anchor_t anchor) const {
    if (anchor != 0) refuse(mark, "an anchor", kQuoteStars);
    // "?" and "!" are yaml-cpp's own, for plain and for quoted values; but "!" may stand there too.
    if ((!tag.empty() && tag != "?" && tag != "!") || from(mark).starts_with('!'))
      refuse(mark, "a tag", "tags are not supported: remove it, or quote the value");
    return {.kind = kind, .line = mark.line + 1, .column = mark.column + 1};
  }

  void open(YamlNode node, const YAML::Mark& mark) {
    if (open_.size() == kMaxYamlDepth)
      refuse(mark, "nested too deeply", fmt::format("at most {} levels", kMaxYamlDepth));
    open_.push_back(std::move(node));
  }

  void close() {
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    place(std::move(node));
  }

  void place(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    YamlNode& parent = open_.back();
    const bool is_key =
        parent.kind == YamlNode::Kind::Map && parent.keys.size() == parent.items.size();
    (is_key ? parent.keys : parent.items).push_back(std::move(node));
  }

  std::string_view text_;
  bool started_ = false;
  YamlNode root_;
  std::vector<YamlNode> open_;
};

YamlError to_error(const YAML::Exception& error) {
  YamlError result{.message = fmt::format("not YAML: {}", error.msg),
                   .remedy = "check the indentation, and quote text with any of : # * & @ [ ] { }"};
  if (error.msg.contains("anchor")) result.remedy = kQuoteStars;
  if (!error.mark.is_null()) {
    result.line = error.mark.line + 1;
    result.column = error.mark.column + 1;
  }
  return result;
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  for (size_t i = 0; i < keys.size(); ++i)
    if (keys[i].kind == Kind::Scalar && keys[i].text == key) return &items[i];
  return nullptr;
}

std::string_view YamlNode::kind_name() const {
  switch (kind) {
    case Kind::Null:
      return "nothing";
    case Kind::Scalar:
      return "a single value";
    case Kind::Sequence:
      return "a list";
    case Kind::Map:
      return "a mapping";
  }
  return "nothing";
}

std::expected<YamlNode, YamlError> parse_yaml(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // the byte order mark
  if (auto error = check_text(text)) return std::unexpected(std::move(*error));
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder builder(text);
    while (parser.HandleNextDocument(builder)) {
    }
    return builder.take();
  } catch (YamlError& error) {
    return std::unexpected(std::move(error));
  } catch (const YAML::Exception& error) {
    return std::unexpected(to_error(error));
  } catch (const std::exception& error) {
    return std::unexpected(YamlError{.message = fmt::format("not YAML: {}", error.what())});
  }
}

}  // namespace slogate
