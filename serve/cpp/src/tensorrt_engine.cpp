#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <vector>

#include "backends.hpp"

namespace alexnet_fast {
namespace {

// alexnet_fast/runtime/metadata.py.
constexpr char kInput[] = "images";
constexpr char kOutput[] = "probabilities";
constexpr char kBuildAgain[] = "build it again with `alexnet-fast export --trt`";

void check(cudaError_t status, const std::string& what) {
  if (status != cudaSuccess) throw Error(what + " (" + cudaGetErrorString(status) + ")");
}

// Stores TensorRT's last error for our message.
class Log final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override {
    if (severity <= Severity::kERROR) std::snprintf(last_, sizeof last_, "%s", message);
  }
  const char* last() const { return last_; }

 private:
  char last_[512] = "no reason given";
};

struct FreeDevice {
  void operator()(void* memory) const { static_cast<void>(cudaFree(memory)); }
};
using DeviceMemory = std::unique_ptr<void, FreeDevice>;

DeviceMemory allocate(std::size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes), "no " + std::to_string(bytes) + " bytes of GPU memory");
  return DeviceMemory(memory);
}

struct DestroyStream {
  void operator()(cudaStream_t stream) const { static_cast<void>(cudaStreamDestroy(stream)); }
};
using Stream = std::unique_ptr<std::remove_pointer_t<cudaStream_t>, DestroyStream>;

Stream make_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "no CUDA stream");
  return Stream(stream);
}

std::string library_version() {
  return std::to_string(getInferLibMajorVersion()) + "." + std::to_string(getInferLibMinorVersion()) + "." +
         std::to_string(getInferLibPatchVersion()) + "." + std::to_string(getInferLibBuildVersion());
}

// An engine runs only in the version that built it; TensorRT's own message would not name both versions.
void check_library(const std::string& path, const Manifest& manifest) {
  const auto version = library_version();
  if (manifest.library != ALEXNET_FAST_TENSORRT_NAME || manifest.library_version != version) {
    throw Error(path + " was built by " + manifest.library + " " + manifest.library_version +
                    ", and this is " + ALEXNET_FAST_TENSORRT_NAME + " " + version,
                kBuildAgain);
  }
}

// Some versions of TensorRT crash without a driver.
void check_gpu(const std::string& path) {
  int count = 0;
  const auto status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    throw Error(path + " needs an NVIDIA GPU (" + cudaGetErrorString(status) + ")",
                "use model.onnx on the CPU");
  }
}

nvinfer1::Dims4 dims(std::size_t count, int side) {
  return nvinfer1::Dims4(static_cast<std::int64_t>(count), side, side, 3);
}

class TensorRtEngine final : public Engine {
 public:
  TensorRtEngine(const std::string& path, const std::vector<std::uint8_t>& bytes, Model described,
                 const Manifest& manifest)
      : Engine(std::move(described)),
        path_(path),
        min_batch_(manifest.min_batch),
        max_batch_(manifest.max_batch) {
    runtime_.reset(nvinfer1::createInferRuntime(log_));
    if (runtime_) engine_.reset(runtime_->deserializeCudaEngine(bytes.data(), bytes.size()));
    if (engine_) context_.reset(engine_->createExecutionContext());
    if (!context_) throw Error("TensorRT cannot load " + path_ + " (" + log_.last() + ")", kBuildAgain);
    check_signature();
    stream_ = make_stream();
    input_ = allocate(max_batch_ * image_bytes());
    output_ = allocate(max_batch_ * row_bytes());
    check(cudaMemset(input_.get(), 0, max_batch_ * image_bytes()), "the GPU's memory cannot be set");
    set_address(kInput, input_.get());
    set_address(kOutput, output_.get());
    set_unread();
  }

  std::string backend() const override {
    return std::string(ALEXNET_FAST_TENSORRT_NAME) + " " + library_version();
  }

