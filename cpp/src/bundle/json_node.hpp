/// Reading JSON that may be damaged or hostile: every value is asked for with its type and range.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "segdino/segdino.hpp"

namespace segdino::detail {

using Json = nlohmann::ordered_json;  // the order of engines and options matters

/// InputError: not JSON, or nested deeper or with more values than any manifest. `where`: the bundle, for messages.
Json parse_json(std::string_view text, const std::string& where);

/// One value and where it stands. InputError from every function where the value is not what was asked for.
class Node {
 public:
  /// `where`: the bundle, for messages; `place`: such as "model.batch". `value` and `where` must outlive the node and
  /// those that are made from it.
  Node(const Json& value, const std::string& where, std::string place = "")
      : value_(&value), where_(&where), place_(std::move(place)) {}

  /// Of an object; nothing where the key is absent.
  std::optional<Node> find(const std::string& key) const;
  Node at(const std::string& key) const;

  /// Of an object, in the file's order.
  std::vector<std::pair<std::string, Node>> members() const;
  std::vector<Node> elements() const;

  std::string text() const;
  std::vector<std::string> texts() const;
  std::string one_of(const std::vector<std::string>& words) const;
  std::int64_t whole(std::int64_t smallest, std::int64_t largest) const;
  double number() const;
  bool boolean() const;

  /// A text that can stand in one line of a message.
  std::string name() const;
  /// The name of a file inside the bundle.
  std::string file_name() const;

  /// The same of a key, where this is the value.
  void require_name(const std::string& key) const;
  void require_file_name(const std::string& key) const;

  void require(bool is_fine, const std::string& expected) const;
  void require(bool is_fine, const std::string& expected, const std::string& got) const;

  const Json& json() const { return *value_; }

 private:
  std::string below(const std::string& key) const;

  const Json* value_;
  const std::string* where_;
  std::string place_;
};

}  // namespace segdino::detail
