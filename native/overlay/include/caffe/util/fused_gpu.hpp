#ifndef CAFFE_FUSED_GPU_HPP_
#define CAFFE_FUSED_GPU_HPP_

#include <climits>

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/util/fused_device.hpp"
#include "caffe/util/im2col.hpp"
#include "caffe/util/math_functions.hpp"

// For .cu files alone: the GPU as a Device of fused_device.hpp.

namespace caffe {
namespace fused {

template <typename Kernel>
__global__ void PlanesKernel(const int planes, const int length,
    const Kernel kernel) {
  const int kTogether = 4;  // reads that are under way at once
  const ptrdiff_t first = static_cast<ptrdiff_t>(blockIdx.x) * kTogether
      * kThreads + threadIdx.x;
  for (int plane = blockIdx.y; plane < planes; plane += gridDim.y) {
    decltype(kernel.value(0, 0)) values[kTogether];
    FUSED_UNROLL
    for (int j = 0; j < kTogether; ++j) {
      const ptrdiff_t i = first + j * kThreads;
      if (i < length) { values[j] = kernel.value(plane, static_cast<int>(i)); }
    }
    FUSED_UNROLL
    for (int j = 0; j < kTogether; ++j) {
      const ptrdiff_t i = first + j * kThreads;
      if (i < length) { *kernel.at(plane, static_cast<int>(i)) = values[j]; }
    }
  }
}

template <typename Kernel>
__global__ void ChannelsKernel(const int channels, const Kernel kernel) {
  CUDA_KERNEL_LOOP(c, channels) { kernel(c); }
}

template <typename Kernel>
__global__ void PartialsKernel(const int parts, const Kernel kernel,
    typename Kernel::Value* partials, const int stride) {
  __shared__ typename Kernel::Value values[kThreads];
  const int thread = threadIdx.x;
  const int c = blockIdx.x / parts, part = blockIdx.x % parts;
  values[thread] = kernel.partial(c, part, thread);
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) { values[thread].add(values[thread + half]); }
  }
  if (thread == 0) {
    partials[static_cast<ptrdiff_t>(c) * stride + part] = values[0];
  }
}

struct Gpu {
  // 32 MiB stay in the second cache of large GPUs; CAFFE_FUSED_CACHE_MB is for
  // others, and 0 for tests.
  static size_t Cache();

  template <typename Dtype>
  static const Dtype* Data(const Blob<Dtype>& blob) { return blob.gpu_data(); }
  template <typename Dtype>
  static Dtype* MutableData(Blob<Dtype>* blob) {
    return blob->mutable_gpu_data();
  }
  template <typename Dtype>
  static const Dtype* Diff(const Blob<Dtype>& blob) { return blob.gpu_diff(); }
  template <typename Dtype>
  static Dtype* MutableDiff(Blob<Dtype>* blob) {
    return blob->mutable_gpu_diff();
  }

  template <typename Dtype>
  static void Copy(ptrdiff_t count, const Dtype* from, Dtype* to) {
    caffe_gpu_memcpy(count * sizeof(Dtype), from, to);
  }
  template <typename Dtype>
  static void Zero(int count, Dtype* to) {
    caffe_gpu_memset(count * sizeof(Dtype), 0, to);
  }
  template <typename Dtype>
  static Dtype* Scratch(Use use, size_t count) {
    return static_cast<Dtype*>(Memory(use, count * sizeof(Dtype)));
  }

  template <typename Kernel>
  static void Planes(int planes, int length, const Kernel& kernel) {
    if (planes == 0 || length == 0) { return; }
    const int pixels = 4 * kThreads;
    const dim3 grid(length / pixels + (length % pixels != 0),
        std::min(planes, 65535));
    PlanesKernel<Kernel><<<grid, kThreads>>>(planes, length, kernel);
    CUDA_POST_KERNEL_CHECK;
  }
  template <typename Kernel>
  static void Channels(int channels, const Kernel& kernel) {
    const int threads = 64;
    ChannelsKernel<Kernel><<<(channels + threads - 1) / threads, threads>>>(
        channels, kernel);
    CUDA_POST_KERNEL_CHECK;
  }
  template <typename Kernel>
  static void Partials(int channels, int parts, const Kernel& kernel,
      typename Kernel::Value* partials, int stride) {
    const int64_t blocks = static_cast<int64_t>(channels) * parts;
    CHECK_LE(blocks, INT_MAX) << "too many pixels for a kernel";
    if (blocks == 0) { return; }
    PartialsKernel<Kernel><<<static_cast<int>(blocks), kThreads>>>(parts,
        kernel, partials, stride);
    CUDA_POST_KERNEL_CHECK;
  }

  template <typename Dtype>
  static void Gemm(int count, bool trans_a, bool trans_b, int m, int n, int k,
      const Dtype* a, int lda, ptrdiff_t a_image, const Dtype* b, int ldb,
      ptrdiff_t b_image, Dtype beta, Dtype* c, int ldc, ptrdiff_t c_image);

  template <typename Dtype>
  static void ToColumns(const Dtype* x, int channels, int height, int width,
      Dtype* columns) {
    im2col_gpu(x, channels, height, width, 3, 3, 1, 1, 1, 1, 1, 1, columns);
  }
  template <typename Dtype>
  static void FromColumns(const Dtype* columns, int channels, int height,
      int width, Dtype* x) {
    col2im_gpu(columns, channels, height, width, 3, 3, 1, 1, 1, 1, 1, 1, x);
  }

  template <typename Dtype>
  static void Convolve(const Convolution& shape, const Dtype* x,
      const Dtype* filters, Dtype* y);
  template <typename Dtype>
  static void ConvolveBackwardData(const Convolution& shape, const Dtype* dy,
      const Dtype* filters, Dtype* dx);
  template <typename Dtype>
  static void ConvolveBackwardFilters(const Convolution& shape, const Dtype* x,
      const Dtype* dy, Dtype* filters_diff);

 private:
  static void* Memory(Use use, size_t bytes);
};

}  // namespace fused
}  // namespace caffe

#endif  // CAFFE_FUSED_GPU_HPP_
