/// Small pieces of error messages.
#pragma once

#include <cstddef>
#include <exception>
#include <string>
#include <vector>

namespace segdino::detail {

/// The first line that says what, not where in a library's source, of a foreign error's text, at most 300 bytes.
std::string one_line(const std::exception& error);
std::string one_line(const std::string& text);

/// "a, b, c"; "none" where there is nothing.
std::string joined(const std::vector<std::string>& words);

/// A name from a file, for a message: at most 80 bytes, and everything but printable ASCII replaced, for nobody knows
/// in which encoding a damaged one is.
std::string printable(const std::string& name);

/// "image", or "image 2" of several, counted from 0 as their results are.
std::string image_name(std::size_t index, std::size_t count);

/// `text` as one word of a shell's command line, as Python's shlex.quote.
std::string shell_quoted(const std::string& text);

}  // namespace segdino::detail
