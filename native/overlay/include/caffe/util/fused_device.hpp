#ifndef CAFFE_FUSED_DEVICE_HPP_
#define CAFFE_FUSED_DEVICE_HPP_

#include <stdint.h>

#include <algorithm>

#include "caffe/blob.hpp"
#include "caffe/util/fused_sums.hpp"

namespace caffe {
namespace fused {

// The steps that the fused layers share on a GPU. A Device says how they run:
//   Data, MutableData, Diff, MutableDiff   a blob's values there
//   Copy        values from one place to another, unless it is the same
//   Scratch     memory that all layers share, one growing buffer for each Use
//   Zero        sets values to 0
//   Planes, Channels, Partials             run a kernel (fused_kernels.hpp)
//   Gemm        row-major C (m x n) = op(A) op(B) + beta C, op(A) being m x k
//   Convolve, ConvolveBackwardData, ConvolveBackwardFilters   3x3, pad 1
// A test has one that runs on the CPU. All maps are planes (NCHW).

enum Use { ACTIVATION, BOTTLENECK, ACTIVATED, STATISTICS, FOLDED, SUMS, COLUMNS,
    USES };

/// A 3x3 convolution: x is N x channels x H x W, y N x outputs x H x W with its
/// images `y_image` values apart.
struct Convolution {
  int num, height, width, channels, outputs;
  ptrdiff_t y_image;
};

/// Mean and variance of each channel over all images.
template <class Device, typename Dtype>
void ChannelMoments(Stack<const Dtype> x, int num, int channels, int pixels,
    Dtype* mean, Dtype* variance) {
  const int parts = num * Parts(pixels);
  Moments* partials = Device::template Scratch<Moments>(SUMS,
      static_cast<size_t>(channels) * parts);
  const PartMoments<Dtype> kernel = {x, pixels};
  Device::Partials(channels, parts, kernel, partials, parts);
  const FinishMoments<Dtype> finish = {partials, parts, mean, variance};
  Device::Channels(channels, finish);
}

/// BatchNorm, Scale, ReLU and a 1x1 convolution of one image (channels x
/// pixels) to planes (outputs x pixels). The activations are never stored
/// whole: as many pixels as fit into the device's cache are activated into
/// scratch memory, multiplied, and forgotten; backward activates them again.
template <class Device, typename Dtype>
class Product {
 public:
  Product(int pixels, int channels, int outputs)
      : pixels_(pixels), channels_(channels), outputs_(outputs) {
    const size_t part = sizeof(Dtype) * channels * kPart;
    const int64_t parts = std::max<int64_t>(1, Device::kCache / part);
    strip_ = static_cast<int>(std::min<int64_t>(pixels, parts * kPart));
  }

  /// y = W max(0, scale x + shift) + beta y
  void Forward(const Dtype* x, const Dtype* scale, const Dtype* shift,
      const Dtype* filters, Dtype beta, Dtype* y) const {
    Dtype* activation = Scratch();
    for (int begin = 0; begin < pixels_; begin += strip_) {
      const int length = std::min(strip_, pixels_ - begin);
      Activation(x + begin, length, scale, shift, activation);
      Device::Gemm(false, false, outputs_, length, channels_, filters,
          channels_, activation, length, beta, y + begin, pixels_);
    }
  }

  /// From the gradient of y: adds that of the filters unless it is NULL; gives
  /// scale d in dx, or adds it, unless dx is NULL; gives the parts' sums of d
  /// and of d (x - centre), `stride` partials for each channel.
  void Backward(const Dtype* x, const Dtype* scale, const Dtype* shift,
      const Dtype* centre, const Dtype* filters, const Dtype* dy,
      Dtype* filters_diff, bool add, Dtype* dx, Sums* partials,
      int stride) const {
    Dtype* activation = Scratch();
    for (int begin = 0; begin < pixels_; begin += strip_) {
      const int length = std::min(strip_, pixels_ - begin);
      if (filters_diff) {
        Activation(x + begin, length, scale, shift, activation);
        Device::Gemm(false, true, outputs_, channels_, length, dy + begin,
            pixels_, activation, length, Dtype(1), filters_diff, channels_);
      }
      Device::Gemm(true, false, channels_, length, outputs_, filters,
          channels_, dy + begin, pixels_, Dtype(0), activation, length);
      const PartBackward<Dtype> kernel = {scale, shift, centre,
          {x + begin, 0, pixels_}, {activation, 0, length}, add,
          {dx ? dx + begin : NULL, 0, pixels_}, length};
      Device::Partials(channels_, Parts(length), kernel,
          partials + begin / kPart, stride);
    }
  }

 private:
  Dtype* Scratch() const {
    return Device::template Scratch<Dtype>(ACTIVATION,
        static_cast<size_t>(channels_) * strip_);
  }
  void Activation(const Dtype* x, int length, const Dtype* scale,
      const Dtype* shift, Dtype* activation) const {
    const Activate<Dtype> kernel = {channels_, scale, shift, {x, 0, pixels_},
        {activation, 0, length}};
    Device::Planes(channels_, length, kernel);
  }

  const int pixels_, channels_, outputs_;
  int strip_;  // pixels at a time: an image's, or a multiple of kPart
};

/// The 3x3 convolution as a product with patches, an image at a time, where no
/// library computes it.
template <class Device, typename Dtype>
class ColumnsConvolution {
 public:
  explicit ColumnsConvolution(const Convolution& shape)
      : shape_(shape), depth_(9 * shape.channels),
        pixels_(shape.height * shape.width),
        x_image_(static_cast<ptrdiff_t>(shape.channels) * pixels_),
        columns_(Device::template Scratch<Dtype>(COLUMNS,
            static_cast<size_t>(depth_) * pixels_)) {}

  void Forward(const Dtype* x, const Dtype* filters, Dtype* y) const {
    for (int n = 0; n < shape_.num; ++n) {
      ToColumns(x + n * x_image_);
      Device::Gemm(false, false, shape_.outputs, pixels_, depth_, filters,
          depth_, columns_, pixels_, Dtype(0), y + n * shape_.y_image, pixels_);
    }
  }
  void BackwardData(const Dtype* dy, const Dtype* filters, Dtype* dx) const {
    for (int n = 0; n < shape_.num; ++n) {
      Device::Gemm(true, false, depth_, pixels_, shape_.outputs, filters,
          depth_, dy + n * shape_.y_image, pixels_, Dtype(0), columns_,
          pixels_);
      Device::FromColumns(columns_, shape_.channels, shape_.height,
          shape_.width, dx + n * x_image_);
    }
  }
  void BackwardFilters(const Dtype* x, const Dtype* dy, Dtype* diff) const {
    for (int n = 0; n < shape_.num; ++n) {
      ToColumns(x + n * x_image_);
      Device::Gemm(false, true, shape_.outputs, depth_, pixels_,
          dy + n * shape_.y_image, pixels_, columns_, pixels_, Dtype(1), diff,
          depth_);
    }
  }

 private:
  void ToColumns(const Dtype* x) const {
    Device::ToColumns(x, shape_.channels, shape_.height, shape_.width,
        columns_);
  }

  const Convolution shape_;
  const int depth_, pixels_;
  const ptrdiff_t x_image_;
  Dtype* const columns_;
};

}  // namespace fused
}  // namespace caffe

#endif  // CAFFE_FUSED_DEVICE_HPP_