 private:
  std::size_t image_bytes() const {
    return static_cast<std::size_t>(model().side) * static_cast<std::size_t>(model().side) * 3;
  }
  std::size_t row_bytes() const { return model().classes.size() * sizeof(float); }

  void set_address(const char* name, void* memory) {
    if (!context_->setTensorAddress(name, memory)) {
      throw Error("TensorRT cannot use " + path_ + " (" + log_.last() + ")", kBuildAgain);
    }
  }

  // TensorRT writes every output of an engine, also those that nobody reads.
  void set_unread() {
    for (std::int32_t i = 0; i < engine_->getNbIOTensors(); ++i) {
      const char* name = engine_->getIOTensorName(i);
      if (std::strcmp(name, kInput) == 0 || std::strcmp(name, kOutput) == 0) continue;
      const auto shape = engine_->getTensorShape(name);
      std::size_t bytes = max_batch_ * sizeof(std::int64_t);
      for (std::int32_t axis = 1; axis < shape.nbDims; ++axis) {
        bytes *= static_cast<std::size_t>(shape.d[axis]);
      }
      unread_.push_back(allocate(bytes));
      set_address(name, unread_.back().get());
    }
  }

  void check_signature() const {
    const auto in = engine_->getTensorShape(kInput);
    const auto out = engine_->getTensorShape(kOutput);
    // Logits and other outputs may follow the probabilities.
    const bool right = engine_->getNbIOTensors() >= 2 && in.nbDims == 4 && in.d[1] == model().side &&
                       in.d[2] == model().side && in.d[3] == 3 && out.nbDims == 2 &&
                       out.d[1] == static_cast<std::int64_t>(model().classes.size()) &&
                       engine_->getTensorDataType(kInput) == nvinfer1::DataType::kUINT8 &&
                       engine_->getTensorDataType(kOutput) == nvinfer1::DataType::kFLOAT &&
                       max_batch_ >= std::max<std::size_t>(min_batch_, 1);
    if (!right)
      throw Error("the inputs and outputs of " + path_ + " do not match its ONNX file", kBuildAgain);
  }

  void run(const std::uint8_t* images_nhwc, std::size_t count, float* probabilities_nk) override {
    // A context is a set of activations in the GPU's memory; the GPU serves one caller at a time anyhow.
    const std::lock_guard<std::mutex> lock(mutex_);
    for (std::size_t done = 0; done < count; done += max_batch_) {
      run_batch(images_nhwc + done * image_bytes(), std::min(max_batch_, count - done),
                probabilities_nk + done * model().classes.size());
    }
  }

  void run_batch(const std::uint8_t* images, std::size_t count, float* probabilities) {
    const auto padded = std::max(count, min_batch_);
    auto* stream = stream_.get();
    check(cudaMemcpyAsync(input_.get(), images, count * image_bytes(), cudaMemcpyHostToDevice, stream),
          "images cannot be copied to the GPU");
    if (!context_->setInputShape(kInput, dims(padded, model().side)) || !context_->enqueueV3(stream)) {
      throw Error("TensorRT cannot run " + path_ + " (" + log_.last() + ")");
    }
    check(cudaMemcpyAsync(probabilities, output_.get(), count * row_bytes(), cudaMemcpyDeviceToHost, stream),
          "probabilities cannot be copied from the GPU");
    check(cudaStreamSynchronize(stream), "TensorRT cannot run " + path_);
  }

  std::string path_;
  std::size_t min_batch_;
  std::size_t max_batch_;
  std::mutex mutex_;
  // Declared in the order of their dependencies.
  Log log_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  Stream stream_;
  DeviceMemory input_;
  DeviceMemory output_;
  std::vector<DeviceMemory> unread_;
};

}  // namespace

std::unique_ptr<Engine> open_tensorrt(const std::string& path, const std::vector<std::uint8_t>& bytes,
                                      Model model, const Manifest& manifest) {
  check_library(path, manifest);
  check_gpu(path);
  return std::make_unique<TensorRtEngine>(path, bytes, std::move(model), manifest);
}

}  // namespace alexnet_fast
