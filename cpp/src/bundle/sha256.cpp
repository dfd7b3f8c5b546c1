#include "bundle/sha256.hpp"

#include <openssl/evp.h>

#include <array>
#include <fstream>
#include <memory>
#include <vector>

#include "segdino/segdino.hpp"

namespace segdino::detail {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;  // bytes

void require(int openssl_result) {
  if (openssl_result != 1) throw MissingComponent("OpenSSL's libcrypto does not compute sha256; install another build");
}

std::string hexadecimal(const unsigned char* bytes, std::size_t count) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

}  // namespace

std::string sha256_of(const std::filesystem::path& file) {
  const auto unreadable = [&] { return InputError(file.string() + ": cannot be read; check its permissions"); };
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw unreadable();
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  if (!digest) throw std::bad_alloc();
  require(EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr));
  std::vector<char> chunk(kChunk);
  do {
    stream.read(chunk.data(), static_cast<std::streamsize>(chunk.size()));
    require(EVP_DigestUpdate(digest.get(), chunk.data(), static_cast<std::size_t>(stream.gcount())));
  } while (stream);
  if (stream.bad()) throw unreadable();
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned int count = 0;
  require(EVP_DigestFinal_ex(digest.get(), bytes.data(), &count));
  return hexadecimal(bytes.data(), count);
}

}  // namespace segdino::detail
