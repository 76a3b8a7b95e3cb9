#include <alexnet_fast/engine.hpp>
#include <cstdio>

int main(int, char** words) {
  const auto engine = alexnet_fast::open_engine(words[1]);
  const auto square = alexnet_fast::centre_square(alexnet_fast::read_jpeg(words[2]), engine->model().side);
  for (const auto& guess : alexnet_fast::likeliest(engine->infer(square), engine->model().classes, 5)) {
    std::printf("%.4f  %s\n", static_cast<double>(guess.probability), guess.label.c_str());
  }
}
