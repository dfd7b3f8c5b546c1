/// The model's card in the manifest: what feeds the model and reads its outputs.
#pragma once

#include "bundle/json_node.hpp"
#include "bundle/manifest.hpp"

namespace segdino::detail {

/// InputError for a card that is damaged, or whose arrays have more bytes than an address can tell.
Card read_card(const Node& node);

}  // namespace segdino::detail
