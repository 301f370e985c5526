#include <vector>

#include "caffe/layers/interp_layer.hpp"
#include "caffe/util/math_functions.hpp"

namespace caffe {

// One thread per output pixel: four reads.
template <typename Dtype>
__global__ void InterpForward(const int n, const Dtype* in,
    const int in_height, const int in_width, const int crop,
    const int rows, const int columns, const int out_height,
    const int out_width, const int* low_y, const Dtype* frac_y,
    const int* low_x, const Dtype* frac_x, const Dtype* add, Dtype* out) {
  CUDA_KERNEL_LOOP(index, n) {
    const int x = index % out_width;
    const int y = index / out_width % out_height;
    const int map = index / out_width / out_height;
    const int left = low_x[x];
    const int right = min(left + 1, columns - 1);
    const Dtype* upper =
        in + (map * in_height + crop + low_y[y]) * in_width + crop;
    const Dtype* lower =
        in + (map * in_height + crop + min(low_y[y] + 1, rows - 1)) * in_width
        + crop;
    const Dtype s = frac_x[x];
    const Dtype t = frac_y[y];
    const Dtype value = (1 - t) * ((1 - s) * upper[left] + s * upper[right])
        + t * ((1 - s) * lower[left] + s * lower[right]);
    out[index] = add ? add[index] + value : value;  // add may be out itself
  }
}

// What output o takes from input i of an axis of `size` inputs; at the last
// input both neighbours are the same.
template <typename Dtype>
__device__ Dtype InterpWeight(const int* low, const Dtype* frac, const int o,
    const int i, const int size) {
  Dtype weight = 0;
  if (low[o] == i) { weight += 1 - frac[o]; }
  if (min(low[o] + 1, size - 1) == i) { weight += frac[o]; }
  return weight;
}

// One thread per input pixel, which gathers from the outputs that read it:
// no atomics, hence the same sum in every run.
template <typename Dtype>
__global__ void InterpBackward(const int n, const Dtype* out_diff,
    const int in_height, const int in_width, const int crop,
    const int rows, const int columns, const int out_height,
    const int out_width, const int* low_y, const Dtype* frac_y,
    const int* first_y, const int* last_y, const int* low_x,
    const Dtype* frac_x, const int* first_x, const int* last_x,
    Dtype* in_diff) {
  CUDA_KERNEL_LOOP(index, n) {
    const int x = index % in_width - crop;
    const int y = index / in_width % in_height - crop;
    const int map = index / in_width / in_height;
    Dtype sum = 0;
    if (x >= 0 && x < columns && y >= 0 && y < rows) {
      const Dtype* diff = out_diff + map * out_height * out_width;
      for (int oy = first_y[y]; oy < last_y[y]; ++oy) {
        Dtype row = 0;
        for (int ox = first_x[x]; ox < last_x[x]; ++ox) {
          row += InterpWeight(low_x, frac_x, ox, x, columns)
              * diff[oy * out_width + ox];
        }
        sum += InterpWeight(low_y, frac_y, oy, y, rows) * row;
      }
    }
    in_diff[index] = sum;
  }
}

template <typename Dtype>
void InterpLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const int n = top[0]->count();
  const Dtype* add = bottom.size() > 1 ? bottom[1]->gpu_data() : NULL;
  InterpForward<Dtype><<<CAFFE_GET_BLOCKS(n), CAFFE_CUDA_NUM_THREADS>>>(
      n, bottom[0]->gpu_data(), bottom[0]->height(), bottom[0]->width(), crop_,
      rows_.in, columns_.in, rows_.out, columns_.out,
      rows_.lower.gpu_data(), rows_.fraction.gpu_data(),
      columns_.lower.gpu_data(), columns_.fraction.gpu_data(), add,
      top[0]->mutable_gpu_data());
  CUDA_POST_KERNEL_CHECK;
}

template <typename Dtype>
void InterpLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  if (bottom.size() > 1 && propagate_down[1] && bottom[1] != top[0]) {
    caffe_copy(top[0]->count(), top[0]->gpu_diff(),
        bottom[1]->mutable_gpu_diff());
  }
  if (!propagate_down[0]) { return; }
  const int n = bottom[0]->count();
  InterpBackward<Dtype><<<CAFFE_GET_BLOCKS(n), CAFFE_CUDA_NUM_THREADS>>>(
      n, top[0]->gpu_diff(), bottom[0]->height(), bottom[0]->width(), crop_,
      rows_.in, columns_.in, rows_.out, columns_.out,
      rows_.lower.gpu_data(), rows_.fraction.gpu_data(),
      rows_.first.gpu_data(), rows_.last.gpu_data(),
      columns_.lower.gpu_data(), columns_.fraction.gpu_data(),
      columns_.first.gpu_data(), columns_.last.gpu_data(),
      bottom[0]->mutable_gpu_diff());
  CUDA_POST_KERNEL_CHECK;
}

INSTANTIATE_LAYER_GPU_FUNCS(InterpLayer);

}  // namespace caffe
