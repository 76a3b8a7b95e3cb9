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
  std::vector<FileStamp> files;  // all files that it describes
  bool has_engine = false;       // the members below are empty without one
  FileStamp onnx;                // the file from which the engine was built, with the classes
  std::string library;           // "tensorrt" or "tensorrt_rtx"
  std::string library_version;   // the only version that may load the engine
  std::size_t min_batch = 0;
  std::size_t max_batch = 0;
};

// Reads manifest.json in the folder of `model`. Throws Error if it is missing, not JSON, of another kind or
// version, or lacks a key.
Manifest read_manifest(const std::string& model);

// Compares the bytes of `path` with the manifest. Throws Error if the manifest does not list a file of that
// name, or if size or hash differ.
void verify(const Manifest& manifest, const std::string& path, const std::vector<std::uint8_t>& bytes);

}  // namespace alexnet_fast
