#include "serve.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>

#include "channel.hpp"
#include "failures.hpp"
#include "image_file.hpp"
#include "platform.hpp"
#include "throughput.hpp"
#include "turns.hpp"

namespace segdino_bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kProtocol = 1;

/// Arrays behind each other, and what they are.
struct Arrays {
  Json described = Json::array();
  std::vector<std::uint8_t> bytes;

  template <typename T>
  void add(const std::string& name, const char* type, Json shape, const std::vector<const std::vector<T>*>& images) {
    described.push_back({{"name", name}, {"type", type}, {"shape", std::move(shape)}});
    for (const std::vector<T>* values : images) {
      const std::size_t size = values->size() * sizeof(T);
      bytes.resize(bytes.size() + size);
      std::memcpy(bytes.data() + bytes.size() - size, values->data(), size);
    }
  }
};

std::string output_name(const std::string& head, const char* kind) { return head.empty() ? kind : head + "." + kind; }

class Service {
 public:
  explicit Service(segdino::Segmenter segmenter) : segmenter_(std::move(segmenter)) {}

  Json introduce() const {
    const segdino::Info& info = segmenter_.info();
    return {{"engine", info.engine}, {"backend", info.backend}, {"precision", info.precision}, {"device", info.device}};
  }

  /// Answers one message.
  void answer(const Message& asked, Channel& channel) {
    const std::string what = asked.line.at("do").get<std::string>();
    if (what == "run") return run(asked, channel);
    if (what == "file") return file(asked, channel);
    if (what == "load") return load(asked, channel);
    if (what == "turn") return channel.write(loaded().take(asked.line.at("round").get<std::size_t>()));
    if (what == "throughput") return throughput(asked, channel);
    if (what != "again") throw std::runtime_error("'" + what + "': nothing that this program does");
    loaded().run_again();
    channel.write(Json::object());
  }

 private:
  void run(const Message& asked, Channel& channel) {
    const segdino::Info& info = segmenter_.info();
    const std::vector<Batch> batches = batches_of(asked);
    if (batches.size() != 1) throw std::runtime_error("run: more than one batch was sent");
    const segdino::Request request = everything_of(info);
    const std::vector<segdino::Result> results = segmenter_.analyse(batches.front().views(info), request);
    Arrays arrays;
    const auto count = results.size();
    for (std::size_t head = 0; head < info.heads.size(); ++head) {
      const std::string& name = info.heads[head].name;
      std::vector<const std::vector<std::uint8_t>*> masks;
      for (const auto& result : results) masks.push_back(&result.heads[head].mask.pixels);
      arrays.add(output_name(name, "mask"), "uint8", {count, info.input_height, info.input_width}, masks);
      add_planes(arrays, results, head, output_name(name, "probability"), &segdino::HeadResult::probability);
      add_planes(arrays, results, head, output_name(name, "logits"), &segdino::HeadResult::logits);
    }
    channel.write({{"arrays", arrays.described}}, arrays.bytes);
  }

  static void add_planes(Arrays& arrays, const std::vector<segdino::Result>& results, std::size_t head,
                         const std::string& name, std::optional<segdino::Planes> segdino::HeadResult::* kind) {
    std::vector<const std::vector<float>*> planes;
    for (const auto& result : results) {
      if (result.heads[head].*kind) planes.push_back(&(*(result.heads[head].*kind)).values);
    }
    if (planes.empty()) return;
    const segdino::Planes& first = *(results.front().heads[head].*kind);
    arrays.add(name, "float32", {results.size(), first.channels, first.height, first.width}, planes);
  }

  void file(const Message& asked, Channel& channel) {
    const auto [result, times] = segment_file(segmenter_, path_of(asked.line.at("path")));
    Arrays arrays;
    for (const segdino::HeadResult& head : result.heads) {
      arrays.add<std::uint8_t>(output_name(head.head, "mask"), "uint8", {head.mask.height, head.mask.width},
                               {&head.mask.pixels});
    }
    channel.write({{"arrays", arrays.described}, {"times", times}}, arrays.bytes);
  }

  void load(const Message& asked, Channel& channel) {
    std::vector<std::filesystem::path> files;
    for (const Json& file : asked.line.at("files")) files.push_back(path_of(file));
    turns_ = std::make_unique<Turns>(segmenter_, batches_of(asked), std::move(files));
    channel.write(Json::object());
  }

  void throughput(const Message& asked, Channel& channel) {
    const int callers = asked.line.at("callers").get<int>();
    if (callers < 1) throw std::runtime_error("throughput: at least one caller is needed");
    const double seconds = asked.line.at("seconds").get<double>();
    channel.write({{"calls", run_callers(segmenter_, batches_of(asked), callers, seconds)}});
  }

  Turns& loaded() const {
    if (!turns_) throw std::runtime_error("no batches were loaded");
    return *turns_;
  }

  /// The payload, cut into batches.
  std::vector<Batch> batches_of(const Message& asked) const {
    const int images = asked.line.at("batch").get<int>();
    const std::size_t size = bytes_of_image(segmenter_.info()) * static_cast<std::size_t>(std::max(images, 0));
    if (size == 0 || asked.payload.empty() || asked.payload.size() % size != 0) {
      throw segdino::InputError("the images sent are no batches of the model's size",
                                std::to_string(size) + " bytes each", std::to_string(asked.payload.size()) + " bytes");
    }
    std::vector<Batch> batches;
    for (auto begin = asked.payload.begin(); begin != asked.payload.end(); begin += static_cast<std::ptrdiff_t>(size)) {
      batches.push_back({{begin, begin + static_cast<std::ptrdiff_t>(size)}});
    }
    return batches;
  }

  static std::filesystem::path path_of(const Json& text) { return std::filesystem::u8path(text.get<std::string>()); }

  segdino::Segmenter segmenter_;
  std::unique_ptr<Turns> turns_;  // refer to the segmenter: declared after it
};

void refuse(Channel& channel, const Failure& failure) {
  channel.write({{"error", failure.message}, {"kind", failure.kind}});
}

}  // namespace

Json greeting() {
  return {{"program", "segdino_bench"},      {"protocol", kProtocol},     {"version", segdino::version()},
          {"backends", segdino::backends()}, {"library", library_path()}, {"image_files", example::codec_name()}};
}

int serve(const BenchOptions& options) {
  Channel channel;
  channel.write(greeting());
  std::unique_ptr<Service> service;
  try {
    service = std::make_unique<Service>(segdino::Segmenter::open(options.bundle, options.opening));
  } catch (const std::exception& error) {
    const Failure failure = failure_of(error);
    refuse(channel, failure);
    return failure.exit_code;
  }
  channel.write(service->introduce());
  Message asked;
  while (channel.read(asked)) {
    try {
      if (asked.line.at("do") == "quit") break;
      service->answer(asked, channel);
    } catch (const std::exception& error) {
      refuse(channel, failure_of(error));
    }
  }
  return 0;
}

}  // namespace segdino_bench
