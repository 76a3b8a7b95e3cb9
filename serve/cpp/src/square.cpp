// Pillow's antialiased bilinear resize, in its fixed-point arithmetic: the weights are doubles rounded to 22
// bits, and each of the two passes rounds to 8 bits. So the pixels are the same bit for bit.
#include <algorithm>
#include <cmath>
#include <utility>

#include "alexnet_fast/error.hpp"
#include "alexnet_fast/image.hpp"

namespace alexnet_fast {
namespace {

// 32 bits minus 8 for the pixel and 2 for sums that overshoot.
constexpr int kPrecision = 22;

// The input pixels of one output pixel, which is their weighted sum along one axis.
struct Taps {
  std::vector<std::size_t> places;
  std::vector<std::int32_t> weights;
};

// The weights of the output pixels `start` to `start + count` of an axis resized from `length` to `resized`.
// The border pixel is repeated beyond the border, as in DALI.
std::vector<Taps> triangle_taps(int length, int resized, int reach, int start, int count) {
  const double scale = static_cast<double>(length) / resized;
  const double support = std::max(scale, 1.0);
  std::vector<Taps> axis(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    // Coordinates are those of the padded image, so that doubles round as in Python.
    const double centre = reach + (start + i + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int last = std::min(static_cast<int>(centre + support + 0.5), length + 2 * reach);
    std::vector<double> weights;
    double sum = 0;
    for (int x = 0; x < last - first; ++x) {
      const double distance = std::abs((x + first - centre + 0.5) * (1.0 / support));
      weights.push_back(distance < 1.0 ? 1.0 - distance : 0.0);
      sum += weights.back();
    }
    auto& taps = axis[static_cast<std::size_t>(i)];
    for (int x = 0; x < last - first; ++x) {
      taps.places.push_back(static_cast<std::size_t>(std::clamp(x + first - reach, 0, length - 1)));
      const double weight = weights[static_cast<std::size_t>(x)] / sum;
      taps.weights.push_back(static_cast<std::int32_t>(0.5 + weight * (1 << kPrecision)));
    }
  }
  return axis;
}

// The weighted sums of three neighbouring channels at `from`, `step` bytes from tap to tap.
void sum_pixel(const Taps& taps, const std::uint8_t* from, std::size_t step, std::uint8_t* to) {
  std::int32_t sums[3] = {1 << (kPrecision - 1), 1 << (kPrecision - 1), 1 << (kPrecision - 1)};
  for (std::size_t i = 0; i < taps.places.size(); ++i) {
    const std::uint8_t* pixel = from + taps.places[i] * step;
    for (int channel = 0; channel < 3; ++channel) sums[channel] += pixel[channel] * taps.weights[i];
  }
  for (int channel = 0; channel < 3; ++channel) {
    to[channel] = static_cast<std::uint8_t>(std::clamp(sums[channel] >> kPrecision, 0, 255));
  }
}

// Copies a part of an image.
Image cut(const Image& image, std::size_t left, std::size_t top, std::size_t width, std::size_t height) {
  Image part{static_cast<int>(width), static_cast<int>(height), {}};
  part.pixels.reserve(width * height * 3);
  for (std::size_t y = top; y < top + height; ++y) {
    const auto* row = image.pixels.data() + 3 * (y * static_cast<std::size_t>(image.width) + left);
    part.pixels.insert(part.pixels.end(), row, row + 3 * width);
  }
  return part;
}

// (width, height) after resizing the shorter side; as pipelines/geometry.py, the longer side is rounded half
// away from zero.
std::pair<int, int> resized(int width, int height, int shorter) {
  const double ratio = static_cast<double>(shorter) / std::min(width, height);
  const int longer = std::max(1, static_cast<int>(std::floor(std::max(width, height) * ratio + 0.5)));
  return width >= height ? std::pair(longer, shorter) : std::pair(shorter, longer);
}

void check(const Image& image, int side) {
  const auto pixels = static_cast<std::size_t>(std::max(image.width, 0)) *
                      static_cast<std::size_t>(std::max(image.height, 0));
  if (pixels == 0 || side < 1 || image.pixels.size() != 3 * pixels) {
    throw Error("an image of " + std::to_string(image.width) + " x " + std::to_string(image.height) +
                " pixels with " + std::to_string(image.pixels.size()) + " bytes cannot be resized to " +
                std::to_string(side));
  }
}

// Sums along the rows.
Image resize_rows(const Image& image, const std::vector<Taps>& columns) {
  Image narrow{static_cast<int>(columns.size()), image.height, {}};
  const auto stride = static_cast<std::size_t>(image.width) * 3;
  narrow.pixels.resize(static_cast<std::size_t>(image.height) * columns.size() * 3);
  auto* to = narrow.pixels.data();
  for (const auto* row = image.pixels.data(); row != image.pixels.data() + image.pixels.size();
       row += stride) {
    for (const auto& taps : columns) {
      sum_pixel(taps, row, 3, to);
      to += 3;
    }
  }
  return narrow;
}

// Sums along the columns.
Image resize_columns(const Image& image, const std::vector<Taps>& rows) {
  Image low{image.width, static_cast<int>(rows.size()), {}};
  const auto stride = static_cast<std::size_t>(image.width) * 3;
  low.pixels.resize(stride * rows.size());
  auto* to = low.pixels.data();
  for (const auto& taps : rows) {
    for (std::size_t at = 0; at < stride; at += 3, to += 3)
      sum_pixel(taps, image.pixels.data() + at, stride, to);
  }
  return low;
}

// Shifts taps so that their first position is 0; returns that position, and the number of positions.
std::pair<std::size_t, std::size_t> move_to_start(std::vector<Taps>& axis) {
  const auto first = axis.front().places.front();
  const auto last = axis.back().places.back();
  for (auto& taps : axis) {
    for (auto& place : taps.places) place -= first;
  }
  return {first, last - first + 1};
}

}  // namespace

std::vector<std::uint8_t> centre_square(const Image& image, int side) {
  check(image, side);
  const auto [wide, tall] = resized(image.width, image.height, side);
  const int left = (wide - side) / 2;
  const int top = (tall - side) / 2;
  const auto length = static_cast<std::size_t>(side);
  if (wide == image.width && tall == image.height) {
    return cut(image, static_cast<std::size_t>(left), static_cast<std::size_t>(top), length, length).pixels;
  }
  const double scale =
      std::max({static_cast<double>(image.width) / wide, static_cast<double>(image.height) / tall, 1.0});
  const int reach = static_cast<int>(std::ceil(scale));
  auto columns = triangle_taps(image.width, wide, reach, left, side);
  auto rows = triangle_taps(image.height, tall, reach, top, side);
  const auto [first_column, column_count] = move_to_start(columns);
  const auto [first_row, row_count] = move_to_start(rows);
  const auto part = cut(image, first_column, first_row, column_count, row_count);
  // From version 13 on Pillow begins with the columns if the height shrinks most, counted with the padding.
  // The order changes the rounding, by one level at most.
  const int fewer_rows = image.height + 2 * reach - tall;
  const int fewer_columns = image.width + 2 * reach - wide;
  if (fewer_rows > 0 && fewer_rows > 2 * fewer_columns)
    return resize_rows(resize_columns(part, rows), columns).pixels;
  return resize_columns(resize_rows(part, columns), rows).pixels;
}

}  // namespace alexnet_fast
