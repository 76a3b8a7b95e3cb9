#include <cstring>
#include <mutex>
#include <openvino/openvino.hpp>

#include "backends.hpp"

namespace alexnet_fast {
namespace {

// alexnet_fast/runtime/metadata.py.
constexpr char kOutput[] = "probabilities";

// OpenVINO's messages have many lines, the first of which name its source files.
std::string reason(const std::exception& error) {
  std::string last;
  for (const char* at = error.what(); *at != '\0';) {
    const char* end = std::strchr(at, '\n');
    const std::string line = end != nullptr ? std::string(at, end) : std::string(at);
    if (line.find_first_not_of(" \t") != std::string::npos) last = line;
    if (end == nullptr) break;
    at = end + 1;
  }
  return last;
}

class OpenVinoEngine final : public Engine {
 public:
  OpenVinoEngine(const std::string& path, const std::vector<std::uint8_t>& bytes, Model described,
                 int threads)
      : Engine(std::move(described)), path_(path) {
    // Otherwise OpenVINO computes in bfloat16 if the processor can, and the answers differ in the third
    // digit.
    ov::AnyMap config{ov::hint::inference_precision(ov::element::f32),
                      ov::hint::execution_mode(ov::hint::ExecutionMode::ACCURACY)};
    if (threads > 0) config.insert(ov::inference_num_threads(threads));
    try {
      const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      compiled_ = core_.compile_model(core_.read_model(text, ov::Tensor()), "CPU", config);
    } catch (const std::exception& error) {
      throw Error("OpenVINO cannot load " + path_ + " (" + reason(error) + ")");
    }
    check_signature();
  }

  std::string backend() const override {
    return std::string("OpenVINO CPU ") + ov::get_openvino_version().buildNumber;
  }

 private:
  void check_signature() const {
    const ov::Dimension side(model().side);
    const ov::Dimension classes(static_cast<ov::Dimension::value_type>(model().classes.size()));
    const auto any = ov::Dimension::dynamic();
    // Logits and other outputs may follow the probabilities.
    const bool right = compiled_.inputs().size() == 1 && !compiled_.outputs().empty() &&
                       compiled_.output(0).get_names().count(kOutput) == 1 &&
                       compiled_.input().get_element_type() == ov::element::u8 &&
                       compiled_.output(0).get_element_type() == ov::element::f32 &&
                       compiled_.input().get_partial_shape() == ov::PartialShape({any, side, side, 3}) &&
                       compiled_.output(0).get_partial_shape() == ov::PartialShape({any, classes});
    if (!right) {
      throw Error("the inputs and outputs of " + path_ + " do not match its metadata",
                  "give a file that `alexnet-fast export` wrote");
    }
  }

  void run(const std::uint8_t* images_nhwc, std::size_t count, float* probabilities_nk) override {
    try {
      const auto side = static_cast<std::size_t>(model().side);
      auto request = take_request();
      // The tensor refers to the caller's memory, which OpenVINO reads and never writes.
      request.set_input_tensor(
          ov::Tensor(ov::element::u8, {count, side, side, 3}, const_cast<std::uint8_t*>(images_nhwc)));
      request.set_output_tensor(
          0, ov::Tensor(ov::element::f32, {count, model().classes.size()}, probabilities_nk));
      request.infer();
      give_back(std::move(request));
    } catch (const std::exception& error) {
      throw Error("OpenVINO cannot run " + path_ + " (" + reason(error) + ")");
    }
  }

  ov::InferRequest take_request() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.empty()) return compiled_.create_infer_request();
    auto request = std::move(idle_.back());
    idle_.pop_back();
    return request;
  }

  void give_back(ov::InferRequest request) {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(request));
  }

  std::string path_;
  ov::Core core_;
  ov::CompiledModel compiled_;
  std::mutex mutex_;
  std::vector<ov::InferRequest> idle_;  // one per thread that ever called at the same time
};

}  // namespace

std::unique_ptr<Engine> open_openvino(const std::string& path, const std::vector<std::uint8_t>& bytes,
                                      Model model, int threads) {
  return std::make_unique<OpenVinoEngine>(path, bytes, std::move(model), threads);
}

}  // namespace alexnet_fast
