// An exported network, ready to classify.
//
//     auto engine = alexnet_fast::open_engine("model.onnx");
//     auto square = alexnet_fast::centre_square(alexnet_fast::read_jpeg("photo.jpg"), engine->model().side);
//     for (const auto& score : alexnet_fast::top_k(engine->infer(square), engine->model().classes, 5))
//       std::printf("%7.2f %%  %s\n", 100 * score.probability, score.label.c_str());
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "alexnet_fast/error.hpp"
#include "alexnet_fast/image.hpp"

namespace alexnet_fast {

// The metadata of an exported file.
struct Model {
  std::vector<std::string> classes;  // names of the outputs, in order
  int side = 0;                      // images are side x side pixels
  std::string crops;                 // "single", "five" or "ten": the crops whose probabilities are averaged
  std::string name;                  // name of the architecture
};

enum class Backend { automatic, openvino, tensorrt };
enum class ManifestCheck { required, skipped };

struct OpenOptions {
  // automatic: TensorRT for a file called *.engine, OpenVINO for *.onnx.
  Backend backend = Backend::automatic;
  // Threads for one call on the CPU; 0 for one per core.
  int threads = 0;
  // Size and SHA-256 are compared with `manifest.json` beside the file before a byte of it is parsed. Only an
  // ONNX file may be loaded unchecked: an engine is native code.
  ManifestCheck manifest = ManifestCheck::required;
};

// A loaded network. `infer` may be called from several threads at once.
class Engine {
 public:
  virtual ~Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const Model& model() const { return model_; }
  // What runs the network, such as "OpenVINO CPU 2026.4.1".
  virtual std::string backend() const = 0;

  // Classifies `count` images: uint8 (count, side, side, 3), RGB. Returns float (count, classes), rows
  // summing to 1. Throws Error if the back end fails.
  std::vector<float> infer(const std::uint8_t* images_nhwc, std::size_t count);

  // The same for as many images as the bytes hold. Throws Error if they are not a whole number of images.
  std::vector<float> infer(const std::vector<std::uint8_t>& images_nhwc);

 protected:
  explicit Engine(Model model) : model_(std::move(model)) {}

 private:
  virtual void run(const std::uint8_t* images_nhwc, std::size_t count, float* probabilities_nk) = 0;

  Model model_;
};

// Loads a file that `alexnet-fast export` wrote. Throws Error if it is missing, does not match its manifest,
// is damaged, or if this build lacks the back end.
std::unique_ptr<Engine> open_engine(const std::string& path, const OpenOptions& options = {});

// A class and its probability.
struct ClassScore {
  std::string label;
  std::size_t index;  // position in the output of the network
  float probability;
};

// The `top` most probable classes of one row of probabilities; equal ones in the order of their index.
// Throws Error if there are not as many probabilities as classes.
std::vector<ClassScore> top_k(const std::vector<float>& probabilities,
                              const std::vector<std::string>& classes, std::size_t top);

}  // namespace alexnet_fast
