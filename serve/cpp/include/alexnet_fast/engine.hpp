// An exported network, ready to classify.
//
//     auto engine = alexnet_fast::open_engine("model.onnx");
//     auto square = alexnet_fast::centre_square(alexnet_fast::read_jpeg("photo.jpg"), engine->model().side);
//     for (const auto& guess : alexnet_fast::likeliest(engine->infer(square), engine->model().classes, 5))
//       std::printf("%7.2f %%  %s\n", 100 * guess.probability, guess.label.c_str());
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "alexnet_fast/error.hpp"
#include "alexnet_fast/image.hpp"

namespace alexnet_fast {

// What an exported file says about itself.
struct Model {
  std::vector<std::string> classes;  // names of the outputs, in order
  int side = 0;                      // images are side x side pixels
  std::string crops;                 // "single", "five" or "ten": what the probabilities are averaged over
  std::string name;                  // of the architecture
};

enum class Backend { automatic, openvino, tensorrt };
enum class ManifestCheck { required, skipped };

struct OpenOptions {
  // automatic: TensorRT for a file called *.engine, OpenVINO for *.onnx.
  Backend backend = Backend::automatic;
  // Threads for one call on the CPU; 0 for one per core.
  int threads = 0;
  // The size and SHA-256 that `manifest.json` beside the file gives are compared before a byte of it is
  // parsed. Only an ONNX file may be loaded unchecked: an engine is native code.
  ManifestCheck manifest = ManifestCheck::required;
};

// A loaded network. `infer` may be called from several threads at once.
class Engine {
 public:
  virtual ~Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const Model& model() const { return model_; }
  // What really runs it, such as "OpenVINO CPU 2026.4.1".
  virtual std::string backend() const = 0;

  // Classifies `count` images: uint8 (count, side, side, 3), RGB. Returns float (count, classes), rows
  // summing to 1. Throws Error when the back end fails.
  std::vector<float> infer(const std::uint8_t* images_nhwc, std::size_t count);

  // The same for as many images as the bytes hold. Throws Error when they are no whole number of images.
  std::vector<float> infer(const std::vector<std::uint8_t>& images_nhwc);

 protected:
  explicit Engine(Model model) : model_(std::move(model)) {}

 private:
  virtual void run(const std::uint8_t* images_nhwc, std::size_t count, float* probabilities_nk) = 0;

  Model model_;
};

// Loads a file that `alexnet-fast export` wrote. Throws Error when it is missing, does not match its
// manifest, is damaged, or when this build lacks the back end.
std::unique_ptr<Engine> open_engine(const std::string& path, const OpenOptions& options = {});

// One class and how likely it is.
struct Guess {
  std::string label;
  std::size_t index;  // place in the network's output
  float probability;
};

// The likeliest classes of one row of probabilities, at most `top`; equal ones in the order of their index.
// Throws Error when there are not as many probabilities as classes.
std::vector<Guess> likeliest(const std::vector<float>& probabilities, const std::vector<std::string>& classes,
                             std::size_t top);

}  // namespace alexnet_fast
