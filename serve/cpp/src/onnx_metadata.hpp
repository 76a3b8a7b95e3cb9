// What an ONNX file of ours says about itself (alexnet_fast/runtime/metadata.py), read without a protobuf library: the
// description is one top-level field, and everything else in the file is skipped.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "alexnet_fast/engine.hpp"

namespace alexnet_fast {

// Reads classes, sizes and crops out of a serialized ModelProto. Throws Error, naming `source`, when it is no
// ONNX file, not one of ours, or damaged.
Model read_onnx_metadata(const std::vector<std::uint8_t>& bytes, const std::string& source);

}  // namespace alexnet_fast
