#ifdef USE_DNNL

#include "caffe/util/dnnl_convolution_plan.hpp"

#include <algorithm>
#include <string>

#include "caffe/util/winograd.hpp"

namespace caffe {

using dnnl::memory;
typedef dnnl::memory::dims Dims;

namespace {

// Bottom and top of a strip together. Small enough for a core's cache, large
// enough that halo and calls do not count; gradients of weights are added up
// strip by strip, so there fewer are better.
const size_t kStripBytes = 4 << 20;
const size_t kGradientStripBytes = 16 << 20;
const int64_t kLargeProducts = 1 << 20;
const int64_t kLargeWeights = 1 << 16;

int CeilDiv(int a, int b) { return (a + b - 1) / b; }

memory::desc Any(const Dims& dims, memory::data_type type) {
  return memory::desc(dims, type, memory::format_tag::any);
}

dnnl::reorder Reorder(const memory::desc& from, const memory::desc& to) {
  return dnnl::reorder(dnnl::reorder::primitive_desc(DnnlEngine(), from,
      DnnlEngine(), to));
}

size_t Aligned(size_t size) { return (size + 63) / 64 * 64; }

}  // namespace

DnnlConvolution::Plan::Plan(Direction direction, const ConvolutionShape& shape,
    bool bias)
    : direction(direction), shape(shape), bias(bias),
      is_winograd(IsForWinograd(direction, shape)), usable(false) {
  const ConvolutionShape& s = shape;
  const int64_t values = static_cast<int64_t>(s.outputs) * s.channels / s.group
      * s.kernel[0] * s.kernel[1];
  is_large = values * s.num * s.out[0] * s.out[1] >= kLargeProducts;
  has_large_weights = values >= kLargeWeights;
  const memory::data_type f32 = memory::data_type::f32;
  plain_weights = s.group == 1
      ? memory::desc(Dims{s.outputs, s.channels, s.kernel[0], s.kernel[1]}, f32,
          memory::format_tag::oihw)
      : memory::desc(Dims{s.group, s.outputs / s.group, s.channels / s.group,
          s.kernel[0], s.kernel[1]}, f32, memory::format_tag::goihw);
  if (bias) {
    bias_values = memory::desc(Dims{s.outputs}, f32, memory::format_tag::a);
  }
  try {
    const int rows = StripRows();
    if (is_winograd) {
      MakeWinograd(rows);
    } else {
      Make(rows);
      if (IsSlow()) { return; }
      const DnnlAlone alone(!has_large_weights);
      weights = direction == BACKWARD_WEIGHTS
          ? Reorder(packed_weights, plain_weights)
          : Reorder(plain_weights, packed_weights);
    }
    Cut(rows);
    LayOut();
    usable = true;
  } catch (const dnnl::error& error) {
    implementation = error.what();
  }
}

/// Whether Caffe's own engine does better.
bool DnnlConvolution::Plan::IsSlow() const {
  return implementation.find("ref") == 0
      || implementation.find("gemm") != std::string::npos;
}

/// Rows of top (of bottom for BACKWARD_DATA) that a strip has.
int DnnlConvolution::Plan::StripRows() const {
  const ConvolutionShape& s = shape;
  const bool data = direction == BACKWARD_DATA;
  const int height = data ? s.in[0] + s.pad[0] : s.out[0];
  const int step = is_winograd ? Winograd::BlockRows(s.out[1])
      : data ? s.stride[0] : 1;
  const bool is_sum = direction == BACKWARD_WEIGHTS && !is_winograd;
  const size_t row = sizeof(float) * (static_cast<size_t>(s.outputs) * s.out[1]
      + static_cast<size_t>(s.channels) * s.in[1]
      * (data ? 1 : s.stride[0]));
  const size_t bytes = is_sum ? kGradientStripBytes : kStripBytes;
  // At least so many strips that all threads end at about the same time.
  const int strips = CeilDiv((is_sum ? 1 : 4) * omp_get_max_threads(), s.num);
  const int most = CeilDiv(std::min<int>(std::max<size_t>(bytes / row, 2),
      std::max(CeilDiv(height, strips), 2)), step);
  // Strips are equal, the last one is filled up: waste little.
  int best = most;
  for (int n = most; n >= CeilDiv(most, 2); --n) {
    if (CeilDiv(height, n * step) * n < CeilDiv(height, best * step) * best) {
      best = n;
    }
  }
  return best * step;
}

/// Makes the convolution of a strip. Rows above and below are in the strip,
/// but for BACKWARD_DATA, whose rows of top also act beyond the strip.
void DnnlConvolution::Plan::Make(int rows) {
  const DnnlAlone alone;  // primitives split their work when they are made
  const ConvolutionShape& s = shape;
  const int extent = s.Extent(0), stride = s.stride[0];
  int above = 0, below = 0;
  if (direction == BACKWARD_DATA) {
    above = (extent - 1) / stride * stride;
    below = std::max(extent - stride, 0);
    strip_rows_[0] = rows;
    strip_rows_[1] = rows / stride + (extent - 1) / stride;
  } else {
    strip_rows_[0] = (rows - 1) * stride + extent;
    strip_rows_[1] = rows;
  }
  const int right = (s.out[1] - 1) * s.stride[1] - s.pad[1] + s.Extent(1)
      - s.in[1];
  const Dims strides = {stride, s.stride[1]};
  const Dims dilation = {s.dilation[0] - 1, s.dilation[1] - 1};
  const Dims before = {above, s.pad[1]}, after = {below, std::max(right, 0)};
  const memory::data_type f32 = memory::data_type::f32;
  const memory::data_type type = direction == FORWARD_BF16
      ? memory::data_type::bf16 : f32;
  const memory::desc bottom = Any(Dims{1, s.channels, strip_rows_[0], s.in[1]},
      type);
  const memory::desc top = Any(Dims{1, s.outputs, strip_rows_[1], s.out[1]},
      f32);
  const memory::desc values = Any(plain_weights.get_dims(), type);
  const dnnl::algorithm how = dnnl::algorithm::convolution_direct;
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  typedef dnnl::convolution_forward Forward;
  // Direct code for inference is of a layout that costs more to come by.
  const dnnl::prop_kind purpose = dnnl::prop_kind::forward_training;
  const Forward::primitive_desc pass = bias
      ? Forward::primitive_desc(DnnlEngine(), purpose, how, bottom, values,
          bias_values, top, strides, dilation, before, after, attributes)
      : Forward::primitive_desc(DnnlEngine(), purpose, how, bottom, values,
          top, strides, dilation, before, after, attributes);
  if (direction == BACKWARD_DATA) {
    typedef dnnl::convolution_backward_data Backward;
    const Backward::primitive_desc back(DnnlEngine(), how, bottom, values, top,
        strides, dilation, before, after, pass, attributes);
    Take(back, Backward(back), DNNL_ARG_DIFF_SRC, DNNL_ARG_DIFF_DST,
        DNNL_ARG_WEIGHTS);
  } else if (direction == BACKWARD_WEIGHTS) {
    typedef dnnl::convolution_backward_weights Backward;
    const Backward::primitive_desc back(DnnlEngine(), how, bottom, values, top,
        strides, dilation, before, after, pass, attributes);
    Take(back, Backward(back), DNNL_ARG_SRC, DNNL_ARG_DIFF_DST,
        DNNL_ARG_DIFF_WEIGHTS);
  } else {
    Take(pass, Forward(pass), DNNL_ARG_SRC, DNNL_ARG_DST, DNNL_ARG_WEIGHTS);
  }
}

bool DnnlConvolution::Plan::IsForWinograd(Direction direction,
    const ConvolutionShape& s) {
  for (int i = 0; i < 2; ++i) {
    if (s.kernel[i] != 3 || s.stride[i] != 1 || s.dilation[i] != 1) {
      return false;
    }
  }
  if (s.group != 1) { return false; }
  return direction == FORWARD
      ? Winograd::Wins(s.channels, s.outputs, s.out[0], s.out[1])
      : direction == BACKWARD_WEIGHTS
      && WinogradGradient::Wins(s.channels, s.outputs, s.out[0], s.out[1]);
}

/// Strips of rows as Winograd's algorithm reads and gives them.
void DnnlConvolution::Plan::MakeWinograd(int rows) {
  const ConvolutionShape& s = shape;
  implementation = "winograd";
  strip_rows_[0] = rows + 2;
  strip_rows_[1] = rows;
  const auto nhwc = memory::format_tag::nhwc;
  packed_bottom = memory::desc(Dims{1, s.channels, rows + 2, s.in[1]},
      memory::data_type::f32, nhwc);
  packed_top = memory::desc(Dims{1, s.outputs, rows, s.out[1]},
      memory::data_type::f32, nhwc);
}

void DnnlConvolution::Plan::Take(const dnnl::primitive_desc_base& made,
    const dnnl::primitive& primitive, int bottom, int top, int values) {
  const dnnl::query layout = dnnl::query::exec_arg_md;
  convolution = primitive;
  implementation = made.impl_info_str();
  packed_bottom = made.query_md(layout, bottom);
  packed_top = made.query_md(layout, top);
  packed_weights = made.query_md(layout, values);
  scratchpad = made.query_md(dnnl::query::scratchpad_md);
}

void DnnlConvolution::Plan::Cut(int rows) {
  const DnnlAlone alone;
  const ConvolutionShape& s = shape;
  const int stride = s.stride[0], above = s.pad[0];
  if (direction != BACKWARD_DATA) {
    for (int y = 0; y < s.out[0]; y += rows) {
      strips.push_back(DnnlStrip{
          Part(false, y * stride - above, strip_rows_[0]),
          Part(true, y, strip_rows_[1])});
    }
    return;
  }
  // Starts are where a row of top starts, so that no window is cut above.
  for (int row = -above; row < s.in[0]; row += rows) {
    const int y = (row + above) / stride - (s.Extent(0) - 1) / stride;
    strips.push_back(DnnlStrip{Part(false, row, strip_rows_[0]),
        Part(true, y, strip_rows_[1])});
  }
}

/// The part of an image in a strip that starts at `row`, maybe outside.
DnnlPart DnnlConvolution::Plan::Part(bool is_top, int row, int count) {
  const int* size = is_top ? shape.out : shape.in;
  const int maps = is_top ? shape.outputs : shape.channels;
  const int from = std::max(row, 0);
  const int n = std::min(row + count, size[0]) - from;
  if (n <= 0) { return DnnlPart{0, 0, 0, NULL}; }
  DnnlRows& rows = rows_[is_top][n];
  if (rows.plain.is_zero()) {
    const Dims dims = {1, maps, n, size[1]};
    const int64_t map = static_cast<int64_t>(size[0]) * size[1];
    rows.plain = memory::desc(dims, memory::data_type::f32,
        Dims{maps * map, map, size[1], 1});
    rows.packed = (is_top ? packed_top : packed_bottom).submemory_desc(dims,
        Dims{0, 0, 0, 0});
    const bool reads = is_top ? reads_top() : reads_bottom();
    rows.copy = reads ? Reorder(rows.plain, rows.packed)
                      : Reorder(rows.packed, rows.plain);
  }
  return DnnlPart{from, from - row, n, &rows};
}

void DnnlConvolution::Plan::LayOut() {
  const size_t gradient = direction == BACKWARD_WEIGHTS && !is_winograd
      ? Aligned(packed_weights.get_size()) : 0;
  const size_t sum = is_winograd && direction == BACKWARD_WEIGHTS
      ? sizeof(float) * WinogradGradient(shape.channels, shape.outputs).Count()
      : gradient;
  top_at = Aligned(packed_bottom.get_size());
  own_at = top_at + Aligned(packed_top.get_size());
  gradient_at = own_at + Aligned(scratchpad.get_size());
  sum_at = gradient_at + gradient;
  scratch_size = sum_at + sum;
}

}  // namespace caffe

#endif  // USE_DNNL
