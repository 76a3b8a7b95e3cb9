// What the tests ask of the library:
//
//   probe squares SIDE FILE...
//       raw squares of JPEG files
//   probe infer MODEL FILE
//       raw probabilities of the raw images in a file
//   probe threads MODEL FILE
//       the same from four threads at once; each of them is written
//   probe prefixes FILE
//       lengths at which a file that is cut there still counts as an image
//   probe damage SEED ROUNDS FILE...
//       decodes files with random bytes changed; prints how many were accepted
//   probe leak, probe overrun
//       mistakes that the sanitizers have to see
#include <alexnet_fast/engine.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <future>
#include <iterator>
#include <memory>
#include <random>

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

template <typename T>
void write(const std::vector<T>& values) {
  std::fwrite(values.data(), sizeof(T), values.size(), stdout);
}

// Exactly the file's bytes on the heap, so that the address sanitizer sees a
// read beyond them.
bool accepted(const Bytes& bytes, int side) {
  try {
    const auto image = alexnet_fast::decode_jpeg(bytes.data(), bytes.size(), "image");
    return !alexnet_fast::centre_square(image, side).empty();
  } catch (const alexnet_fast::Error&) {
    return false;
  }
}

void squares(int side, const std::vector<std::string>& files) {
  for (const auto& file : files) write(alexnet_fast::centre_square(alexnet_fast::read_jpeg(file), side));
}

void infer(const std::string& model, const std::string& images, std::size_t threads) {
  const auto engine = alexnet_fast::open_engine(model);
  const auto bytes = read(images);
  std::vector<std::future<std::vector<float>>> answers;
  while (answers.size() < threads) {
    answers.push_back(std::async(std::launch::async, [&] { return engine->infer(bytes); }));
  }
  for (auto& answer : answers) write(answer.get());
}

void prefixes(const std::string& file) {
  const auto whole = read(file);
  for (auto length = whole.size() + 1; length-- > 0;) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    if (accepted(cut, 16)) std::printf("%zu\n", length);
  }
}

void damage(unsigned seed, int rounds, const std::vector<std::string>& files) {
  std::mt19937 random(seed);
  int count = 0;
  for (const auto& file : files) {
    const auto whole = read(file);
    for (int round = 0; round < rounds; ++round) {
      auto bytes = whole;
      for (unsigned changes = 1 + random() % 8; changes > 0; --changes) {
        // The first bytes say most: half of the changes are made there.
        const auto range = random() % 2 == 0 ? std::min<std::size_t>(bytes.size(), 700) : bytes.size();
        bytes[random() % range] = static_cast<std::uint8_t>(random());
      }
      if (random() % 4 == 0) bytes.resize(random() % bytes.size());
      bytes.shrink_to_fit();
      count += accepted(bytes, 16) ? 1 : 0;
    }
  }
  std::printf("%d\n", count);
}

// Not inlined and volatile, or the compiler leaves the mistake out.
[[gnu::noinline]] void leak() {
  [[maybe_unused]] volatile auto* lost = new Bytes(40);
}

[[gnu::noinline]] void overrun(std::size_t length) {
  const auto bytes = std::make_unique<volatile std::uint8_t[]>(length);
  bytes[length] = 1;
}

}  // namespace

int main(int count, char** words) try {
  const std::vector<std::string> arguments(words + 1, words + count);
  const std::string what = arguments.at(0);
  const auto rest = [&](std::ptrdiff_t first) {
    return std::vector<std::string>(arguments.begin() + first, arguments.end());
  };
  if (what == "squares") squares(std::stoi(arguments.at(1)), rest(2));
  if (what == "infer") infer(arguments.at(1), arguments.at(2), 1);
  if (what == "threads") infer(arguments.at(1), arguments.at(2), 4);
  if (what == "prefixes") prefixes(arguments.at(1));
  if (what == "damage") {
    damage(static_cast<unsigned>(std::stoul(arguments.at(1))), std::stoi(arguments.at(2)), rest(3));
  }
  if (what == "leak") leak();
  if (what == "overrun") overrun(40);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
