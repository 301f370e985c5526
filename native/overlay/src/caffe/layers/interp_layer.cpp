#include <algorithm>
#include <string>
#include <vector>

#include "caffe/layers/interp_layer.hpp"
#include "caffe/util/math_functions.hpp"

namespace caffe {

namespace {

// One row of `in` values at `zoom` outputs for each step from value to value.
// A fixed zoom needs no tables and vectorises.
template <typename Dtype, int zoom>
void ZoomRow(const Dtype* in, int size, Dtype* out) {
#pragma GCC ivdep
  for (int i = 0; i < size - 1; ++i) {
    out[zoom * i] = in[i];
    for (int p = 1; p < zoom; ++p) {
      out[zoom * i + p] = in[i] * (Dtype(zoom - p) / zoom)
          + in[i + 1] * (Dtype(p) / zoom);
    }
  }
  out[zoom * (size - 1)] = in[size - 1];
}

// The adjoint; `out` has zoom - 1 zeros before its begin and behind its end.
template <typename Dtype, int zoom>
void ZoomRowAdjoint(const Dtype* out, int size, Dtype* in) {
#pragma GCC ivdep
  for (int i = 0; i < size; ++i) {
    Dtype sum = out[zoom * i];
    for (int p = 1; p < zoom; ++p) {
      sum += (out[zoom * i - p] + out[zoom * i + p])
          * (Dtype(zoom - p) / zoom);
    }
    in[i] = sum;
  }
}

template <typename Dtype, typename Axis>
void EnlargeRow(const Dtype* in, const Axis& axis, int zoom, Dtype* out) {
  switch (zoom) {
  case 1: return ZoomRow<Dtype, 1>(in, axis.in, out);
  case 2: return ZoomRow<Dtype, 2>(in, axis.in, out);
  case 4: return ZoomRow<Dtype, 4>(in, axis.in, out);
  }
  const int* low = axis.lower.cpu_data();
  const Dtype* fraction = axis.fraction.cpu_data();
  for (int x = 0; x < axis.out; ++x) {
    const int right = std::min(low[x] + 1, axis.in - 1);
    out[x] = (1 - fraction[x]) * in[low[x]] + fraction[x] * in[right];
  }
}

template <typename Dtype, typename Axis>
void ReduceRow(const Dtype* out, const Axis& axis, int zoom, Dtype* in) {
  switch (zoom) {
  case 1: return ZoomRowAdjoint<Dtype, 1>(out, axis.in, in);
  case 2: return ZoomRowAdjoint<Dtype, 2>(out, axis.in, in);
  case 4: return ZoomRowAdjoint<Dtype, 4>(out, axis.in, in);
  }
  const int* low = axis.lower.cpu_data();
  const Dtype* fraction = axis.fraction.cpu_data();
  std::fill(in, in + axis.in, Dtype(0));
  for (int x = 0; x < axis.out; ++x) {
    in[low[x]] += (1 - fraction[x]) * out[x];
    in[std::min(low[x] + 1, axis.in - 1)] += fraction[x] * out[x];
  }
}

// (1 - t) upper + t lower, or upper alone; `add` may be `out` itself.
template <typename Dtype, bool has_lower, bool has_add>
void Blend(int n, const Dtype* upper, const Dtype* lower, Dtype t,
    const Dtype* add, Dtype* out) {
  const Dtype s = 1 - t;
#pragma GCC ivdep
  for (int x = 0; x < n; ++x) {
    const Dtype value = has_lower ? s * upper[x] + t * lower[x] : upper[x];
    out[x] = has_add ? add[x] + value : value;
  }
}

template <typename Dtype>
void AddRow(int n, Dtype weight, const Dtype* row, Dtype* sum) {
#pragma GCC ivdep
  for (int x = 0; x < n; ++x) { sum[x] += weight * row[x]; }
}

}  // namespace

template <typename Dtype>
string InterpLayer<Dtype>::Name() const {
  return "Interp layer '" + this->layer_param_.name() + "': ";
}

template <typename Dtype>
void InterpLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const InterpParameter& param = this->layer_param_.interp_param();
  CHECK(param.has_zoom_factor() || param.has_shrink_factor()
      || (param.has_height() && param.has_width()))
      << Name() << "give zoom_factor, shrink_factor, or height and width";
  CHECK(!param.has_zoom_factor() || param.zoom_factor() >= 1)
      << Name() << "zoom_factor is " << param.zoom_factor() << ", must be >= 1";
  CHECK(!param.has_shrink_factor() || param.shrink_factor() >= 1)
      << Name() << "shrink_factor is " << param.shrink_factor()
      << ", must be >= 1";
  CHECK(!param.has_height() || param.height() >= 1)
      << Name() << "height is " << param.height() << ", must be >= 1";
  CHECK(!param.has_width() || param.width() >= 1)
      << Name() << "width is " << param.width() << ", must be >= 1";
  CHECK_LE(param.pad_beg(), 0)
      << Name() << "pad_beg crops and must be <= 0";
  CHECK_LE(param.pad_end(), 0)
      << Name() << "pad_end crops and must be <= 0";
}

