/// The engine as a contestant of a benchmark that another program runs: it sends images and gets masks and times. The
/// times are taken here, so that the pipe between the two is no part of them.
///
/// One JSON object per line on stdin and on stdout. Where a line has "bytes": B, exactly B bytes follow it. Images are
/// uint8 [N][H][W][3], RGB, of the model's size. What is first said, without being asked, is a greeting:
///
///   {"program": "segdino_bench", "protocol": 1, "version": "0.1.0", "backends": ["openvino"],
///    "library": "/opt/lib/libsegdino.so.0.1", "image_files": "stb"}
///
/// then, when the engine is open, what it is, or why it is not:
///
///   {"engine": ..., "backend": ..., "precision": ..., "device": ...}
///   {"error": one line, "kind": "MissingComponent"}
///
/// asked, and behind it the answer:
///
///   {"do": "run", "batch": N, "bytes": B}
///     {"arrays": [{"name": "mask", "type": "uint8", "shape": [N, H, W]}, ...]}
///   {"do": "file", "path": P}
///     masks of the file's size in the same way, [H, W], and "times" of the four stages
///   {"do": "load", "batch": N, "bytes": B, "files": [P, ...]}
///     {}: the batches and files of the turns
///   {"do": "turn", "round": R}
///     {"engine_only_ms": ..., "with_copies_ms": ..., "file": {"decode_ms": ...} or null}
///   {"do": "again"}
///     {}: the first loaded batch was run once more
///   {"do": "throughput", "batch": N, "bytes": B, "callers": K, "seconds": S}
///     {"calls": [[[began, ended], ...], ...]}
///   {"do": "quit"}
///     nothing: the process ends, as it does where stdin ends
///
/// What cannot be done is answered with "error" and "kind" (see failures.hpp), and the next line is read.
#pragma once

#include <nlohmann/json.hpp>

#include "options.hpp"

namespace segdino_bench {

/// What `--serve` begins with, and `--version` prints.
nlohmann::ordered_json greeting();

/// Exit code: 0 when it was told to end, that of the error where the engine cannot be opened.
int serve(const BenchOptions& options);

}  // namespace segdino_bench
