// As much of CUDA, cuDNN and glog as cudnn_lanes.cpp needs to be tried without a GPU.
#ifndef FAKE_CUDNN_HPP_
#define FAKE_CUDNN_HPP_

#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <map>
#include <vector>

enum cudnnStatus_t {
  CUDNN_STATUS_SUCCESS = 0,
  CUDNN_STATUS_BAD_PARAM = 2000,
  CUDNN_STATUS_NOT_SUPPORTED = 3000,
  CUDNN_STATUS_NOT_SUPPORTED_LAYOUT = 3003,
  CUDNN_STATUS_EXECUTION_FAILED = 5000
};
enum cudnnDeterminism_t { CUDNN_NON_DETERMINISTIC = 0, CUDNN_DETERMINISTIC = 1 };
enum cudnnMathType_t { CUDNN_DEFAULT_MATH = 0, CUDNN_TENSOR_OP_MATH = 1, CUDNN_FMA_MATH = 3 };
enum cudnnConvolutionFwdAlgo_t {
  CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM = 0,
  CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM = 1,
  CUDNN_CONVOLUTION_FWD_ALGO_COUNT = 8
};
enum cudnnConvolutionBwdFilterAlgo_t {
  CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 = 0,
  CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT = 7
};
enum cudnnConvolutionBwdDataAlgo_t {
  CUDNN_CONVOLUTION_BWD_DATA_ALGO_0 = 0,
  CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT = 6
};
typedef struct Handle* cudnnHandle_t;
typedef struct Tensor* cudnnTensorDescriptor_t;
typedef struct Filter* cudnnFilterDescriptor_t;
typedef struct Convolution* cudnnConvolutionDescriptor_t;
typedef struct Stream* cudaStream_t;
enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2 };

template <typename Algorithm>
struct Perf {
  Algorithm algo;
  cudnnStatus_t status;
  size_t memory;
  cudnnDeterminism_t determinism;
  cudnnMathType_t mathType;
};
typedef Perf<cudnnConvolutionFwdAlgo_t> cudnnConvolutionFwdAlgoPerf_t;
typedef Perf<cudnnConvolutionBwdFilterAlgo_t> cudnnConvolutionBwdFilterAlgoPerf_t;
typedef Perf<cudnnConvolutionBwdDataAlgo_t> cudnnConvolutionBwdDataAlgoPerf_t;

// What the fakes answer.
struct Entry { int algorithm, deterministic, math; };
inline std::vector<Entry> listed;
inline std::map<int, int> megabytes;  // of workspace by algorithm; without one, it is refused
inline size_t free_bytes;
inline cudnnMathType_t math = CUDNN_FMA_MATH;  // of the convolution

template <typename Algorithm>
cudnnStatus_t list(int size, int* count, Perf<Algorithm>* results) {
  for (*count = 0; *count < size && *count < static_cast<int>(listed.size()); ++*count) {
    const Entry& entry = listed[*count];
    results[*count] = {Algorithm(entry.algorithm), CUDNN_STATUS_SUCCESS, 0,
        cudnnDeterminism_t(entry.deterministic), cudnnMathType_t(entry.math)};
  }
  return CUDNN_STATUS_SUCCESS;
}

inline cudnnStatus_t workspace(int algorithm, size_t* bytes) {
  if (!megabytes.count(algorithm)) { return CUDNN_STATUS_NOT_SUPPORTED; }
  *bytes = size_t(megabytes[algorithm]) << 20;
  return CUDNN_STATUS_SUCCESS;
}

#define FAKE_DIRECTION(List, Size, Algorithm, A, B, C, D) \
  inline cudnnStatus_t List(cudnnHandle_t, A, B, C, D, int size, int* count, Perf<Algorithm>* results) { \
    return list(size, count, results); \
  } \
  inline cudnnStatus_t Size(cudnnHandle_t, A, B, C, D, Algorithm algorithm, size_t* bytes) { \
    return workspace(algorithm, bytes); \
  }
FAKE_DIRECTION(cudnnGetConvolutionForwardAlgorithm_v7, cudnnGetConvolutionForwardWorkspaceSize,
    cudnnConvolutionFwdAlgo_t, cudnnTensorDescriptor_t, cudnnFilterDescriptor_t, cudnnConvolutionDescriptor_t,
    cudnnTensorDescriptor_t)
FAKE_DIRECTION(cudnnGetConvolutionBackwardFilterAlgorithm_v7, cudnnGetConvolutionBackwardFilterWorkspaceSize,
    cudnnConvolutionBwdFilterAlgo_t, cudnnTensorDescriptor_t, cudnnTensorDescriptor_t,
    cudnnConvolutionDescriptor_t, cudnnFilterDescriptor_t)
FAKE_DIRECTION(cudnnGetConvolutionBackwardDataAlgorithm_v7, cudnnGetConvolutionBackwardDataWorkspaceSize,
    cudnnConvolutionBwdDataAlgo_t, cudnnFilterDescriptor_t, cudnnTensorDescriptor_t,
    cudnnConvolutionDescriptor_t, cudnnTensorDescriptor_t)

inline cudnnStatus_t cudnnGetConvolutionMathType(cudnnConvolutionDescriptor_t, cudnnMathType_t* type) {
  *type = math;
  return CUDNN_STATUS_SUCCESS;
}
inline cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t, cudnnMathType_t type) {
  math = type;
  return CUDNN_STATUS_SUCCESS;
}
inline cudnnStatus_t cudnnCreate(cudnnHandle_t*) { return CUDNN_STATUS_SUCCESS; }
inline cudnnStatus_t cudnnSetStream(cudnnHandle_t, cudaStream_t) { return CUDNN_STATUS_SUCCESS; }
inline cudaError_t cudaStreamCreate(cudaStream_t*) { return cudaSuccess; }
inline cudaError_t cudaGetDevice(int* device) { *device = 0; return cudaSuccess; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaRuntimeGetVersion(int* version) { *version = 13000; return cudaSuccess; }
inline cudaError_t cudaFree(void*) { return cudaSuccess; }
inline cudaError_t cudaMalloc(void** memory, size_t bytes) {
  if (bytes > free_bytes) { return cudaErrorMemoryAllocation; }
  free_bytes -= bytes;
  *memory = std::malloc(1);
  return cudaSuccess;
}

struct Fatal {
  template <typename T>
  Fatal& operator<<(const T& words) { std::cerr << words; return *this; }
  ~Fatal() { std::cerr << std::endl; std::exit(1); }
};
#define CHECK(condition) if (!(condition)) Fatal()
#define CUDA_CHECK(call) CHECK((call) == cudaSuccess)
#define CUDNN_CHECK(call) \
  do { \
    const cudnnStatus_t status = call; \
    CHECK(status == CUDNN_STATUS_SUCCESS) << "cuDNN answers " << status; \
  } while (0)
#define LOG(severity) std::clog

#endif  // FAKE_CUDNN_HPP_
