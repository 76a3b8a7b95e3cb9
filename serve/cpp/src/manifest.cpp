#include "manifest.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "alexnet_fast/error.hpp"
#include "file_bytes.hpp"

namespace alexnet_fast {
namespace {

constexpr char kFormat[] = "alexnet-fast engine manifest";
constexpr char kOnnxFormat[] = "alexnet-fast ONNX manifest";
constexpr int kFormatVersion = 2;
constexpr char kExportAgain[] = "export it again with `alexnet-fast export`";

using nlohmann::json;

FileStamp parse_stamp(const json& plain) {
  return {plain.at("file").get<std::string>(), plain.at("bytes").get<std::uint64_t>(),
          plain.at("sha256").get<std::string>()};
}

json parse_json(const std::string& path) {
  json plain = json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (plain.is_discarded()) throw Error(path + " is not JSON", kExportAgain);
  const auto format = plain.is_object() ? plain.value("format", json()) : json();
  if (format != kFormat && format != kOnnxFormat) {
    throw Error(path + " is not the manifest of an export", kExportAgain);
  }
  if (plain.value("format_version", json()) != kFormatVersion) {
    throw Error(path + " does not have the format version " + std::to_string(kFormatVersion) +
                    ", which this build reads",
                kExportAgain);
  }
  return plain;
}

Manifest parse(const std::string& path, const json& plain) {
  Manifest manifest;
  manifest.path = path;
  manifest.onnx = parse_stamp(plain.at("onnx"));
  manifest.files.push_back(manifest.onnx);
  // The first manifests had no further files.
  for (const auto& file : plain.value("files", json::array())) manifest.files.push_back(parse_stamp(file));
  manifest.has_engine = plain.at("format") == kFormat;
  if (!manifest.has_engine) return manifest;
  manifest.files.push_back(parse_stamp(plain.at("engine")));
  plain.at("library").get_to(manifest.library);
  plain.at("library_version").get_to(manifest.library_version);
  plain.at("batch").at("min").get_to(manifest.min_batch);
  plain.at("batch").at("max").get_to(manifest.max_batch);
  return manifest;
}

}  // namespace

Manifest read_manifest(const std::string& model) {
  const auto path = (std::filesystem::path(model).parent_path() / "manifest.json").string();
  if (!std::filesystem::exists(path)) throw Error(model + " has no manifest " + path, kExportAgain);
  const json plain = parse_json(path);
  try {
    return parse(path, plain);
  } catch (const json::exception& error) {
    throw Error(path + " is not a complete manifest (" + error.what() + ")", kExportAgain);
  }
}

void verify(const Manifest& manifest, const std::string& path, const std::vector<std::uint8_t>& bytes) {
  const auto name = std::filesystem::path(path).filename().string();
  for (const auto& stamp : manifest.files) {
    if (stamp.file != name) continue;
    if (stamp.bytes != bytes.size()) {
      throw Error(path + " has " + std::to_string(bytes.size()) + " bytes, its manifest says " +
                      std::to_string(stamp.bytes),
                  kExportAgain);
    }
    const auto digest = sha256(bytes);
    if (digest != stamp.sha256) {
      throw Error(path + " has the SHA-256 " + digest.substr(0, 12) + "..., its manifest says " +
                      stamp.sha256.substr(0, 12) + "...",
                  kExportAgain);
    }
    return;
  }
  throw Error(manifest.path + " does not list " + name, kExportAgain);
}

}  // namespace alexnet_fast
