// classify MODEL IMAGE...: the top classes of JPEG files.
#include <getopt.h>

#include <alexnet_fast/engine.hpp>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

namespace {

using alexnet_fast::Error;

constexpr char kUsage[] =
    R"(Usage: classify [OPTIONS] MODEL IMAGE...

Print the top classes of JPEG files. MODEL is a file that `alexnet-fast export` wrote: model.onnx runs in
OpenVINO on the CPU, model.engine in TensorRT. manifest.json beside it must describe it. The exit code is 1 if
an image could not be classified (the others are), 2 for wrong usage.

Options:
  --top N          Classes to name.  [default: 5]
  --threads N      CPU threads.  [default: one per core]
  --unverified     Load an ONNX file that has no manifest.
  --json           Print one JSON object instead of a table.
  --version        Print the version.
  --help           Show this message.

Example:
  classify runs/first/model.onnx photo.jpg
)";

// Images per call: enough to keep the processor busy; ten crops of each fit any machine's memory.
constexpr std::size_t kBatch = 16;

struct Arguments {
  std::string model;
  std::vector<std::string> images;
  std::size_t top = 5;
  alexnet_fast::OpenOptions open;
  bool json = false;
};

// Wrong usage: exit code 2.
struct UsageError : Error {
  using Error::Error;
};

int positive(const char* option, const char* text) {
  char* end = nullptr;
  errno = 0;
  const long value = std::strtol(text, &end, 10);
  if (errno != 0 || *end != '\0' || value < 1 || value > INT_MAX) {
    throw UsageError(std::string("--") + option + " " + text + " is not a number from 1 on");
  }
  return static_cast<int>(value);
}

// Returns nothing if it answered --help or --version.
std::optional<Arguments> parse(int count, char** words) {
  enum Option { kTop = 256, kThreads, kUnverified, kJson, kVersion, kHelp };
  static const option kOptions[] = {{"top", required_argument, nullptr, kTop},
                                    {"threads", required_argument, nullptr, kThreads},
                                    {"unverified", no_argument, nullptr, kUnverified},
                                    {"json", no_argument, nullptr, kJson},
                                    {"version", no_argument, nullptr, kVersion},
                                    {"help", no_argument, nullptr, kHelp},
                                    {nullptr, 0, nullptr, 0}};
  Arguments found;
  for (int which = 0; (which = getopt_long(count, words, "", kOptions, nullptr)) != -1;) {
    switch (which) {
      case kTop:
        found.top = static_cast<std::size_t>(positive("top", optarg));
        break;
      case kThreads:
        found.open.threads = positive("threads", optarg);
        break;
      case kUnverified:
        found.open.manifest = alexnet_fast::ManifestCheck::skipped;
        break;
      case kJson:
        found.json = true;
        break;
      case kVersion:
        std::puts("classify " ALEXNET_FAST_VERSION);
        return std::nullopt;
      case kHelp:
        std::fputs(kUsage, stdout);
        return std::nullopt;
      default:
        // getopt_long has printed its message.
        throw UsageError("", "");
    }
  }
  if (count - optind < 2) throw UsageError("MODEL and at least one IMAGE are needed", "see classify --help");
  found.model = words[optind];
  found.images.assign(words + optind + 1, words + count);
  return found;
}

// The classes of one file, or the reason why it cannot be classified in `error`.
struct Prediction {
  std::string file;
  std::vector<alexnet_fast::ClassScore> classes;
  std::string error;
};

// Classifies a batch of files; one that cannot be decoded gets its reason, the others their classes.
std::vector<Prediction> predict(alexnet_fast::Engine& engine, const std::string* files, std::size_t count,
                                std::size_t top) {
  std::vector<Prediction> predictions;
  std::vector<std::uint8_t> squares;
  for (std::size_t i = 0; i < count; ++i) {
    predictions.push_back({files[i], {}, ""});
    try {
      const auto square = alexnet_fast::centre_square(alexnet_fast::read_jpeg(files[i]), engine.model().side);
      squares.insert(squares.end(), square.begin(), square.end());
    } catch (const Error& error) {
      predictions.back().error = error.what();
    }
  }
  const auto probabilities = engine.infer(squares);
  auto row = probabilities.begin();
  const auto classes = static_cast<std::ptrdiff_t>(engine.model().classes.size());
  for (auto& prediction : predictions) {
    if (!prediction.error.empty()) continue;
    prediction.classes = alexnet_fast::top_k({row, row + classes}, engine.model().classes, top);
    row += classes;
  }
  return predictions;
}

void print_table(const std::vector<Prediction>& predictions) {
  for (const auto& prediction : predictions) {
    if (!prediction.error.empty()) continue;
    std::printf("%s\n", prediction.file.c_str());
    for (const auto& score : prediction.classes) {
      std::printf("  %6.2f%%  %s\n", 100 * static_cast<double>(score.probability), score.label.c_str());
    }
  }
}

// The object that `alexnet-fast predict --json` prints.
void print_json(const Arguments& arguments, const alexnet_fast::Engine& engine,
                const std::vector<Prediction>& predictions) {
  using nlohmann::ordered_json;
  ordered_json files = ordered_json::array();
  for (const auto& prediction : predictions) {
    ordered_json classes = ordered_json::array();
    for (const auto& score : prediction.classes) {
      classes.push_back({{"label", score.label}, {"index", score.index}, {"probability", score.probability}});
    }
    const auto error = prediction.error.empty() ? ordered_json() : ordered_json(prediction.error);
    files.push_back({{"file", prediction.file}, {"classes", classes}, {"error", error}});
  }
  const ordered_json answer = {{"model", arguments.model},
                               {"backend", engine.backend()},
                               {"crops", engine.model().crops},
                               {"predictions", files}};
  // A file name need not be UTF-8.
  std::puts(answer.dump(-1, ' ', false, ordered_json::error_handler_t::replace).c_str());
}

int run(const Arguments& arguments) {
  const auto engine = alexnet_fast::open_engine(arguments.model, arguments.open);
  std::vector<Prediction> predictions;
  bool failed = false;
  for (std::size_t start = 0; start < arguments.images.size(); start += kBatch) {
    const auto count = std::min(kBatch, arguments.images.size() - start);
    for (auto& prediction : predict(*engine, &arguments.images[start], count, arguments.top)) {
      if (!prediction.error.empty()) std::fprintf(stderr, "classify: %s\n", prediction.error.c_str());
      failed = failed || !prediction.error.empty();
      predictions.push_back(std::move(prediction));
    }
  }
  if (arguments.json) {
    print_json(arguments, *engine, predictions);
  } else {
    print_table(predictions);
  }
  return failed ? 1 : 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    const auto arguments = parse(count, words);
    return arguments ? run(*arguments) : 0;
  } catch (const UsageError& error) {
    if (*error.what() != '\0') std::fprintf(stderr, "classify: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "classify: %s\n", error.what());
    return 1;
  }
}
