#ifndef CAFFE_FUSED_DEVICE_HPP_
#define CAFFE_FUSED_DEVICE_HPP_

#include <stdint.h>

#include <algorithm>
#include <climits>

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
//   Cache       bytes of activations that a product works on at a time
//   Gemm        row-major C (m x n) = op(A) op(B) + beta C, op(A) being m x k,
//               for `count` images, whose matrices are a_image ... values apart
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

/// What of a convolution cuDNN computes in a call. It counts values in 32 bits:
/// images one by one where there are too many. A single image is a packed one.
inline Convolution InOneCall(Convolution shape) {
  const ptrdiff_t pixels = static_cast<ptrdiff_t>(shape.height) * shape.width;
  if (std::max(shape.channels * pixels, shape.y_image) * shape.num > INT_MAX) {
    shape.num = 1;
  }
  if (shape.num == 1) { shape.y_image = shape.outputs * pixels; }
  return shape;
}

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

/// BatchNorm, Scale, ReLU and a 1x1 convolution of images (channels x pixels)
/// to planes (outputs x pixels). The activations are never stored whole: as many
/// images, or pixels of one, as fit into the device's cache are activated into
/// scratch memory, multiplied, and forgotten; backward activates them again.
template <class Device, typename Dtype>
class Product {
 public:
  Product(int num, int pixels, int channels, int outputs)
      : num_(num), pixels_(pixels), channels_(channels), outputs_(outputs) {
    const int64_t fit = Device::Cache() / (sizeof(Dtype) * channels);
    together_ = std::max<int64_t>(1, std::min<int64_t>(num, fit / pixels));
    strip_ = std::min<int64_t>(pixels,
        fit < pixels ? std::max<int64_t>(1, fit / kPart) * kPart : pixels);
  }

  /// y = W max(0, scale x + shift) + beta y
  void Forward(const Stack<const Dtype>& x, const Dtype* scale,
      const Dtype* shift, const Dtype* filters, Dtype beta,
      const Stack<Dtype>& y) const {
    Steps([&](int n, int images, int begin, int length, Dtype* activation) {
      Activation(x.from(n, begin), images, length, scale, shift, activation);
      Device::Gemm(images, false, false, outputs_, length, channels_, filters,
          channels_, 0, activation, length, Size(length), beta,
          y.from(n, begin).data, y.channel, y.image);
    });
  }

  /// From the gradient of y: adds that of the filters unless it is NULL; gives
  /// scale d in dx, or adds it, unless dx is NULL; gives the parts' sums of d
  /// and of d (x - centre), `stride` partials for each channel.
  void Backward(const Stack<const Dtype>& x, const Dtype* scale,
      const Dtype* shift, const Dtype* centre, const Dtype* filters,
      const Stack<const Dtype>& dy, Dtype* filters_diff, bool add,
      const Stack<Dtype>& dx, Sums* partials, int stride) const {
    const Stack<Dtype> none = {NULL, 0, 0};
    Steps([&](int n, int images, int begin, int length, Dtype* activation) {
      const Stack<const Dtype> change = dy.from(n, begin);
      if (filters_diff) {
        Activation(x.from(n, begin), images, length, scale, shift, activation);
        for (int i = 0; i < images; ++i) {  // all add to the same filters
          Device::Gemm(1, false, true, outputs_, channels_, length,
              change.plane(i, 0), change.channel, 0,
              activation + i * Size(length), length, 0, Dtype(1),
              filters_diff, channels_, 0);
        }
      }
      Device::Gemm(images, true, false, channels_, length, outputs_, filters,
          channels_, 0, change.data, change.channel, change.image, Dtype(0),
          activation, length, Size(length));
      const PartBackward<Dtype> kernel = {scale, shift, centre,
          x.from(n, begin), {activation, Size(length), length}, add,
          dx.data ? dx.from(n, begin) : none, length};
      Device::Partials(channels_, images * Parts(length), kernel,
          partials + n * Parts(pixels_) + begin / kPart, stride);
    });
  }

 private:
  ptrdiff_t Size(int length) const {
    return static_cast<ptrdiff_t>(channels_) * length;
  }
  // A rest of less than a part goes with the strip before it.
  template <typename Step>
  void Steps(const Step& step) const {
    const int64_t longest = std::min<int64_t>(pixels_, strip_ + kPart - 1);
    Dtype* activation = Device::template Scratch<Dtype>(ACTIVATION,
        together_ * Size(longest));
    for (int n = 0; n < num_; n += together_) {
      const int images = std::min(together_, num_ - n);
      for (int begin = 0, length; begin < pixels_; begin += length) {
        length = pixels_ - begin <= longest ? pixels_ - begin : strip_;
        step(n, images, begin, length, activation);
      }
    }
  }
  void Activation(const Stack<const Dtype>& x, int images, int length,
      const Dtype* scale, const Dtype* shift, Dtype* activation) const {
    const Activate<Dtype> kernel = {channels_, scale, shift, x,
        {activation, Size(length), length}};
    Device::Planes(images * channels_, length, kernel);
  }

  const int num_, pixels_, channels_, outputs_;
  int together_;  // images at a time
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
      Device::Gemm(1, false, false, shape_.outputs, pixels_, depth_, filters,
          depth_, 0, columns_, pixels_, 0, Dtype(0), y + n * shape_.y_image,
          pixels_, 0);
    }
  }
  void BackwardData(const Dtype* dy, const Dtype* filters, Dtype* dx) const {
    for (int n = 0; n < shape_.num; ++n) {
      Device::Gemm(1, true, false, depth_, pixels_, shape_.outputs, filters,
          depth_, 0, dy + n * shape_.y_image, pixels_, 0, Dtype(0), columns_,
          pixels_, 0);
      Device::FromColumns(columns_, shape_.channels, shape_.height,
          shape_.width, dx + n * x_image_);
    }
  }
  void BackwardFilters(const Dtype* x, const Dtype* dy, Dtype* diff) const {
    for (int n = 0; n < shape_.num; ++n) {
      ToColumns(x + n * x_image_);
      Device::Gemm(1, false, true, shape_.outputs, depth_, pixels_,
          dy + n * shape_.y_image, pixels_, 0, columns_, pixels_, 0, Dtype(1),
          diff, depth_, 0);
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
