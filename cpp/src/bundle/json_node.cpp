#include "bundle/json_node.hpp"

#include <algorithm>

#include "text.hpp"

namespace segdino::detail {
namespace {

// A manifest of six engines nests 6 deep and has 2000 keys and values. The limits keep hostile ones from taking all
// memory, or minutes: nlohmann's ordered objects look for a key among all those before it.
constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxValues = 50'000;
constexpr std::size_t kMaxKeys = 2'000;  // of one object

InputError damaged(const std::string& where, const std::string& place, const std::string& expected,
                   const std::string& got) {
  return InputError(where + "/manifest.json: damaged, not a manifest of this version; copy the bundle again, or " +
                        "remove it (" + (place.empty() ? "" : place + ": ") + expected + " is expected, got " + got +
                        ")",
                    expected, got);
}

/// The value in a few words.
std::string shown(const Json& value) {
  if (value.is_structured()) return value.is_object() ? "an object" : "an array";
  return printable(value.dump(-1, ' ', /*ensure_ascii=*/true));
}

bool is_one_line(const std::string& name) {
  return std::all_of(name.begin(), name.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte != 0x7f;
  });
}

/// A bundle from elsewhere must not reach outside its folder, whatever the system takes for a separator or a drive.
bool is_inside(const std::string& name) {
  const bool has_drive = name.size() > 1 && name[1] == ':';
  if (name.empty() || name.front() == '/' || has_drive || name.find('\\') != std::string::npos) return false;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    if (name.compare(begin, end - begin, "..") == 0) return false;
    begin = end + 1;
  }
  return true;
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where) {
  std::size_t values = 0;
  std::vector<std::size_t> keys(kMaxDepth + 2);  // of the object that is being read at each depth
  const auto limit = [&](int depth, Json::parse_event_t event, Json&) {
    if (depth > kMaxDepth) {
      throw damaged(where, "", "at most " + std::to_string(kMaxDepth) + " levels of nesting", "more");
    }
    if (event == Json::parse_event_t::object_start) keys[static_cast<std::size_t>(depth) + 1] = 0;
    if (event == Json::parse_event_t::key && ++keys[static_cast<std::size_t>(depth)] > kMaxKeys) {
      throw damaged(where, "", "at most " + std::to_string(kMaxKeys) + " keys in one object", "more");
    }
    if (++values > kMaxValues) {
      throw damaged(where, "", "at most " + std::to_string(kMaxValues) + " keys and values", "more");
    }
    return true;
  };
  try {
    return Json::parse(text, limit);
  } catch (const Json::parse_error& error) {
    throw damaged(where, "", "JSON", "none at byte " + std::to_string(error.byte));
  } catch (const Json::exception& error) {  // such as a number that no double holds
    throw damaged(where, "", "JSON", printable(one_line(error)));
  }
}

std::optional<Node> Node::find(const std::string& key) const {
  require(value_->is_object(), "an object");
  const auto found = value_->find(key);
  if (found == value_->end()) return std::nullopt;
  return Node(*found, *where_, below(key));
}

Node Node::at(const std::string& key) const {
  std::optional<Node> found = find(key);
  if (!found) throw damaged(*where_, below(key), "a value", "nothing");
  return *std::move(found);
}

std::vector<std::pair<std::string, Node>> Node::members() const {
  require(value_->is_object(), "an object");
  std::vector<std::pair<std::string, Node>> all;
  for (const auto& [key, value] : value_->items()) all.emplace_back(key, Node(value, *where_, below(key)));
  return all;
}

std::vector<Node> Node::elements() const {
  require(value_->is_array(), "an array");
  std::vector<Node> all;
  for (const Json& value : *value_) all.emplace_back(value, *where_, below(std::to_string(all.size())));
  return all;
}

std::string Node::text() const {
  require(value_->is_string(), "a text");
  return value_->get<std::string>();
}

std::vector<std::string> Node::texts() const {
  std::vector<std::string> all;
  for (const Node& element : elements()) all.push_back(element.text());
  return all;
}

std::string Node::one_of(const std::vector<std::string>& words) const {
  const bool is_known =
      std::any_of(words.begin(), words.end(), [&](const std::string& word) { return *value_ == word; });
  require(is_known, "one of " + joined(words));
  return value_->get<std::string>();
}

std::int64_t Node::whole(std::int64_t smallest, std::int64_t largest) const {
  const std::string expected = "a whole number from " + std::to_string(smallest) + " to " + std::to_string(largest);
  require(value_->is_number_integer(), expected);
  const bool is_huge = value_->is_number_unsigned() && value_->get<std::uint64_t>() > std::uint64_t{INT64_MAX};
  const auto number = value_->get<std::int64_t>();
  require(!is_huge && number >= smallest && number <= largest, expected);
  return number;
}

double Node::number() const {
  require(value_->is_number(), "a number");
  return value_->get<double>();
}

bool Node::boolean() const {
  require(value_->is_boolean(), "true or false");
  return value_->get<bool>();
}

std::string Node::name() const {
  std::string name = text();
  require_name(name);
  return name;
}

std::string Node::file_name() const {
  std::string name = text();
  require_file_name(name);
  return name;
}

void Node::require_name(const std::string& key) const {
  require(is_one_line(key), "a name without control characters", printable(key));
}

void Node::require_file_name(const std::string& key) const {
  require_name(key);
  require(is_inside(key), "a file inside the bundle", printable(key));
}

void Node::require(bool is_fine, const std::string& expected) const {
  if (!is_fine) throw damaged(*where_, place_, expected, shown(*value_));
}

void Node::require(bool is_fine, const std::string& expected, const std::string& got) const {
  if (!is_fine) throw damaged(*where_, place_, expected, got);
}

std::string Node::below(const std::string& key) const { return (place_.empty() ? "" : place_ + ".") + printable(key); }

}  // namespace segdino::detail
