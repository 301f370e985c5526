#ifdef USE_CUDNN

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "caffe/util/cudnn_lanes.hpp"

namespace caffe {
namespace cudnn {

// cuDNN's compiler finds its built-in functions by LD_LIBRARY_PATH, or if they
// are loaded, under a name with CUDA's version: loaded here from where CUDA's
// other libraries are; without them cuDNN still has what is compiled already.
static void* load_builtins() {
  int version = 0;
  if (cudaRuntimeGetVersion(&version) != cudaSuccess) { return NULL; }
  char name[64];
  snprintf(name, sizeof(name), "libnvrtc-builtins.so.%d.%d", version / 1000,
      version % 1000 / 10);
  return dlopen(name, RTLD_NOW);
}

static const void* const builtins = load_builtins();

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

cudnnHandle_t default_handle() {
  static thread_local std::map<int, cudnnHandle_t> handles;
  int device;
  CUDA_CHECK(cudaGetDevice(&device));
  cudnnHandle_t& handle = handles[device];
  if (!handle) { CUDNN_CHECK(cudnnCreate(&handle)); }
  return handle;
}

static size_t workspace_limit() {
  static const char* const asked = std::getenv("CAFFE_CUDNN_WORKSPACE_MB");
  const int megabytes = asked ? std::atoi(asked) : 256;
  return static_cast<size_t>(megabytes > 0 ? megabytes : 0) << 20;
}

template <typename Algorithm>
Choice<Algorithm>::Choice(const std::string& name, Lane* const* lanes,
    const int count, cudnnConvolutionDescriptor_t conv,
    const std::vector<Candidate>& candidates,
    const WorkspaceSize& workspace_size)
    : name_(name), lanes_(lanes, lanes + count), conv_(conv),
      candidates_(candidates), workspace_size_(workspace_size), bytes_(0) {
  CHECK(choose()) << "out of memory: cuDNN has no algorithm for " << name_
      << " without workspace, and none within the GPU's free memory and "
      << "CAFFE_CUDNN_WORKSPACE_MB, " << (workspace_limit() >> 20) << " MiB";
}

// By cuDNN's categories of answers: a shape, stride or type that an algorithm
// does not take. Nothing has been computed then.
template <typename Algorithm>
bool Choice<Algorithm>::refused(const cudnnStatus_t answer) {
  const int category = static_cast<int>(answer) / 1000 * 1000;
  return category == CUDNN_STATUS_NOT_SUPPORTED
      || category == CUDNN_STATUS_BAD_PARAM;
}

template <typename Algorithm>
bool Choice<Algorithm>::pass_over() {
  LOG(INFO) << "cuDNN: " << name_ << ": algorithm "
      << candidates_[0].algorithm << " refuses to run";
  candidates_.erase(candidates_.begin());
  return choose();
}

template <typename Algorithm>
bool Choice<Algorithm>::choose() {
  bool enough = choose_within(workspace_limit());
  for (size_t i = 0; enough && i < lanes_.size(); ++i) {
    enough = lanes_[i]->reserve(bytes_);
  }
  if (!enough && !choose_within(0)) { return false; }
  LOG(INFO) << "cuDNN: " << name_ << ": algorithm "
      << candidates_[0].algorithm << ", math " << candidates_[0].math << ", "
      << (bytes_ >> 10) << " KiB";
  return true;
}

// Puts the first whose workspace is within `limit` in front.
template <typename Algorithm>
bool Choice<Algorithm>::choose_within(const size_t limit) {
  for (size_t i = 0; i < candidates_.size(); ++i) {
    CUDNN_CHECK(cudnnSetConvolutionMathType(conv_, candidates_[i].math));
    if (workspace_size_(candidates_[i].algorithm, &bytes_)
        == CUDNN_STATUS_SUCCESS && bytes_ <= limit) {
      std::rotate(candidates_.begin(), candidates_.begin() + i,
          candidates_.begin() + i + 1);
      return true;
    }
  }
  return false;
}

// cuDNN's list is sorted by estimated time. Where the descriptor's math type
// lets cuDNN choose (TF32), an entry's own belongs to it; else it stays, and
// entries that are meant for another come later. The plain one is last.
template <typename Algorithm, typename Result>
static std::vector<typename Choice<Algorithm>::Candidate> in_order(
    const std::vector<Result>& results, cudnnConvolutionDescriptor_t conv,
    const Algorithm plain) {
  cudnnMathType_t math;
  CUDNN_CHECK(cudnnGetConvolutionMathType(conv, &math));
  const bool any = math == CUDNN_DEFAULT_MATH;
  std::vector<typename Choice<Algorithm>::Candidate> order;
  for (int pass = 0; pass < 4; ++pass) {
    const bool deterministic = pass < 2, fits = pass % 2 == 0;
    for (size_t i = 0; i < results.size(); ++i) {
      const Result& result = results[i];
      if (result.status == CUDNN_STATUS_SUCCESS
          && (result.determinism == CUDNN_DETERMINISTIC) == deterministic
          && (any || result.mathType == math) == fits) {
        order.push_back({result.algo, any ? result.mathType : math});
      }
    }
  }
  order.push_back({plain, math});
  return order;
}

Choice<cudnnConvolutionFwdAlgo_t> choose_forward(const std::string& name,
    Lane* const* lanes, const int count, cudnnTensorDescriptor_t in,
    cudnnFilterDescriptor_t filter, cudnnConvolutionDescriptor_t conv,
    cudnnTensorDescriptor_t out, const bool precomputed) {
  const cudnnHandle_t handle = lanes[0]->handle();
  int found = 0;
  std::vector<cudnnConvolutionFwdAlgoPerf_t> results(
      CUDNN_CONVOLUTION_FWD_ALGO_COUNT);
  CUDNN_CHECK(cudnnGetConvolutionForwardAlgorithm_v7(handle, in, filter, conv,
      out, results.size(), &found, &results[0]));
  results.resize(found);
  return Choice<cudnnConvolutionFwdAlgo_t>(name + ", forward", lanes, count,
      conv, in_order(results, conv, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM),
      [=](cudnnConvolutionFwdAlgo_t one, size_t* bytes) {
        if (!precomputed
            && one == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM) {
          return CUDNN_STATUS_NOT_SUPPORTED;
        }
        return cudnnGetConvolutionForwardWorkspaceSize(handle, in, filter,
            conv, out, one, bytes);
      });
}

Choice<cudnnConvolutionBwdFilterAlgo_t> choose_backward_filter(
    const std::string& name, Lane* const* lanes, const int count,
    cudnnTensorDescriptor_t in, cudnnTensorDescriptor_t out,
    cudnnConvolutionDescriptor_t conv, cudnnFilterDescriptor_t filter) {
  const cudnnHandle_t handle = lanes[0]->handle();
  int found = 0;
  std::vector<cudnnConvolutionBwdFilterAlgoPerf_t> results(
      CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT);
  CUDNN_CHECK(cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, in, out,
      conv, filter, results.size(), &found, &results[0]));
  results.resize(found);
  return Choice<cudnnConvolutionBwdFilterAlgo_t>(name + ", backward to filters",
      lanes, count, conv,
      in_order(results, conv, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0),
      [=](cudnnConvolutionBwdFilterAlgo_t one, size_t* bytes) {
        return cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, in, out,
            conv, filter, one, bytes);
      });
}