template <typename Dtype>
int InterpLayer<Dtype>::OutputSize(int effective, bool is_height) const {
  const InterpParameter& param = this->layer_param_.interp_param();
  const bool shrink = param.has_shrink_factor();
  const bool zoom = param.has_zoom_factor();
  if (shrink == zoom && param.has_height() && param.has_width()) {
    return is_height ? param.height() : param.width();
  }
  int size = effective;
  if (shrink) { size = (size - 1) / param.shrink_factor() + 1; }
  if (zoom) { size += (size - 1) * (param.zoom_factor() - 1); }
  return size;
}

template <typename Dtype>
void InterpLayer<Dtype>::Axis::Reset(int in_size, int out_size) {
  if (lower.count() == out_size && first.count() == in_size) { return; }
  in = in_size;
  out = out_size;
  lower.Reshape(vector<int>(1, out));
  fraction.Reshape(vector<int>(1, out));
  first.Reshape(vector<int>(1, in));
  last.Reshape(vector<int>(1, in));
  int* low = lower.mutable_cpu_data();
  Dtype* frac = fraction.mutable_cpu_data();
  int* begin = first.mutable_cpu_data();
  int* end = last.mutable_cpu_data();
  std::fill(begin, begin + in, out);
  std::fill(end, end + in, 0);
  for (int o = 0; o < out; ++o) {
    // The source o (in - 1) / (out - 1), exact in integers.
    const int64_t steps = out > 1 ? out - 1 : 1;
    const int64_t source = out > 1 ? static_cast<int64_t>(o) * (in - 1) : 0;
    low[o] = static_cast<int>(source / steps);
    frac[o] = static_cast<Dtype>(source % steps) / static_cast<Dtype>(steps);
    for (int i = low[o]; i <= std::min(low[o] + 1, in - 1); ++i) {
      begin[i] = std::min(begin[i], o);
      end[i] = o + 1;
    }
  }
}

template <typename Dtype>
void InterpLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  CHECK(bottom[0] != top[0])
      << Name() << "only the second input may be the output too";
  CHECK_EQ(bottom[0]->num_axes(), 4)
      << Name() << "the input must have the axes N x C x H x W";
  const InterpParameter& param = this->layer_param_.interp_param();
  crop_ = -param.pad_beg();
  const int pads = param.pad_beg() + param.pad_end();
  const int height = bottom[0]->height() + pads;
  const int width = bottom[0]->width() + pads;
  CHECK(height >= 1 && width >= 1)
      << Name() << "the pads leave nothing of the input of "
      << bottom[0]->height() << " x " << bottom[0]->width();
  rows_.Reset(height, OutputSize(height, true));
  columns_.Reset(width, OutputSize(width, false));
  width_ = bottom[0]->width();
  const int gaps = width - 1;
  zoom_ = gaps > 0 && (columns_.out - 1) % gaps == 0
      ? (columns_.out - 1) / gaps : 0;
  vector<int> shape = bottom[0]->shape();
  shape[2] = rows_.out;
  shape[3] = columns_.out;
  if (bottom.size() > 1) {  // it may be the output: not to be reshaped
    CHECK(bottom[1]->shape() == shape)
        << Name() << "the second input is " << bottom[1]->shape_string()
        << ", the enlarged first one " << Blob<Dtype>(shape).shape_string();
  }
  top[0]->Reshape(shape);
}

