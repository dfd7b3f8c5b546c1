#include "throughput.hpp"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "clock.hpp"

namespace segdino_bench {
namespace {

constexpr std::size_t kCallsAtLeast = 2;

/// What the callers share.
class Loop {
 public:
  Loop(int callers, double seconds) : calls_(static_cast<std::size_t>(callers)), seconds_(seconds) {}

  /// One caller's life. `segmenter`: its own.
  void call(std::size_t number, segdino::Segmenter segmenter, const std::vector<Batch>& batches) {
    try {
      std::vector<std::vector<segdino::ImageView>> views;
      for (const Batch& batch : batches) views.push_back(batch.views(segmenter.info()));
      std::size_t next = number;
      const auto send = [&] { segmenter.segment(views[next++ % views.size()], segdino::OutputSize::model); };
      send();
      if (!wait_for_all()) return;
      while (!is_over()) {
        const double began = now_s();
        send();
        add(number, {began - began_, now_s() - began_});
      }
    } catch (...) {
      give_up(std::current_exception());
    }
  }

  void give_up(std::exception_ptr error) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!error_) error_ = std::move(error);
    changed_.notify_all();
  }

  Calls take() {
    if (error_) std::rethrow_exception(error_);
    return std::move(calls_);
  }

 private:
  /// False: another one has failed.
  bool wait_for_all() {
    std::unique_lock<std::mutex> lock(mutex_);
    if (++ready_ == calls_.size()) {
      began_ = now_s();
      changed_.notify_all();
    }
    changed_.wait(lock, [&] { return error_ || ready_ == calls_.size(); });
    return !error_;
  }

  bool is_over() {
    const std::lock_guard<std::mutex> lock(mutex_);
    const bool had_theirs =
        std::all_of(calls_.begin(), calls_.end(), [](const auto& calls) { return calls.size() >= kCallsAtLeast; });
    return error_ || (had_theirs && now_s() >= began_ + seconds_);
  }

  void add(std::size_t number, Call call) {
    const std::lock_guard<std::mutex> lock(mutex_);
    calls_[number].push_back(call);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t ready_ = 0;
  double began_ = 0;  // written once, before any caller goes on
  Calls calls_;
  double seconds_;
  std::exception_ptr error_;
};

}  // namespace

Calls run_callers(segdino::Segmenter& segmenter, const std::vector<Batch>& batches, int callers, double seconds) {
  Loop loop(callers, seconds);
  std::vector<std::thread> threads;
  try {
    for (std::size_t number = 0; number < static_cast<std::size_t>(callers); ++number) {
      threads.emplace_back(&Loop::call, &loop, number, segmenter.share(), std::cref(batches));
    }
  } catch (...) {  // too few threads or too little memory: those who wait must not wait for others
    loop.give_up(std::current_exception());
  }
  for (std::thread& thread : threads) thread.join();
  return loop.take();
}

Throughput summarise(const Calls& calls, int batch, double seconds) {
  double ended = seconds;
  for (const auto& of_caller : calls) ended = std::max(ended, of_caller.at(kCallsAtLeast - 1).ended);
  Throughput result;
  result.batch = batch;
  result.callers = static_cast<int>(calls.size());
  std::vector<double> calls_ms;
  for (const auto& of_caller : calls) {
    double counted = 0;
    double last_ended = 0;
    for (const Call& call : of_caller) {
      if (call.ended > ended) break;
      calls_ms.push_back((call.ended - call.began) * 1e3);
      last_ended = call.ended;
      ++counted;
    }
    // Over the time up to the caller's own last call: the part of a call that was cut off is no time without an answer.
    result.images_per_second += batch * counted / last_ended;
  }
  result.call = summarise(calls_ms);
  return result;
}

void to_json(nlohmann::ordered_json& json, const Call& call) { json = {call.began, call.ended}; }

void to_json(nlohmann::ordered_json& json, const Throughput& throughput) {
  json = {{"batch", throughput.batch},
          {"callers", throughput.callers},
          {"images_per_second", throughput.images_per_second},
          {"call", throughput.call}};
}

}  // namespace segdino_bench
