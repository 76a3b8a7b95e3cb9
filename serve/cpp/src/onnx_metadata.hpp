// The metadata of an exported ONNX file (alexnet_fast/runtime/metadata.py), read without a protobuf library:
// they are one top-level field, and everything else in the file is skipped.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "alexnet_fast/engine.hpp"

namespace alexnet_fast {

// Reads classes, sizes and crops from a serialized ModelProto. Throws Error, naming `source`, if it is not an
// exported ONNX file, or damaged.
Model read_onnx_metadata(const std::vector<std::uint8_t>& bytes, const std::string& source);

}  // namespace alexnet_fast
