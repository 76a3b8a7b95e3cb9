#include "alexnet_fast/engine.hpp"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "backends.hpp"
#include "file_bytes.hpp"
#include "onnx_metadata.hpp"

namespace alexnet_fast {
namespace {

Backend chosen_backend(const std::string& path, Backend requested) {
  if (requested != Backend::automatic) return requested;
  const auto extension = std::filesystem::path(path).extension();
  if (extension == ".onnx") return Backend::openvino;
  if (extension == ".engine") return Backend::tensorrt;
  throw Error(path + " is neither .onnx nor .engine", "give a file that `alexnet-fast export` wrote");
}

std::unique_ptr<Engine> open_onnx(const std::string& path, const OpenOptions& options) {
#ifdef ALEXNET_FAST_OPENVINO
  const auto bytes = read_file(path);
  if (options.manifest == ManifestCheck::required) verify(read_manifest(path), path, bytes);
  return open_openvino(path, bytes, read_onnx_metadata(bytes, path), options.threads);
#else
  static_cast<void>(options);
  throw Error(path + " needs OpenVINO, which this build lacks", "build with ALEXNET_FAST_OPENVINO=ON");
#endif
}

std::unique_ptr<Engine> open_plan(const std::string& path, const OpenOptions& options) {
#ifdef ALEXNET_FAST_TENSORRT
  if (options.manifest == ManifestCheck::skipped) {
    throw Error(path + " is native code and is never loaded without its manifest");
  }
  const auto bytes = read_file(path);
  const auto manifest = read_manifest(path);
  verify(manifest, path, bytes);
  if (!manifest.has_engine) throw Error(manifest.path + " describes an ONNX file, not an engine");
  // The engine does not hold its classes; the ONNX file from which it was built does.
  const auto onnx = (std::filesystem::path(path).parent_path() / manifest.onnx.file).string();
  const auto onnx_bytes = read_file(onnx);
  verify(manifest, onnx, onnx_bytes);
  return open_tensorrt(path, bytes, read_onnx_metadata(onnx_bytes, onnx), manifest);
#else
  static_cast<void>(options);
  throw Error(path + " needs TensorRT, which this build lacks", "build with ALEXNET_FAST_TENSORRT=ON");
#endif
}

}  // namespace

std::vector<float> Engine::infer(const std::uint8_t* images_nhwc, std::size_t count) {
  std::vector<float> probabilities(count * model_.classes.size());
  if (count > 0) run(images_nhwc, count, probabilities.data());
  return probabilities;
}

std::vector<float> Engine::infer(const std::vector<std::uint8_t>& images_nhwc) {
  const auto side = static_cast<std::size_t>(model_.side);
  const auto each = side * side * 3;
  if (images_nhwc.size() % each != 0) {
    throw Error(std::to_string(images_nhwc.size()) + " bytes are not a whole number of images of " +
                std::to_string(each));
  }
  return infer(images_nhwc.data(), images_nhwc.size() / each);
}

std::unique_ptr<Engine> open_engine(const std::string& path, const OpenOptions& options) {
  if (!std::filesystem::exists(path)) throw Error("there is no file " + path);
  return chosen_backend(path, options.backend) == Backend::openvino ? open_onnx(path, options)
                                                                    : open_plan(path, options);
}

std::vector<ClassScore> top_k(const std::vector<float>& probabilities,
                              const std::vector<std::string>& classes, std::size_t top) {
  if (probabilities.size() != classes.size()) {
    throw Error(std::to_string(probabilities.size()) + " probabilities for " +
                std::to_string(classes.size()) + " classes");
  }
  std::vector<std::size_t> order(classes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return probabilities[a] > probabilities[b]; });
  std::vector<ClassScore> scores;
  for (std::size_t i = 0; i < std::min(top, order.size()); ++i) {
    scores.push_back({classes[order[i]], order[i], probabilities[order[i]]});
  }
  return scores;
}

}  // namespace alexnet_fast
