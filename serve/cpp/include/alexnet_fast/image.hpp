// Images from JPEG files, with the pixels that the network was trained on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace alexnet_fast {

// A decoded image: `height` rows of `width` pixels of red, green and blue, without padding.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels;
};

// Images with more pixels are refused before they are decoded; the limit that the Python side has.
constexpr std::size_t kMaxPixels = 89478485;

// Decodes a JPEG file in memory (colour, grey or CMYK) and turns it upright by its EXIF or XMP orientation.
// `name` is for messages. Throws Error when it is no JPEG, cut off, damaged or too large.
Image decode_jpeg(const std::uint8_t* bytes, std::size_t size, const std::string& name);

// Reads and decodes a file. Throws Error also when it cannot be read.
Image read_jpeg(const std::string& path);

// Resizes the shorter side to `side` with an antialiased triangle filter, the border repeated beyond the
// image, and cuts the centre square: side * side * 3 bytes, what `Engine::infer` takes for one image.
// Bit for bit what the Python side makes with Pillow. Throws Error when the sizes make no sense.
std::vector<std::uint8_t> centre_square(const Image& image, int side);

}  // namespace alexnet_fast
