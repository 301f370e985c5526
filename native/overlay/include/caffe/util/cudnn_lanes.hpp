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

// A handle on the default stream, on the current GPU, of this thread: for the
// layers that are no convolutions. It lives as long as a lane.
cudnnHandle_t default_handle();

// Choose an algorithm, make the workspace of each of the `count` lanes large
// enough for it, and return the bytes of workspace that it takes. It is the
// fastest, by cuDNN's own estimate, that takes no more than 256 MiB, or
// CAFFE_CUDNN_WORKSPACE_MB: of the deterministic ones if there is one, so that
// the same numbers come out of every run. Where memory is short, it is one
// that needs no workspace. `precomputed`: IMPLICIT_PRECOMP_GEMM may be it.
size_t choose_forward(Lane* const* lanes, int count,
    cudnnTensorDescriptor_t in, cudnnFilterDescriptor_t filter,
    cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t out,
    cudnnConvolutionFwdAlgo_t* algorithm, bool precomputed = true);
size_t choose_backward_filter(Lane* const* lanes, int count,
    cudnnTensorDescriptor_t in, cudnnTensorDescriptor_t out,
    cudnnConvolutionDescriptor_t conv, cudnnFilterDescriptor_t filter,
    cudnnConvolutionBwdFilterAlgo_t* algorithm);
size_t choose_backward_data(Lane* const* lanes, int count,
    cudnnFilterDescriptor_t filter, cudnnTensorDescriptor_t out,
    cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t in,
    cudnnConvolutionBwdDataAlgo_t* algorithm);

}  // namespace cudnn
}  // namespace caffe

#endif  // USE_CUDNN

#endif  // CAFFE_CUDNN_LANES_HPP_
