#include <alexnet_fast/engine.hpp>
#include <cstdio>
#include <exception>

int main(int count, char** words) try {
  if (count != 3) {
    std::fprintf(stderr, "usage: example MODEL.onnx PHOTO.jpg\n");
    return 2;
  }
  const auto engine = alexnet_fast::open_engine(words[1]);
  const auto square = alexnet_fast::centre_square(alexnet_fast::read_jpeg(words[2]), engine->model().side);
  for (const auto& score : alexnet_fast::top_k(engine->infer(square), engine->model().classes, 5)) {
    std::printf("%.4f  %s\n", static_cast<double>(score.probability), score.label.c_str());
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "example: %s\n", error.what());
  return 1;
}
