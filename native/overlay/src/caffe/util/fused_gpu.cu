#include <algorithm>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "caffe/util/fused_gpu.hpp"
#ifdef USE_CUDNN
#include "caffe/util/cudnn_lanes.hpp"
#endif

namespace caffe {
namespace fused {

// Never freed: at a process's end CUDA may be gone before. Each thread has its
// own, whose kernels run in order.
void* Gpu::Memory(Use use, size_t bytes) {
  struct Buffers {
    void* memory[USES];
    size_t size[USES];
  };
  static thread_local std::map<int, Buffers*> devices;
  int device;
  CUDA_CHECK(cudaGetDevice(&device));
  Buffers*& buffers = devices[device];
  if (!buffers) { buffers = new Buffers(); }
  if (buffers->size[use] < bytes) {
    // Waits for kernels that use it.
    CUDA_CHECK(cudaFree(buffers->memory[use]));
    buffers->memory[use] = NULL;
    buffers->size[use] = 0;
    const size_t rounded = (bytes + 255) / 256 * 256;
    const cudaError_t error = cudaMalloc(&buffers->memory[use], rounded);
    CHECK_EQ(error, cudaSuccess) << "no GPU memory for " << bytes
        << " bytes of scratch: " << cudaGetErrorString(error);
    buffers->size[use] = rounded;
  }
  return buffers->memory[use];
}

size_t Gpu::Cache() {
  static const char* const asked = std::getenv("CAFFE_FUSED_CACHE_MB");
  static const int megabytes = asked ? std::atoi(asked) : 32;
  return static_cast<size_t>(std::max(megabytes, 0)) << 20;
}

// One product is not taken for a batch of one: cuBLAS splits its sums.
#define OVERLOAD_GEMM(Dtype, gemm, gemm_batched) \
  static cublasStatus_t Multiply(int count, cublasOperation_t op_a, \
      cublasOperation_t op_b, int m, int n, int k, const Dtype* a, int lda, \
      ptrdiff_t a_image, const Dtype* b, int ldb, ptrdiff_t b_image, \
      const Dtype* beta, Dtype* c, int ldc, ptrdiff_t c_image) { \
    const cublasHandle_t handle = Caffe::cublas_handle(); \
    const Dtype one = 1; \
    return count == 1 \
        ? gemm(handle, op_a, op_b, m, n, k, &one, a, lda, b, ldb, beta, c, \
              ldc) \
        : gemm_batched(handle, op_a, op_b, m, n, k, &one, a, lda, a_image, b, \
              ldb, b_image, beta, c, ldc, c_image, count); \
  }

OVERLOAD_GEMM(float, cublasSgemm, cublasSgemmStridedBatched)
OVERLOAD_GEMM(double, cublasDgemm, cublasDgemmStridedBatched)

// cuBLAS is column-major: C^T = op(B)^T op(A)^T.
template <typename Dtype>
void Gpu::Gemm(int count, bool trans_a, bool trans_b, int m, int n, int k,
    const Dtype* a, int lda, ptrdiff_t a_image, const Dtype* b, int ldb,
    ptrdiff_t b_image, Dtype beta, Dtype* c, int ldc, ptrdiff_t c_image) {
  CUBLAS_CHECK(Multiply(count, trans_b ? CUBLAS_OP_T : CUBLAS_OP_N,
      trans_a ? CUBLAS_OP_T : CUBLAS_OP_N, n, m, k, b, ldb, b_image, a, lda,
      a_image, &beta, c, ldc, c_image));
}

#ifdef USE_CUDNN

namespace {

// cuDNN's descriptors and algorithms for one shape, kept like scratch memory.
template <typename Dtype>
class Plan {
 public:
  static Plan* Get(const Convolution& shape);

  void Forward(const Dtype* x, const Dtype* filters, Dtype* y);
  void BackwardData(const Dtype* dy, const Dtype* filters, Dtype* dx);
  void BackwardFilters(const Dtype* x, const Dtype* dy, Dtype* filters_diff);

 private:
  explicit Plan(const Convolution& shape);

