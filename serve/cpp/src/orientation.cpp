#include "orientation.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "alexnet_fast/image.hpp"

namespace alexnet_fast {
namespace {

// CIPA DC-008 (EXIF 2.32): the tag, and the types in which it occurs.
constexpr unsigned kOrientationTag = 0x0112;
enum TiffType : unsigned {
  kByte = 1,
  kShort = 3,
  kLong = 4,
  kSignedByte = 6,
  kSignedShort = 8,
  kSignedLong = 9,
  kDirectory = 13
};
constexpr std::size_t kEntrySize = 12;
constexpr std::string_view kExifHeader("Exif\0\0", 6);
constexpr std::string_view kXmpHeader("http://ns.adobe.com/xap/1.0/\0", 29);
constexpr std::string_view kXmpName("tiff:Orientation");

// Numbers in a TIFF block of either byte order; reading past its end gives 0.
class Tiff {
 public:
  Tiff(const std::uint8_t* data, std::size_t size)
      : data_(data), size_(size), little_(size > 0 && data[0] == 'I') {}

  std::size_t size() const { return size_; }

  std::uint32_t read(std::size_t at, std::size_t bytes) const {
    if (at > size_ || size_ - at < bytes) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) {
      value = value << 8 | data_[at + (little_ ? bytes - 1 - i : i)];
    }
    return value;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  bool little_;
};

std::uint32_t single_value(const Tiff& tiff, std::size_t entry) {
  if (tiff.read(entry + 4, 4) != 1) return 0;
  switch (tiff.read(entry + 2, 2)) {
    case kByte:
    case kSignedByte:
      return tiff.read(entry + 8, 1);
    case kShort:
    case kSignedShort:
      return tiff.read(entry + 8, 2);
    case kLong:
    case kSignedLong:
    case kDirectory:
      return tiff.read(entry + 8, 4);
    default:
      return 0;
  }
}

bool starts_with(const std::uint8_t* payload, std::size_t size, std::string_view header) {
  return size >= header.size() && std::memcmp(payload, header.data(), header.size()) == 0;
}

std::size_t behind_spaces(const std::string& text, std::size_t at) {
  const auto found = text.find_first_not_of(" \t\n\r\f\v", at);
  return found == std::string::npos ? text.size() : found;
}

// The index of pixel (x, y) of the upright image in a stored image of `width` x `height`.
std::pair<int, int> source_of(int x, int y, int width, int height, int orientation) {
  switch (orientation) {
    case 2:
      return {width - 1 - x, y};
    case 3:
      return {width - 1 - x, height - 1 - y};
    case 4:
      return {x, height - 1 - y};
    case 5:
      return {y, x};
    case 6:
      return {y, height - 1 - x};
    case 7:
      return {width - 1 - y, height - 1 - x};
    default:
      return {width - 1 - y, x};
  }
}

}  // namespace

bool is_exif(const std::uint8_t* payload, std::size_t size) {
  return starts_with(payload, size, kExifHeader);
}

bool is_xmp(const std::uint8_t* payload, std::size_t size) {
  return starts_with(payload, size, kXmpHeader);
}

int exif_orientation(const std::uint8_t* payload, std::size_t size) {
  if (!starts_with(payload, size, kExifHeader)) return 0;
  const Tiff tiff(payload + kExifHeader.size(), size - kExifHeader.size());
  if (tiff.read(0, 2) != (tiff.read(0, 1) == 'I' ? 0x4949u : 0x4D4Du) || tiff.read(2, 2) != 42) return 0;
  const std::size_t directory = tiff.read(4, 4);
  const std::size_t entries = tiff.read(directory, 2);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * kEntrySize;
    if (entry + kEntrySize > tiff.size()) break;
    if (tiff.read(entry, 2) != kOrientationTag) continue;
    // The first of two such entries counts, as in Pillow.
    const auto found = single_value(tiff, entry);
    return found <= 8 ? static_cast<int>(found) : 0;
  }
  return 0;
}

int xmp_orientation(const std::uint8_t* payload, std::size_t size) {
  if (!starts_with(payload, size, kXmpHeader)) return 0;
  // Without the zeros, UTF-16 reads like ASCII.
  std::string text(reinterpret_cast<const char*>(payload) + kXmpHeader.size(), size - kXmpHeader.size());
  text.erase(std::remove(text.begin(), text.end(), '\0'), text.end());
  // The first attribute or element counts. The pattern is that of pipelines/orientation.py.
  for (auto at = text.find(kXmpName); at != std::string::npos; at = text.find(kXmpName, at + 1)) {
    auto value = behind_spaces(text, at + kXmpName.size());
    if (value < text.size() && text[value] == '=') {
      value = behind_spaces(text, value + 1);
      if (value >= text.size() || (text[value] != '"' && text[value] != '\'')) continue;
    } else if (value >= text.size() || text[value] != '>') {
      continue;
    }
    value = behind_spaces(text, value + 1);
    if (value >= text.size() || text[value] < '0' || text[value] > '9') continue;
    const int found = text[value] - '0';
    return found <= 8 ? found : 0;
  }
  return 0;
}

Image upright(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  Image turned;
  turned.width = orientation < 5 ? image.width : image.height;
  turned.height = orientation < 5 ? image.height : image.width;
  turned.pixels.resize(image.pixels.size());
  auto* to = turned.pixels.data();
  for (int y = 0; y < turned.height; ++y) {
    for (int x = 0; x < turned.width; ++x, to += 3) {
      const auto [from_x, from_y] = source_of(x, y, image.width, image.height, orientation);
      const auto at = 3 * (static_cast<std::size_t>(from_y) * static_cast<std::size_t>(image.width) +
                           static_cast<std::size_t>(from_x));
      std::copy_n(image.pixels.data() + at, 3, to);
    }
  }
  return turned;
}

}  // namespace alexnet_fast
