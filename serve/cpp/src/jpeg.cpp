#include <csetjmp>
#include <cstdio>
#include <memory>

// jpeglib.h needs FILE and size_t declared before it.
#include <jpeglib.h>

#include "alexnet_fast/error.hpp"
#include "alexnet_fast/image.hpp"
#include "file_bytes.hpp"
#include "orientation.hpp"

namespace alexnet_fast {
namespace {

// A progressive file may repeat its scans without end, each over the whole image; real files have about ten.
constexpr int kMaxScans = 100;

// The state of one decoding. libjpeg reports errors by a jump, which must not pass a destructor: the
// functions between `guarded` and libjpeg have none.
struct Decoder {
  jpeg_decompress_struct info;
  jpeg_error_mgr errors;
  jpeg_source_mgr source;
  jpeg_progress_mgr progress;
  std::jmp_buf jump;
  char reason[JMSG_LENGTH_MAX];
  std::uint8_t* rows;
  std::size_t row_size;
};

[[noreturn]] void fail(j_common_ptr info) {
  auto* decoder = static_cast<Decoder*>(info->client_data);
  info->err->format_message(info, decoder->reason);
  std::longjmp(decoder->jump, 1);
}

[[noreturn]] void fail_with(j_common_ptr info, const char* reason) {
  auto* decoder = static_cast<Decoder*>(info->client_data);
  std::snprintf(decoder->reason, sizeof decoder->reason, "%s", reason);
  std::longjmp(decoder->jump, 1);
}

void stay_silent(j_common_ptr) {}

boolean end_of_data(j_decompress_ptr info) {
  fail_with(reinterpret_cast<j_common_ptr>(info), "the file is cut off");
}

void skip_data(j_decompress_ptr info, long bytes) {
  if (bytes <= 0) return;
  if (static_cast<std::size_t>(bytes) > info->src->bytes_in_buffer) end_of_data(info);
  info->src->next_input_byte += bytes;
  info->src->bytes_in_buffer -= static_cast<std::size_t>(bytes);
}

void start_or_end(j_decompress_ptr) {}

void limit_scans(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) {
    fail_with(info, "it has more than 100 scans");
  }
}

// Runs a step; returns whether it succeeded, else `reason` holds libjpeg's message.
bool guarded(Decoder& decoder, void (*step)(Decoder&)) {
  if (setjmp(decoder.jump) != 0) return false;
  step(decoder);
  return true;
}

void read_header(Decoder& decoder) {
  auto* info = &decoder.info;
  jpeg_create_decompress(info);
  info->src = &decoder.source;
  info->progress = &decoder.progress;
  jpeg_save_markers(info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(info, TRUE);
  const int components = info->num_components;
  if (components != 1 && components != 3 && components != 4) {
    fail_with(reinterpret_cast<j_common_ptr>(info), "it is neither colour, grey nor CMYK");
  }
  info->out_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
}

void read_rows(Decoder& decoder) {
  auto* info = &decoder.info;
  jpeg_start_decompress(info);
  while (info->output_scanline < info->output_height) {
    JSAMPROW row = decoder.rows + info->output_scanline * decoder.row_size;
    jpeg_read_scanlines(info, &row, 1);
  }
  jpeg_finish_decompress(info);
}

void destroy(Decoder* decoder) {
  jpeg_destroy_decompress(&decoder->info);
  delete decoder;
}

using DecoderPointer = std::unique_ptr<Decoder, decltype(&destroy)>;

DecoderPointer make_decoder(const std::uint8_t* bytes, std::size_t size) {
  // All zeros: jpeg_destroy_decompress is then harmless, however far the decoding came.
  DecoderPointer decoder(new Decoder(), &destroy);
  decoder->info.err = jpeg_std_error(&decoder->errors);
  decoder->info.client_data = decoder.get();
  decoder->errors.error_exit = fail;
  decoder->errors.output_message = stay_silent;
  decoder->progress.progress_monitor = limit_scans;
  decoder->source = {bytes, size, start_or_end, end_of_data, skip_data, jpeg_resync_to_restart, start_or_end};
  return decoder;
}

// Returns the orientation of the first EXIF block, else that of the last XMP block, else 1, as Pillow does.
int orientation_of(const jpeg_decompress_struct& info) {
  int exif = 0;
  int xmp = 0;
  bool seen = false;
  for (auto* marker = info.marker_list; marker != nullptr; marker = marker->next) {
    if (!seen && is_exif(marker->data, marker->data_length)) {
      seen = true;
      exif = exif_orientation(marker->data, marker->data_length);
    }
    if (is_xmp(marker->data, marker->data_length)) xmp = xmp_orientation(marker->data, marker->data_length);
  }
  return exif != 0 ? exif : xmp != 0 ? xmp : 1;
}

// (255 - c) * (255 - k) / 255, rounded as Pillow does. Files hold all four channels inverted, as Adobe's do.
std::uint8_t ink(int inverted_colour, int left_by_black) {
  const int product = (255 - inverted_colour) * left_by_black + 128;
  return static_cast<std::uint8_t>(left_by_black - ((product + (product >> 8)) >> 8));
}

void to_rgb(const std::uint8_t* from, std::size_t pixels, int components, std::uint8_t* to) {
  for (std::size_t i = 0; i < pixels; ++i, from += components, to += 3) {
    for (int channel = 0; channel < 3; ++channel) {
      to[channel] = components == 1 ? from[0] : ink(from[channel], from[3]);
    }
  }
}

void check_size(const jpeg_decompress_struct& info, const std::string& name) {
  const auto pixels = static_cast<std::size_t>(info.image_width) * info.image_height;
  if (pixels > kMaxPixels) {
    throw Error(name + " is " + std::to_string(info.image_width) + " x " + std::to_string(info.image_height) +
                " pixels, more than the limit of " + std::to_string(kMaxPixels));
  }
}

}  // namespace

Image decode_jpeg(const std::uint8_t* bytes, std::size_t size, const std::string& name) {
  const auto decoder = make_decoder(bytes, size);
  const auto checked = [&](void (*step)(Decoder&)) {
    if (!guarded(*decoder, step)) throw Error(name + " cannot be decoded (" + decoder->reason + ")");
  };
  checked(read_header);
  check_size(decoder->info, name);
  // Read now: libjpeg forgets the markers after the last row.
  const int orientation = orientation_of(decoder->info);
  Image image;
  image.width = static_cast<int>(decoder->info.image_width);
  image.height = static_cast<int>(decoder->info.image_height);
  const int components = decoder->info.num_components;
  decoder->row_size = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(components);
  std::vector<std::uint8_t> rows(decoder->row_size * static_cast<std::size_t>(image.height));
  decoder->rows = rows.data();
  checked(read_rows);
  if (components == 3) {
    image.pixels = std::move(rows);
  } else {
    const auto pixels = rows.size() / static_cast<std::size_t>(components);
    image.pixels.resize(pixels * 3);
    to_rgb(rows.data(), pixels, components, image.pixels.data());
  }
  return upright(std::move(image), orientation);
}

Image read_jpeg(const std::string& path) {
  const auto bytes = read_file(path);
  return decode_jpeg(bytes.data(), bytes.size(), path);
}

}  // namespace alexnet_fast
