#ifndef CAFFE_DNNL_CONVOLUTION_PLAN_HPP_
#define CAFFE_DNNL_CONVOLUTION_PLAN_HPP_

#ifdef USE_DNNL

#include <dnnl.hpp>

#include <map>
#include <string>
#include <vector>

#include "caffe/util/dnnl_convolution.hpp"
#include "caffe/util/dnnl_engine.hpp"

namespace caffe {

/// Some rows of all maps of an image, plain, and in oneDNN's layout.
struct DnnlRows {
  dnnl::memory::desc plain, packed;
  dnnl::reorder copy;  // from the one to the other, as the direction reads
};

/// The rows of bottom, or of top, that belong to a strip.
struct DnnlPart {
  int row, at, count;    // in the image, in the strip; the rest is padding
  const DnnlRows* rows;  // `count` of them; NULL if there are none
};

/// A strip, the same for all images.
struct DnnlStrip {
  DnnlPart bottom, top;
};

/// How a convolution is cut into equal strips, and oneDNN's primitives.
struct DnnlConvolution::Plan {
  typedef DnnlConvolution::Direction Direction;

  Plan(Direction direction, const ConvolutionShape& shape, bool bias);

  size_t bottom_size() const {  // of one image, in values
    return static_cast<size_t>(shape.channels) * shape.in[0] * shape.in[1];
  }
  size_t top_size() const {
    return static_cast<size_t>(shape.outputs) * shape.out[0] * shape.out[1];
  }
  bool reads_bottom() const { return direction != BACKWARD_DATA; }
  bool reads_top() const {
    return direction == BACKWARD_DATA || direction == BACKWARD_WEIGHTS;
  }
  /// Whether Winograd's algorithm is for this convolution, and pays; of
  /// BACKWARD_DATA the adjoint is to be asked.
  static bool IsForWinograd(Direction direction, const ConvolutionShape& shape);

  const Direction direction;
  const ConvolutionShape shape;
  const bool bias;
  const bool is_winograd;
  bool usable, is_large, has_large_weights;  // large: worth waking threads for

  std::vector<DnnlStrip> strips;  // of one image, from above
  dnnl::primitive convolution;    // of any strip; none for Winograd
  std::string implementation;
  dnnl::memory::desc packed_bottom, packed_top, scratchpad;
  dnnl::memory::desc plain_weights, packed_weights, bias_values;
  dnnl::reorder weights;  // into oneDNN's layout; out of it for gradients
  // A thread's scratch: packed bottom, packed top, oneDNN's own, and for
  // gradients of weights those of one strip and the sum over strips.
  size_t top_at, own_at, gradient_at, sum_at, scratch_size;

 private:
  bool IsSlow() const;
  int StripRows() const;
  void Make(int rows);
  void MakeWinograd(int rows);
  void Take(const dnnl::primitive_desc_base& made,
      const dnnl::primitive& primitive, int bottom, int top, int values);
  void Cut(int rows);
  DnnlPart Part(bool is_top, int row, int count);
  void LayOut();

  int strip_rows_[2];                // bottom's, top's
  std::map<int, DnnlRows> rows_[2];  // by their number; bottom's, top's
};

}  // namespace caffe

#endif  // USE_DNNL
#endif  // CAFFE_DNNL_CONVOLUTION_PLAN_HPP_
