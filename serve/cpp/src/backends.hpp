// The back ends that this build may have; each loads bytes that are verified already.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "alexnet_fast/engine.hpp"
#include "manifest.hpp"

namespace alexnet_fast {

// `bytes` is the ONNX file that was read from `path`.
std::unique_ptr<Engine> open_openvino(const std::string& path, const std::vector<std::uint8_t>& bytes,
                                      Model model, int threads);

// `bytes` is the engine that was read from `path`.
std::unique_ptr<Engine> open_tensorrt(const std::string& path, const std::vector<std::uint8_t>& bytes,
                                      Model model, const Manifest& manifest);

}  // namespace alexnet_fast