template <typename Dtype>
void InterpLayer<Dtype>::ForwardMap(const Dtype* in, const Dtype* add,
      Dtype* out) const {
  const int width = columns_.out;
  const int* low_y = rows_.lower.cpu_data();
  const Dtype* frac_y = rows_.fraction.cpu_data();
  // Input rows low and low + 1, enlarged: each one once.
  vector<Dtype> rows(2 * width);
  Dtype* upper = &rows[0];
  Dtype* lower = &rows[width];
  int in_upper = -1, in_lower = -1;
  for (int y = 0; y < rows_.out; ++y, out += width) {
    const int low = low_y[y];
    if (in_lower == low) {
      std::swap(upper, lower);
      std::swap(in_upper, in_lower);
    }
    if (in_upper != low) {
      EnlargeRow(in + low * width_, columns_, zoom_, upper);
      in_upper = low;
    }
    const Dtype t = frac_y[y];
    if (t != 0 && in_lower != low + 1) {
      EnlargeRow(in + (low + 1) * width_, columns_, zoom_, lower);
      in_lower = low + 1;
    }
    const Dtype* other = add ? add + width * y : NULL;
    if (t != 0) {
      add ? Blend<Dtype, true, true>(width, upper, lower, t, other, out)
          : Blend<Dtype, true, false>(width, upper, lower, t, other, out);
    } else {
      add ? Blend<Dtype, false, true>(width, upper, lower, t, other, out)
          : Blend<Dtype, false, false>(width, upper, lower, t, other, out);
    }
  }
}

template <typename Dtype>
void InterpLayer<Dtype>::BackwardMap(const Dtype* out_diff,
      Dtype* in_diff) const {
  const int width = columns_.out;
  const int* low_y = rows_.lower.cpu_data();
  const Dtype* frac_y = rows_.fraction.cpu_data();
  const int* first_y = rows_.first.cpu_data();
  const int* last_y = rows_.last.cpu_data();
  // For each input row the sum of the output rows that read it, with zeros
  // around it for the columns' sums.
  const int margin = std::max(zoom_, 1);
  vector<Dtype> padded(width + 2 * margin, Dtype(0));
  Dtype* sum = &padded[margin];
  for (int i = 0; i < rows_.in; ++i) {
    std::fill(sum, sum + width, Dtype(0));
    for (int y = first_y[i]; y < last_y[i]; ++y) {
      const Dtype weight = low_y[y] == i ? 1 - frac_y[y] : frac_y[y];
      if (weight != 0) { AddRow(width, weight, out_diff + width * y, sum); }
    }
    ReduceRow(sum, columns_, zoom_, in_diff + i * width_);
  }
}

template <typename Dtype>
void InterpLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const int maps = bottom[0]->num() * bottom[0]->channels();
  const int in_size = bottom[0]->height() * width_;
  const int out_size = rows_.out * columns_.out;
  const Dtype* in = bottom[0]->cpu_data() + crop_ * width_ + crop_;
  const Dtype* add = bottom.size() > 1 ? bottom[1]->cpu_data() : NULL;
  Dtype* out = top[0]->mutable_cpu_data();
#pragma omp parallel for
  for (int m = 0; m < maps; ++m) {
    ForwardMap(in + static_cast<size_t>(m) * in_size,
        add ? add + static_cast<size_t>(m) * out_size : NULL,
        out + static_cast<size_t>(m) * out_size);
  }
}

template <typename Dtype>
void InterpLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  const Dtype* out_diff = top[0]->cpu_diff();
  if (bottom.size() > 1 && propagate_down[1] && bottom[1] != top[0]) {
    caffe_copy(top[0]->count(), out_diff, bottom[1]->mutable_cpu_diff());
  }
  if (!propagate_down[0]) { return; }
  const int maps = bottom[0]->num() * bottom[0]->channels();
  const int in_size = bottom[0]->height() * width_;
  const int out_size = rows_.out * columns_.out;
  Dtype* in_diff = bottom[0]->mutable_cpu_diff();
  if (rows_.in * columns_.in < in_size) {  // cropped borders
    caffe_set(bottom[0]->count(), Dtype(0), in_diff);
  }
  in_diff += crop_ * width_ + crop_;
#pragma omp parallel for
  for (int m = 0; m < maps; ++m) {
    BackwardMap(out_diff + static_cast<size_t>(m) * out_size,
        in_diff + static_cast<size_t>(m) * in_size);
  }
}

#ifdef CPU_ONLY
STUB_GPU(InterpLayer);
#endif

INSTANTIATE_CLASS(InterpLayer);
REGISTER_LAYER_CLASS(Interp);

}  // namespace caffe
