#ifndef CAFFE_DNNL_CONVOLUTION_HPP_
#define CAFFE_DNNL_CONVOLUTION_HPP_

#ifdef USE_DNNL

#include <dnnl.hpp>

#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "caffe/util/winograd.hpp"

namespace caffe {

struct DnnlStrip;

/// A 2D convolution of `num` images. Pairs are height, width.
struct ConvolutionShape {
  int num, channels, outputs, group;
  int in[2], out[2];
  int kernel[2], stride[2], pad[2], dilation[2];

  /// Rows (axis 0) or columns (axis 1) that the dilated kernel spans.
  int Extent(int axis) const {
    return dilation[axis] * (kernel[axis] - 1) + 1;
  }
  /// The convolution of stride 1 that gives the gradient of the input.
  ConvolutionShape Adjoint() const {
    ConvolutionShape adjoint = *this;
    std::swap(adjoint.channels, adjoint.outputs);
    for (int i = 0; i < 2; ++i) {
      std::swap(adjoint.in[i], adjoint.out[i]);
      adjoint.pad[i] = Extent(i) - 1 - pad[i];
    }
    return adjoint;
  }
  bool operator==(const ConvolutionShape& other) const {
    return memcmp(this, &other, sizeof(other)) == 0;  // ints alone
  }
};

/**
 * @brief One direction of a 2D convolution of floats on the CPU, by oneDNN, for
 *        plain N x C x H x W arrays and plain weights.
 *
 * oneDNN computes on blocks of channels. Each image is therefore cut into
 * horizontal strips with the halo that the kernel needs. Every OpenMP thread
 * takes strips, brings them into oneDNN's layout, convolves them alone and
 * writes the result back, so that a strip stays in the thread's cache and
 * scratch stays small: one buffer per thread for all convolutions of the
 * process, grown to what the largest strip needs.
 *
 * Forward and BackwardData give the same bits with any number of threads,
 * BackwardWeights with the same number.
 */
class DnnlConvolution {
 public:
  enum Direction {
    FORWARD,
    FORWARD_BF16,  ///< for prediction: products of bfloat16, sums of floats
    BACKWARD_DATA,
    BACKWARD_WEIGHTS,
    DIRECTIONS
  };

  /// Makes the primitives, or shares those of a living object of this shape.
  DnnlConvolution(Direction direction, const ConvolutionShape& shape,
      bool bias = false);

  /// False where Caffe's own engine would be faster.
  bool Usable() const;
  bool IsWinograd() const;  ///< a quarter of the products; see winograd.hpp
  std::string Implementation() const;  ///< oneDNN's name for it
  size_t ScratchBytes() const;         ///< of each thread

  /// top = weights * bottom + bias; give the bias if the constructor said so.
  void Forward(const float* bottom, const float* weights, const float* bias,
      float* top);
  /// bottom_diff = what Forward's adjoint makes of top_diff.
  void BackwardData(const float* top_diff, const float* weights,
      float* bottom_diff);
  /// weights_diff += their gradient.
  void BackwardWeights(const float* bottom, const float* top_diff,
      float* weights_diff) const;

 private:
  struct Plan;
  typedef std::unordered_map<int, dnnl::memory> Arguments;

  void SetWinograd(const float* weights);
  void Convolve(const DnnlStrip& strip, const float* bottom, const float* top,
      const Arguments& rest, char* scratch) const;
  void ConvolveAll(const float* bottom, const float* top,
      const Arguments& rest) const;
  dnnl::memory PackedWeights(const float* weights) const;

  bool turned_;  // the plan is that of the convolution which gives the gradient
  std::shared_ptr<const Plan> plan_;
  std::unique_ptr<Winograd> winograd_;  // with its transformed weights
  uint64_t winograd_of_;                // checksum of those they come from
};

}  // namespace caffe

#endif  // USE_DNNL
#endif  // CAFFE_DNNL_CONVOLUTION_HPP_