Choice<cudnnConvolutionBwdDataAlgo_t> choose_backward_data(
    const std::string& name, Lane* const* lanes, const int count,
    cudnnFilterDescriptor_t filter, cudnnTensorDescriptor_t out,
    cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t in) {
  const cudnnHandle_t handle = lanes[0]->handle();
  int found = 0;
  std::vector<cudnnConvolutionBwdDataAlgoPerf_t> results(
      CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT);
  CUDNN_CHECK(cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, filter, out,
      conv, in, results.size(), &found, &results[0]));
  results.resize(found);
  return Choice<cudnnConvolutionBwdDataAlgo_t>(name + ", backward to data",
      lanes, count, conv,
      in_order(results, conv, CUDNN_CONVOLUTION_BWD_DATA_ALGO_0),
      [=](cudnnConvolutionBwdDataAlgo_t one, size_t* bytes) {
        return cudnnGetConvolutionBackwardDataWorkspaceSize(handle, filter,
            out, conv, in, one, bytes);
      });
}

template class Choice<cudnnConvolutionFwdAlgo_t>;
template class Choice<cudnnConvolutionBwdFilterAlgo_t>;
template class Choice<cudnnConvolutionBwdDataAlgo_t>;

}  // namespace cudnn
}  // namespace caffe

#endif  // USE_CUDNN
