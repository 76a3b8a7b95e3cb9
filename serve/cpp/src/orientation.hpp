// The orientation of a JPEG file.
#pragma once

#include <cstddef>
#include <cstdint>

namespace alexnet_fast {

struct Image;

// Return whether the payload of an APP1 segment is EXIF's or XMP's.
bool is_exif(const std::uint8_t* payload, std::size_t size);
bool is_xmp(const std::uint8_t* payload, std::size_t size);

// Reads the orientation, 1 to 8, from the payload of an APP1 segment: EXIF (tag 0x0112) or XMP
// (tiff:Orientation). Returns 0 if it holds none, or is damaged.
int exif_orientation(const std::uint8_t* payload, std::size_t size);
int xmp_orientation(const std::uint8_t* payload, std::size_t size);

// Rotates and mirrors an image of this orientation so that it is upright.
Image upright(Image image, int orientation);

}  // namespace alexnet_fast
