#ifndef CAFFE_ROWS_CONVOLUTION_HPP_
#define CAFFE_ROWS_CONVOLUTION_HPP_

#include <map>
#include <tuple>

#include "caffe/common.hpp"
#include "caffe/util/bf16_product.hpp"
#include "caffe/util/winograd.hpp"

#ifdef USE_DNNL
#include <dnnl.hpp>
#endif

namespace caffe {

/**
 * @brief 3x3 convolution with a border of zeros on rows (H x W x channels) to
 *        rows (H x W x outputs), on the CPU.
 *
 * Forward takes a strip of an image at a time, so that the input need not be
 * stored whole. In general a product of patches and filters; floats with
 * oneDNN go through Winograd's algorithm where that wins, else through its
 * direct kernels.
 */
template <typename Dtype>
class RowsConvolution {
 public:
  RowsConvolution(int num, int height, int width, int channels, int outputs)
      : num_(num), height_(height), width_(width), channels_(channels),
        outputs_(outputs) {}

  /// Sets the filters (outputs x channels x 3 x 3) of the calls that follow.
  void SetFilters(const Dtype* filters) { filters_ = filters; }
  /// From count + 2 image rows, the outer ones zero at an image's border, to
  /// `count` rows. Call Prepare for each count before several threads call this
  /// at once, `alone`, each for a strip of its own.
  void ForwardStrip(int count, const Dtype* x, Dtype* y);
  void ForwardStrip(int count, const Bf16* x, Dtype* y) {
    LOG(FATAL) << "bfloat16 needs oneDNN and floats";
  }
  void Prepare(int count, bool bf16, bool alone) {}
  /// For all N images: the gradient of x, and that of the filters, added.
  void BackwardData(const Dtype* dy, Dtype* dx);
  void BackwardFilters(const Dtype* x, const Dtype* dy, Dtype* filters_diff);

 private:
  const int num_, height_, width_, channels_, outputs_;
  const Dtype* filters_;
};

#ifdef USE_DNNL
template <>
class RowsConvolution<float> {
 public:
  RowsConvolution(int num, int height, int width, int channels, int outputs);
  void SetFilters(const float* filters);
  void ForwardStrip(int count, const float* x, float* y);
  void ForwardStrip(int count, const Bf16* x, float* y);
  void Prepare(int count, bool bf16, bool alone);
  void BackwardData(const float* dy, float* dx);
  void BackwardFilters(const float* x, const float* dy, float* filters_diff);

 private:
  struct Primitive {
    dnnl::primitive primitive;
    dnnl::memory::desc x, y, scratchpad;
    dnnl::memory filters;  // in the layout that the primitive likes
    bool current;          // they are those that were set
  };
  Primitive* Use(Primitive* primitive);
  typedef dnnl::memory::data_type Type;
  dnnl::memory::desc Rows(int num, int height, int channels,
      Type type = Type::f32) const;
  dnnl::memory::desc Filters(dnnl::memory::format_tag tag,
      Type type = Type::f32) const;
  dnnl::convolution_forward::primitive_desc Forward(int num, int height,
      int pad, dnnl::prop_kind kind, Type type = Type::f32) const;
  Primitive* Strip(int count, Type type, bool alone);
  void RunStrip(int count, Type type, const void* x, float* y);

  struct Transformed {  // NULL where Winograd's algorithm does not win
    shared_ptr<Winograd> winograd;
    bool current;
  };

  const int num_, height_, width_, channels_, outputs_;
  const float* filters_;
  std::map<std::tuple<int, Type, bool>, Primitive> strips_;
  shared_ptr<Primitive> data_, weights_;
  Transformed forward_, backward_;
};
#endif  // USE_DNNL

}  // namespace caffe

#endif  // CAFFE_ROWS_CONVOLUTION_HPP_
