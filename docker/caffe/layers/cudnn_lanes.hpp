#ifndef CAFFE_CUDNN_LANES_HPP_
#define CAFFE_CUDNN_LANES_HPP_

#ifdef USE_CUDNN

#include <cstddef>

#include "caffe/util/cudnn.hpp"

namespace caffe {
namespace cudnn {

// What the convolutions of a net share: a stream, a cuDNN handle on it, and a
// workspace. BVLC gave each layer three of each, which for a few hundred
// convolutions is gigabytes. Layers run one after another and are in step
// through the default stream, so that one set serves all of them. A lane lives
// as long as the process: at its end CUDA may be gone before it.
class Lane {
 public:
  // The lane of this number on the current GPU, of this thread.
  static Lane* get(int number);

  cudnnHandle_t handle() const { return handle_; }
  void* workspace() const { return workspace_; }
  // Makes the workspace at least this large; false if there is no memory for it.
  bool reserve(size_t bytes);

 private:
  Lane();

  cudaStream_t stream_;
  cudnnHandle_t handle_;
  void* workspace_;
  size_t size_;
};

// Bytes that a convolution may take as workspace: 256 MiB, or
// CAFFE_CUDNN_WORKSPACE_MB.
size_t workspace_limit();

// The fastest algorithm, by cuDNN's own estimate, whose workspace fits into
// `limit` bytes: of the deterministic ones if there is one, so that the same
// numbers come out of every run.
cudnnConvolutionFwdAlgo_t forward_algorithm(cudnnHandle_t handle,
    cudnnTensorDescriptor_t in, cudnnFilterDescriptor_t filter,
    cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t out,
    size_t limit);
cudnnConvolutionBwdFilterAlgo_t backward_filter_algorithm(cudnnHandle_t handle,
    cudnnTensorDescriptor_t in, cudnnTensorDescriptor_t out,
    cudnnConvolutionDescriptor_t conv, cudnnFilterDescriptor_t filter,
    size_t limit);
cudnnConvolutionBwdDataAlgo_t backward_data_algorithm(cudnnHandle_t handle,
    cudnnFilterDescriptor_t filter, cudnnTensorDescriptor_t out,
    cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t in,
    size_t limit);

}  // namespace cudnn
}  // namespace caffe

#endif  // USE_CUDNN

#endif  // CAFFE_CUDNN_LANES_HPP_
