#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace alexnet_fast {

// Reads a whole file. Throws Error, naming it, if it is missing, a folder or unreadable.
std::vector<std::uint8_t> read_file(const std::string& path);

// Returns the SHA-256 of bytes in lower-case hexadecimal.
std::string sha256(const std::vector<std::uint8_t>& bytes);

}  // namespace alexnet_fast