  string name_;
  cudnn::Lane* lane_;
  cudnnTensorDescriptor_t x_, y_;
  cudnnFilterDescriptor_t filters_;
  cudnnConvolutionDescriptor_t convolution_;
  cudnn::Choice<cudnnConvolutionFwdAlgo_t> forward_;
  cudnn::Choice<cudnnConvolutionBwdDataAlgo_t> data_;
  cudnn::Choice<cudnnConvolutionBwdFilterAlgo_t> diff_;
};

template <typename Dtype>
Plan<Dtype>* Plan<Dtype>::Get(const Convolution& shape) {
  static thread_local std::map<std::vector<ptrdiff_t>, Plan*> plans;
  int device;
  CUDA_CHECK(cudaGetDevice(&device));
  const ptrdiff_t key[] = {device, shape.num, shape.height, shape.width,
      shape.channels, shape.outputs, shape.y_image};
  Plan*& plan = plans[std::vector<ptrdiff_t>(key, key + 7)];
  if (!plan) { plan = new Plan(shape); }
  return plan;
}

template <typename Dtype>
Plan<Dtype>::Plan(const Convolution& shape)
    : lane_(cudnn::Lane::get(0)) {
  CHECK_LE(shape.y_image, INT_MAX) << "an image is too large for cuDNN";
  std::ostringstream name;
  name << "DenseBlock, " << shape.num << " x " << shape.channels << " x "
      << shape.height << " x " << shape.width << " to " << shape.outputs;
  name_ = name.str();
  cudnn::createTensor4dDesc<Dtype>(&x_);
  cudnn::createTensor4dDesc<Dtype>(&y_);
  cudnn::createFilterDesc<Dtype>(&filters_, shape.outputs, shape.channels, 3,
      3);
  cudnn::createConvolutionDesc<Dtype>(&convolution_);
  cudnn::setTensor4dDesc<Dtype>(&x_, shape.num, shape.channels, shape.height,
      shape.width);
  cudnn::setTensor4dDesc<Dtype>(&y_, shape.num, shape.outputs, shape.height,
      shape.width, static_cast<int>(shape.y_image), shape.height * shape.width,
      shape.width, 1);
  cudnn::setConvolutionDesc<Dtype>(&convolution_, x_, filters_, 1, 1, 1, 1);
}

template <typename Dtype>
void Plan<Dtype>::Forward(const Dtype* x, const Dtype* filters, Dtype* y) {
  if (!forward_.made()) {
    forward_ = cudnn::choose_forward(name_, &lane_, 1, x_, filters_,
        convolution_, y_);
  }
  forward_.run([=](cudnnConvolutionFwdAlgo_t algorithm, size_t bytes) {
    return cudnnConvolutionForward(lane_->handle(),
        cudnn::dataType<Dtype>::one, x_, x, filters_, filters, convolution_,
        algorithm, lane_->workspace(), bytes, cudnn::dataType<Dtype>::zero, y_,
        y);
  });
}

template <typename Dtype>
void Plan<Dtype>::BackwardData(const Dtype* dy, const Dtype* filters,
    Dtype* dx) {
  if (!data_.made()) {
    data_ = cudnn::choose_backward_data(name_, &lane_, 1, filters_, y_,
        convolution_, x_);
  }
  data_.run([=](cudnnConvolutionBwdDataAlgo_t algorithm, size_t bytes) {
    return cudnnConvolutionBackwardData(lane_->handle(),
        cudnn::dataType<Dtype>::one, filters_, filters, y_, dy, convolution_,
        algorithm, lane_->workspace(), bytes, cudnn::dataType<Dtype>::zero, x_,
        dx);
  });
}

template <typename Dtype>
void Plan<Dtype>::BackwardFilters(const Dtype* x, const Dtype* dy,
    Dtype* filters_diff) {
  if (!diff_.made()) {
    diff_ = cudnn::choose_backward_filter(name_, &lane_, 1, x_, y_,
        convolution_, filters_);
  }
  diff_.run([=](cudnnConvolutionBwdFilterAlgo_t algorithm, size_t bytes) {
    return cudnnConvolutionBackwardFilter(lane_->handle(),
        cudnn::dataType<Dtype>::one, x_, x, y_, dy, convolution_, algorithm,
        lane_->workspace(), bytes, cudnn::dataType<Dtype>::one, filters_,
        filters_diff);
  });
}

ptrdiff_t ImageOfX(const Convolution& shape) {
  return static_cast<ptrdiff_t>(shape.channels) * shape.height * shape.width;
}

}  // namespace

template <typename Dtype>
void Gpu::Convolve(const Convolution& shape, const Dtype* x,
    const Dtype* filters, Dtype* y) {
  const Convolution part = InOneCall(shape);
  for (int n = 0; n < shape.num; n += part.num) {
    Plan<Dtype>::Get(part)->Forward(x + n * ImageOfX(shape), filters,
        y + n * shape.y_image);
  }
}

template <typename Dtype>
void Gpu::ConvolveBackwardData(const Convolution& shape, const Dtype* dy,
    const Dtype* filters, Dtype* dx) {
  const Convolution part = InOneCall(shape);
  for (int n = 0; n < shape.num; n += part.num) {
    Plan<Dtype>::Get(part)->BackwardData(dy + n * shape.y_image, filters,
        dx + n * ImageOfX(shape));
  }
}

template <typename Dtype>
void Gpu::ConvolveBackwardFilters(const Convolution& shape, const Dtype* x,
    const Dtype* dy, Dtype* filters_diff) {
  const Convolution part = InOneCall(shape);
  for (int n = 0; n < shape.num; n += part.num) {
    Plan<Dtype>::Get(part)->BackwardFilters(x + n * ImageOfX(shape),
        dy + n * shape.y_image, filters_diff);
  }
}

#else

template <typename Dtype>
void Gpu::Convolve(const Convolution& shape, const Dtype* x,
    const Dtype* filters, Dtype* y) {
  ColumnsConvolution<Gpu, Dtype>(shape).Forward(x, filters, y);
}

template <typename Dtype>
void Gpu::ConvolveBackwardData(const Convolution& shape, const Dtype* dy,
    const Dtype* filters, Dtype* dx) {
  ColumnsConvolution<Gpu, Dtype>(shape).BackwardData(dy, filters, dx);
}

template <typename Dtype>
void Gpu::ConvolveBackwardFilters(const Convolution& shape, const Dtype* x,
    const Dtype* dy, Dtype* filters_diff) {
  ColumnsConvolution<Gpu, Dtype>(shape).BackwardFilters(x, dy, filters_diff);
}

#endif  // USE_CUDNN

#define INSTANTIATE_PRODUCTS(Dtype) \
  template void Gpu::Gemm<Dtype>(int, bool, bool, int, int, int, \
      const Dtype*, int, ptrdiff_t, const Dtype*, int, ptrdiff_t, Dtype, \
      Dtype*, int, ptrdiff_t); \
  template void Gpu::Convolve<Dtype>(const Convolution&, const Dtype*, \
      const Dtype*, Dtype*); \
  template void Gpu::ConvolveBackwardData<Dtype>(const Convolution&, \
      const Dtype*, const Dtype*, Dtype*); \
  template void Gpu::ConvolveBackwardFilters<Dtype>(const Convolution&, \
      const Dtype*, const Dtype*, Dtype*)

INSTANTIATE_PRODUCTS(float);
INSTANTIATE_PRODUCTS(double);

}  // namespace fused
}  // namespace caffe
