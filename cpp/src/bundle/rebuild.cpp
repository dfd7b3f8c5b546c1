#include "bundle/bundle.hpp"
#include "text.hpp"

namespace segdino::detail {

std::string rebuild_command(const EngineRecord& engine, const std::filesystem::path& bundle, bool same_targets) {
  std::string command = "segdino-deploy build-engine " + shell_quoted(bundle.string()) + " --" + engine.precision +
                        " --backend " + shell_quoted(engine.backend);
  for (const auto& [option, value] : engine.options) {
    if (option == "--compute-capabilities" && !same_targets) continue;  // of the machine that it is built for now
    command += " " + shell_quoted(option);
    if (!value.empty()) command += " " + shell_quoted(value);
  }
  return command;
}

}  // namespace segdino::detail
