#include "onnx_metadata.hpp"

#include <map>
#include <nlohmann/json.hpp>
#include <optional>

namespace alexnet_fast {
namespace {

constexpr char kNotOurs[] = "give a file that `alexnet-fast export` wrote";
// onnx.proto: ModelProto.metadata_props, and StringStringEntryProto's two fields.
constexpr std::uint64_t kMetadataProps = 14;
constexpr std::uint64_t kKey = 1;
constexpr std::uint64_t kValue = 2;
// Wire types of https://protobuf.dev/programming-guides/encoding/.
enum WireType : std::uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

using nlohmann::json;
using Props = std::map<std::string, std::string>;

// One field of a message: its number and, if it holds bytes, those.
struct Field {
  std::uint64_t number = 0;
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
};

// Iterates over the fields of one message; `next` returns nothing at the end, and `damaged` returns whether
// the message is cut off.
class Fields {
 public:
  Fields(const std::uint8_t* begin, std::size_t size) : at_(begin), end_(begin + size) {}

  std::optional<Field> next() {
    std::uint64_t tag = 0;
    if (at_ == end_ || !varint(tag)) return std::nullopt;
    Field field;
    field.number = tag >> 3;
    std::uint64_t size = 0;
    switch (tag & 7) {
      case kVarint:
        return varint(size) ? std::optional(field) : std::nullopt;
      case kFixed64:
        return take(8, field);
      case kFixed32:
        return take(4, field);
      case kBytes:
        return varint(size) ? take(size, field) : std::nullopt;
      default:
        damaged_ = true;
        return std::nullopt;
    }
  }

  bool damaged() const { return damaged_; }

 private:
  bool varint(std::uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64 && at_ != end_; shift += 7) {
      const std::uint8_t byte = *at_++;
      value |= static_cast<std::uint64_t>(byte & 127) << shift;
      if (byte < 128) return true;
    }
    damaged_ = true;
    return false;
  }

  std::optional<Field> take(std::uint64_t size, Field field) {
    if (size > static_cast<std::uint64_t>(end_ - at_)) {
      damaged_ = true;
      return std::nullopt;
    }
    field.data = at_;
    field.size = static_cast<std::size_t>(size);
    at_ += size;
    return field;
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  bool damaged_ = false;
};

void add_prop(Props& props, const Field& entry) {
  std::string key;
  std::string value;
  Fields fields(entry.data, entry.size);
  while (const auto field = fields.next()) {
    if (field->data == nullptr) continue;
    std::string text(reinterpret_cast<const char*>(field->data), field->size);
    if (field->number == kKey) key = std::move(text);
    if (field->number == kValue) value = std::move(text);
  }
  props[key] = value;
}

Props read_props(const std::vector<std::uint8_t>& bytes, const std::string& source) {
  Props props;
  Fields fields(bytes.data(), bytes.size());
  bool any = false;
  while (const auto field = fields.next()) {
    any = true;
    if (field->number == kMetadataProps && field->data != nullptr) add_prop(props, *field);
  }
  if (fields.damaged() || !any) throw Error(source + " is not an ONNX file, or is cut off", kNotOurs);
  return props;
}

const std::string& prop(const Props& props, const std::string& name, const std::string& source) {
  const auto entry = props.find("alexnet_fast." + name);
  if (entry == props.end()) {
    throw Error(source + " is an ONNX file without the metadata alexnet_fast." + name, kNotOurs);
  }
  return entry->second;
}

}  // namespace

Model read_onnx_metadata(const std::vector<std::uint8_t>& bytes, const std::string& source) {
  const Props props = read_props(bytes, source);
  Model model;
  model.name = prop(props, "model", source);
  model.crops = prop(props, "crops", source);
  const auto& classes = prop(props, "classes", source);
  const auto& preprocessing = prop(props, "preprocessing", source);
  try {
    json::parse(classes).get_to(model.classes);
    json::parse(preprocessing).at("resize").get_to(model.side);
  } catch (const json::exception& error) {
    throw Error("the metadata of " + source + " is damaged (" + error.what() + ")", kNotOurs);
  }
  const bool known = model.crops == "single" || model.crops == "five" || model.crops == "ten";
  if (model.classes.empty() || model.side < 1 || !known) {
    throw Error("the metadata of " + source + " is damaged", kNotOurs);
  }
  return model;
}

}  // namespace alexnet_fast
