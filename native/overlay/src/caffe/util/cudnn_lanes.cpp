#ifdef USE_CUDNN

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <map>
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

static bool reserve(Lane* const* lanes, const int count, const size_t bytes) {
  bool enough = true;
  for (int i = 0; i < count; ++i) {
    enough = lanes[i]->reserve(bytes) && enough;
  }
  return enough;
}

// The algorithms in the order in which to try them. cuDNN's list is sorted by
// estimated time; an entry that is meant for another math type than the
// descriptor's may not work with it. The plain one is last.
template <typename Algorithm, typename Result>
static std::vector<Algorithm> in_order(const std::vector<Result>& results,
    cudnnConvolutionDescriptor_t conv, const Algorithm plain) {
  cudnnMathType_t math;
  CUDNN_CHECK(cudnnGetConvolutionMathType(conv, &math));
  std::vector<Algorithm> order;
  for (int pass = 0; pass < 4; ++pass) {
    const bool deterministic = pass < 2, same_math = pass % 2 == 0;
    for (int i = 0; i < results.size(); ++i) {
      if (results[i].status == CUDNN_STATUS_SUCCESS
          && (results[i].determinism == CUDNN_DETERMINISTIC) == deterministic
          && (results[i].mathType == math) == same_math) {
        order.push_back(results[i].algo);
      }
    }
  }
  order.push_back(plain);
  return order;
}

// The first whose workspace is within `limit`: false if none is.
// `workspace_size` asks cuDNN, which refuses what does not work.
template <typename Algorithm, typename WorkspaceSize>
static bool first_that_fits(const std::vector<Algorithm>& order,
    const WorkspaceSize& workspace_size, const size_t limit,
    Algorithm* algorithm, size_t* bytes) {
  for (int i = 0; i < order.size(); ++i) {
    if (workspace_size(order[i], bytes) == CUDNN_STATUS_SUCCESS
        && *bytes <= limit) {
      *algorithm = order[i];
      return true;
    }
  }
  return false;
}

template <typename Algorithm, typename WorkspaceSize>
static size_t choose(Lane* const* lanes, const int count,
    const std::vector<Algorithm>& order, const WorkspaceSize& workspace_size,
    Algorithm* algorithm) {
  size_t bytes = 0;
  if (first_that_fits(order, workspace_size, workspace_limit(), algorithm,
      &bytes) && reserve(lanes, count, bytes)) {
    return bytes;
  }
  CHECK(first_that_fits(order, workspace_size, 0, algorithm, &bytes))
      << "out of memory: cuDNN has no algorithm for a convolution without "
      << "workspace, and none within the GPU's free memory and "
      << "CAFFE_CUDNN_WORKSPACE_MB, " << (workspace_limit() >> 20) << " MiB";
  return 0;
}

size_t choose_forward(Lane* const* lanes, const int count,
    cudnnTensorDescriptor_t in, cudnnFilterDescriptor_t filter,
    cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t out,
    cudnnConvolutionFwdAlgo_t* algorithm, const bool precomputed) {
  const cudnnHandle_t handle = lanes[0]->handle();
  int found = 0;
  std::vector<cudnnConvolutionFwdAlgoPerf_t> results(
      CUDNN_CONVOLUTION_FWD_ALGO_COUNT);
  CUDNN_CHECK(cudnnGetConvolutionForwardAlgorithm_v7(handle, in, filter, conv,
      out, results.size(), &found, &results[0]));
  results.resize(found);
  return choose(lanes, count,
      in_order(results, conv, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM),
      [=](cudnnConvolutionFwdAlgo_t one, size_t* bytes) {
        if (!precomputed
            && one == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM) {
          return CUDNN_STATUS_NOT_SUPPORTED;
        }
        return cudnnGetConvolutionForwardWorkspaceSize(handle, in, filter,
            conv, out, one, bytes);
      }, algorithm);
}

size_t choose_backward_filter(Lane* const* lanes, const int count,
    cudnnTensorDescriptor_t in, cudnnTensorDescriptor_t out,
    cudnnConvolutionDescriptor_t conv, cudnnFilterDescriptor_t filter,
    cudnnConvolutionBwdFilterAlgo_t* algorithm) {
  const cudnnHandle_t handle = lanes[0]->handle();
  int found = 0;
  std::vector<cudnnConvolutionBwdFilterAlgoPerf_t> results(
      CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT);
  CUDNN_CHECK(cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, in, out,
      conv, filter, results.size(), &found, &results[0]));
  results.resize(found);
  return choose(lanes, count,
      in_order(results, conv, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0),
      [=](cudnnConvolutionBwdFilterAlgo_t one, size_t* bytes) {
        return cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, in, out,
            conv, filter, one, bytes);
      }, algorithm);
}

size_t choose_backward_data(Lane* const* lanes, const int count,
    cudnnFilterDescriptor_t filter, cudnnTensorDescriptor_t out,
    cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t in,
    cudnnConvolutionBwdDataAlgo_t* algorithm) {
  const cudnnHandle_t handle = lanes[0]->handle();
  int found = 0;
  std::vector<cudnnConvolutionBwdDataAlgoPerf_t> results(
      CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT);
  CUDNN_CHECK(cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, filter, out,
      conv, in, results.size(), &found, &results[0]));
  results.resize(found);
  return choose(lanes, count,
      in_order(results, conv, CUDNN_CONVOLUTION_BWD_DATA_ALGO_0),
      [=](cudnnConvolutionBwdDataAlgo_t one, size_t* bytes) {
        return cudnnGetConvolutionBackwardDataWorkspaceSize(handle, filter,
            out, conv, in, one, bytes);
      }, algorithm);
}

}  // namespace cudnn
}  // namespace caffe

#endif  // USE_CUDNN
