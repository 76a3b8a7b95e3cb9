#include "file_bytes.hpp"

#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "alexnet_fast/error.hpp"

namespace alexnet_fast {

std::vector<std::uint8_t> read_file(const std::string& path) {
  std::error_code failure;
  const auto status = std::filesystem::status(path, failure);
  if (status.type() == std::filesystem::file_type::not_found) throw Error("there is no file " + path);
  if (failure) throw Error(path + " cannot be read (" + failure.message() + ")");
  // A pipe or a device has no size, and may never end.
  if (!std::filesystem::is_regular_file(status)) throw Error(path + " is not a file");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  const auto size = std::filesystem::file_size(path, failure);
  if (!file || failure) throw Error(path + " cannot be read (" + std::strerror(errno) + ")");
  std::vector<std::uint8_t> bytes(size);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (static_cast<std::uintmax_t>(file.gcount()) != size)
    throw Error(path + " ended early while it was read");
  return bytes;
}

std::string sha256(const std::vector<std::uint8_t>& bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr) != 1) {
    throw Error("OpenSSL cannot compute a SHA-256");
  }
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < length; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

}  // namespace alexnet_fast
