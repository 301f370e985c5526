#include <algorithm>
#include <string>
#include <vector>

#include "caffe/layers/interp_layer.hpp"
#include "caffe/util/math_functions.hpp"

namespace caffe {

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
  row_.Reshape(vector<int>(1, width));
  top[0]->Reshape(bottom[0]->num(), bottom[0]->channels(), rows_.out,
      columns_.out);
}

template <typename Dtype>
void InterpLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const int maps = bottom[0]->num() * bottom[0]->channels();
  const int stride = bottom[0]->width();
  const int* low_y = rows_.lower.cpu_data();
  const Dtype* frac_y = rows_.fraction.cpu_data();
  const int* low_x = columns_.lower.cpu_data();
  const Dtype* frac_x = columns_.fraction.cpu_data();
  Dtype* row = row_.mutable_cpu_data();
  Dtype* out = top[0]->mutable_cpu_data();
  for (int m = 0; m < maps; ++m) {
    const Dtype* map = bottom[0]->cpu_data() + bottom[0]->height() * stride * m
        + crop_ * stride + crop_;
    for (int y = 0; y < rows_.out; ++y, out += columns_.out) {
      // Between two rows first (vectorises), then between the columns.
      const Dtype* upper = map + low_y[y] * stride;
      const Dtype* lower =
          map + std::min(low_y[y] + 1, rows_.in - 1) * stride;
      const Dtype t = frac_y[y];
      for (int x = 0; x < columns_.in; ++x) {
        row[x] = (1 - t) * upper[x] + t * lower[x];
      }
      for (int x = 0; x < columns_.out; ++x) {
        const int left = low_x[x];
        const int right = std::min(left + 1, columns_.in - 1);
        out[x] = (1 - frac_x[x]) * row[left] + frac_x[x] * row[right];
      }
    }
  }
}

template <typename Dtype>
void InterpLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  if (!propagate_down[0]) { return; }
  const int maps = bottom[0]->num() * bottom[0]->channels();
  const int stride = bottom[0]->width();
  const int* low_y = rows_.lower.cpu_data();
  const Dtype* frac_y = rows_.fraction.cpu_data();
  const int* low_x = columns_.lower.cpu_data();
  const Dtype* frac_x = columns_.fraction.cpu_data();
  Dtype* row = row_.mutable_cpu_data();
  Dtype* diff = bottom[0]->mutable_cpu_diff();
  caffe_set(bottom[0]->count(), Dtype(0), diff);
  const Dtype* out = top[0]->cpu_diff();
  for (int m = 0; m < maps; ++m) {
    Dtype* map = diff + bottom[0]->height() * stride * m
        + crop_ * stride + crop_;
    for (int y = 0; y < rows_.out; ++y, out += columns_.out) {
      std::fill(row, row + columns_.in, Dtype(0));
      for (int x = 0; x < columns_.out; ++x) {
        const int left = low_x[x];
        const int right = std::min(left + 1, columns_.in - 1);
        row[left] += (1 - frac_x[x]) * out[x];
        row[right] += frac_x[x] * out[x];
      }
      Dtype* upper = map + low_y[y] * stride;
      Dtype* lower = map + std::min(low_y[y] + 1, rows_.in - 1) * stride;
      const Dtype t = frac_y[y];
      for (int x = 0; x < columns_.in; ++x) { upper[x] += (1 - t) * row[x]; }
      for (int x = 0; x < columns_.in; ++x) { lower[x] += t * row[x]; }
    }
  }
}

#ifdef CPU_ONLY
STUB_GPU(InterpLayer);
#endif

INSTANTIATE_CLASS(InterpLayer);
REGISTER_LAYER_CLASS(Interp);

}  // namespace caffe
