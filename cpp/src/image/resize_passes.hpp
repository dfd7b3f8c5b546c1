/// The two passes that an image is resized in: rows to their new width, columns to their new height, 8 bits between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "bundle/manifest.hpp"
#include "image/view.hpp"

namespace segdino::detail {

/// Bytes that nobody has set yet, at an address that vectors like.
class Bytes {
 public:
  explicit Bytes(std::size_t size) : data_(static_cast<std::uint8_t*>(::operator new(size, kAlignment))) {}
  std::uint8_t* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(std::uint8_t* data) const { ::operator delete(data, kAlignment); }
  };
  std::unique_ptr<std::uint8_t, Delete> data_;
};

/// An image of our own. The rows, and their number, are filled up to multiples of kLanes.
class Pixels {
 public:
  Pixels(PixelFormat format, int width, int height);
  std::uint8_t* row(int y) const { return bytes_.data() + static_cast<std::size_t>(y) * view_.stride; }
  const CheckedView& view() const { return view_; }

 private:
  CheckedView view_;
  Bytes bytes_;
};

/// Grey stays grey; everything else becomes RGB.
Pixels resize_width(const CheckedView& view, int width, ResizeFilter filter);

/// The format stays, but for nv12, which becomes RGB.
Pixels resize_height(const CheckedView& view, int height, ResizeFilter filter);

}  // namespace segdino::detail
