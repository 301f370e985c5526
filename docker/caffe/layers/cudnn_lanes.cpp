#ifdef USE_CUDNN

#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

#include "caffe/layers/cudnn_lanes.hpp"

namespace caffe {
namespace cudnn {

Lane::Lane() : workspace_(NULL), size_(0) {
  CUDA_CHECK(cudaStreamCreate(&stream_));
  CUDNN_CHECK(cudnnCreate(&handle_));
  CUDNN_CHECK(cudnnSetStream(handle_, stream_));
}

Lane* Lane::get(const int number) {
  static thread_local std::map<std::pair<int, int>, Lane*> lanes;
  int device;
  CUDA_CHECK(cudaGetDevice(&device));
  Lane*& lane = lanes[std::make_pair(device, number)];
  if (!lane) { lane = new Lane(); }
  return lane;
}

bool Lane::reserve(const size_t bytes) {
  if (bytes <= size_) { return true; }
  const size_t rounded = (bytes + 255) / 256 * 256;
  void* larger = NULL;
  if (cudaMalloc(&larger, rounded) != cudaSuccess) {
    cudaGetLastError();  // or the next check would find it
    return false;
  }
  CUDA_CHECK(cudaFree(workspace_));  // waits for kernels that use it
  workspace_ = larger;
  size_ = rounded;
  return true;
}

size_t workspace_limit() {
  static const char* const asked = std::getenv("CAFFE_CUDNN_WORKSPACE_MB");
  const int megabytes = asked ? std::atoi(asked) : 256;
  return static_cast<size_t>(megabytes > 0 ? megabytes : 0) << 20;
}

// The first that fits of cuDNN's list, which is sorted by estimated time; if
// none does, the plain algorithm, which needs no workspace.
template <typename Result, typename Algorithm>
static Algorithm first_that_fits(const std::vector<Result>& results,
    const size_t limit, const Algorithm plain) {
  for (int any = 0; any < 2; ++any) {
    for (int i = 0; i < results.size(); ++i) {
      if (results[i].status == CUDNN_STATUS_SUCCESS
          && results[i].memory <= limit
          && (any || results[i].determinism == CUDNN_DETERMINISTIC)) {
        return results[i].algo;
      }
    }
  }
  return plain;
}

cudnnConvolutionFwdAlgo_t forward_algorithm(cudnnHandle_t handle,
    cudnnTensorDescriptor_t in, cudnnFilterDescriptor_t filter,
    cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t out,
    const size_t limit) {
  int count = 0;
  std::vector<cudnnConvolutionFwdAlgoPerf_t> results(
      CUDNN_CONVOLUTION_FWD_ALGO_COUNT);
  CUDNN_CHECK(cudnnGetConvolutionForwardAlgorithm_v7(handle, in, filter, conv,
      out, results.size(), &count, &results[0]));
  results.resize(count);
  return first_that_fits(results, limit,
      CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM);
}

cudnnConvolutionBwdFilterAlgo_t backward_filter_algorithm(cudnnHandle_t handle,
    cudnnTensorDescriptor_t in, cudnnTensorDescriptor_t out,
    cudnnConvolutionDescriptor_t conv, cudnnFilterDescriptor_t filter,
    const size_t limit) {
  int count = 0;
  std::vector<cudnnConvolutionBwdFilterAlgoPerf_t> results(
      CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT);
  CUDNN_CHECK(cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, in, out,
      conv, filter, results.size(), &count, &results[0]));
  results.resize(count);
  return first_that_fits(results, limit, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0);
}

cudnnConvolutionBwdDataAlgo_t backward_data_algorithm(cudnnHandle_t handle,
    cudnnFilterDescriptor_t filter, cudnnTensorDescriptor_t out,
    cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t in,
    const size_t limit) {
  int count = 0;
  std::vector<cudnnConvolutionBwdDataAlgoPerf_t> results(
      CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT);
  CUDNN_CHECK(cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, filter, out,
      conv, in, results.size(), &count, &results[0]));
  results.resize(count);
  return first_that_fits(results, limit, CUDNN_CONVOLUTION_BWD_DATA_ALGO_0);
}

}  // namespace cudnn
}  // namespace caffe

#endif  // USE_CUDNN
