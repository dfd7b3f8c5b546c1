#include "engine/tensorrt_messages.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "text.hpp"

namespace segdino::detail {
namespace {

constexpr std::size_t kMaxKept = 100;
constexpr std::size_t kMaxBytes = 2000;  // of one message

struct Cure {
  const char* part;  // of a message
  const char* cure;
};
constexpr std::array kCures = {
    Cure{"No space left", "free some disk space"},
    Cure{"out of memory", "close other programs, or build with --low-memory"},
    Cure{"OutOfMemory", "close other programs, or build with --low-memory"},
};

struct Message {
  std::uint64_t number;  // all errors of the process are counted
  std::thread::id thread;
  bool is_listeners;  // said on a thread that listens
  std::string text;
};

class Log final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override {
    if (severity > Severity::kERROR || message == nullptr || *message == '\0') return;
    try {
      const std::lock_guard<std::mutex> lock(mutex_);
      const std::thread::id me = std::this_thread::get_id();
      if (errors_.size() >= kMaxKept) errors_.pop_front();
      errors_.push_back({++count_, me, listeners_.count(me) > 0, std::string(message).substr(0, kMaxBytes)});
    } catch (...) {
      // No memory for a message: the failure is told without it.
    }
  }

  std::uint64_t begin() {
    const std::lock_guard<std::mutex> lock(mutex_);
    listeners_.insert(std::this_thread::get_id());
    return count_;
  }

  void end() {
    const std::lock_guard<std::mutex> lock(mutex_);
    listeners_.erase(listeners_.find(std::this_thread::get_id()));
  }

  /// The first error after number `since`: what fails first is the reason; later ones say that something failed.
  std::string reason(std::uint64_t since) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::thread::id me = std::this_thread::get_id();
    const auto first = [&](auto fits) {
      return std::find_if(errors_.begin(), errors_.end(),
                          [&](const Message& message) { return message.number > since && fits(message); });
    };
    auto found = first([&](const Message& message) { return message.thread == me; });
    if (found == errors_.end()) found = first([](const Message& message) { return !message.is_listeners; });
    return found == errors_.end() ? "it gives no reason" : one_line(found->text);
  }

 private:
  std::mutex mutex_;
  std::uint64_t count_ = 0;
  std::deque<Message> errors_;
  std::multiset<std::thread::id> listeners_;
};

Log& log() {
  static Log* const kept = new Log;  // never deleted: TensorRT may speak until the process ends
  return *kept;
}

}  // namespace

std::string library_version() {
  return std::to_string(getInferLibMajorVersion()) + "." + std::to_string(getInferLibMinorVersion()) + "." +
         std::to_string(getInferLibPatchVersion()) + "." + std::to_string(getInferLibBuildVersion());
}

nvinfer1::ILogger& logger() { return log(); }

Listening::Listening() : since_(log().begin()) {}

Listening::~Listening() { log().end(); }

EngineError Listening::failure(const std::string& what) const {
  const std::string said = log().reason(since_);
  const auto known = std::find_if(kCures.begin(), kCures.end(),
                                  [&](const Cure& cure) { return said.find(cure.part) != std::string::npos; });
  return EngineError(std::string(this_flavour().title) + " " + library_version() + " " + what + ": " + said +
                     (known == kCures.end() ? "" : std::string("; ") + known->cure));
}

}  // namespace segdino::detail
