// The manifest that `alexnet-fast export` writes beside its files (alexnet_fast/runtime/manifest.py).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace alexnet_fast {

// A file's name (without folder), size in bytes and SHA-256 in hexadecimal.
struct FileStamp {
  std::string file;
  std::uint64_t bytes = 0;
  std::string sha256;
};

struct Manifest {
  std::string path;
  std::vector<FileStamp> files;  // all that it vouches for
  bool has_engine = false;       // what follows is empty without one
  FileStamp onnx;                // the file that the engine was built from, which names the classes
  std::string library;           // "tensorrt" or "tensorrt_rtx"
  std::string library_version;   // the only one that may load the engine
  std::size_t min_batch = 0;
  std::size_t max_batch = 0;
};

// Reads manifest.json in the folder of `model`. Throws Error when it is missing, no JSON, of another kind or
// version, or lacks a key.
Manifest read_manifest(const std::string& model);

// Compares bytes that were read from `path` with what the manifest says about a file of that name.
// Throws Error when it does not name it, or when size or hash differ.
void verify(const Manifest& manifest, const std::string& path, const std::vector<std::uint8_t>& bytes);

}  // namespace alexnet_fast
