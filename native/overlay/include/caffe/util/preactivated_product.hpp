#ifndef CAFFE_PREACTIVATED_PRODUCT_HPP_
#define CAFFE_PREACTIVATED_PRODUCT_HPP_

#include <cstddef>

#include "caffe/util/fused_math.hpp"

namespace caffe {

class Bf16Product;

/// Planes of N images: channels are `pixels` apart, images `image_stride`.
template <typename Dtype>
struct Planes {
  Dtype* data;
  ptrdiff_t image_stride;
};

/**
 * @brief y = W max(0, scale x + shift): BatchNorm, Scale, ReLU and a 1x1
 *        convolution in one pass over x, on the CPU.
 *
 * The activations are never stored: a part of the pixels is activated into
 * cache, multiplied, and forgotten; backward activates it again. The output is
 * rows (N x H x W x outputs, in `rows`) or planes.
 */
template <typename Dtype>
class PreactivatedProduct {
 public:
  PreactivatedProduct(int num, int pixels, int channels, int outputs)
      : num_(num), pixels_(pixels), channels_(channels), outputs_(outputs) {}

  /// Gives the rows of `pixels` from `begin` of one image; unless it is NULL,
  /// adds `add_relu` per output and takes max(0, .).
  void ForwardRows(Planes<const Dtype> x, int image, int begin, int pixels,
      const Dtype* scale, const Dtype* shift, const Dtype* filters,
      const Dtype* add_relu, Dtype* rows) const;
  /// The same in bfloat16, with the filters that `product` was made of.
  void ForwardRows(Planes<const Dtype> x, int image, int begin, int pixels,
      const Dtype* scale, const Dtype* shift, Bf16Product* product,
      const Dtype* add_relu, Bf16* rows) const;
  /// Gives the rows of all images, and their mean and variance per output.
  void ForwardRowsMoments(Planes<const Dtype> x, const Dtype* scale,
      const Dtype* shift, const Dtype* filters, Dtype* rows, Dtype* mean,
      Dtype* variance) const;
  /// Gives all planes, plus `bias` per output unless that is NULL.
  void ForwardPlanes(Planes<const Dtype> x, const Dtype* scale,
      const Dtype* shift, const Dtype* filters, const Dtype* bias,
      Planes<Dtype> y) const;

  /// The same in bfloat16 and without a bias.
  void ForwardPlanes(Planes<const Dtype> x, const Dtype* scale,
      const Dtype* shift, Bf16Product* product, Planes<Dtype> y) const;

  /// From the gradient of y, rows or planes (the other is NULL): adds the
  /// filters' gradient (NULL: none); gives scale d, or adds it to dx, d being
  /// the gradient of the activation's input map; gives the sums per channel of
  /// d and of d (x - centre).
  void Backward(Planes<const Dtype> x, const Dtype* scale, const Dtype* shift,
      const Dtype* centre, const Dtype* filters, const Dtype* dy_rows,
      Planes<const Dtype> dy_planes, Dtype* filters_diff, bool add,
      Planes<Dtype> dx, double* sum, double* product) const;

 private:
  template <typename To>
  void Activate(const Dtype* x, int pixels, const Dtype* scale,
      const Dtype* shift, To* activation) const;
  int Lead() const;
  void Rows(const Dtype* x, int pixels, const Dtype* scale, const Dtype* shift,
      const Dtype* filters, Dtype* activation, Dtype* rows) const;

  const int num_, pixels_, channels_, outputs_;
};

}  // namespace caffe

#endif  // CAFFE_PREACTIVATED_PRODUCT_HPP_
