#ifndef CAFFE_CUDNN_LANES_HPP_
#define CAFFE_CUDNN_LANES_HPP_

#ifdef USE_CUDNN

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

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

// Which of cuDNN's algorithms computes one direction of a convolution, and in
// what workspace, which each of its lanes has. It is the fastest, by cuDNN's own
// estimate, that takes no more than 256 MiB, or CAFFE_CUDNN_WORKSPACE_MB: of
// the deterministic ones if there is one, so that the same numbers come out of
// every run. Where memory is short, it is one that needs no workspace. One that
// refuses to run is passed over for the next. Each choice is an INFO line.
template <typename Algorithm>
class Choice {
 public:
  typedef std::function<cudnnStatus_t(Algorithm, size_t*)> WorkspaceSize;
  struct Candidate {
    Algorithm algorithm;
    cudnnMathType_t math;
  };

  Choice() {}
  // `candidates` in the order in which to try them; `workspace_size` asks
  // cuDNN, which refuses what does not work. `name` is for messages.
  Choice(const std::string& name, Lane* const* lanes, int count,
      cudnnConvolutionDescriptor_t conv,
      const std::vector<Candidate>& candidates,
      const WorkspaceSize& workspace_size);

  bool made() const { return !lanes_.empty(); }
  // Calls cuDNN: `execute(algorithm, bytes)` returns its answer.
  template <typename Execute>
  void run(const Execute& execute) {
    cudnnStatus_t answer;
    do {
      CUDNN_CHECK(cudnnSetConvolutionMathType(conv_, candidates_[0].math));
      answer = execute(candidates_[0].algorithm, bytes_);
    } while (refused(answer) && pass_over());
    CUDNN_CHECK(answer);
  }

 private:
  static bool refused(cudnnStatus_t answer);
  bool pass_over();
  bool choose();
  bool choose_within(size_t limit);

  std::string name_;
  std::vector<Lane*> lanes_;
  cudnnConvolutionDescriptor_t conv_;
  std::vector<Candidate> candidates_;  // the first is the one
  WorkspaceSize workspace_size_;
  size_t bytes_;
};

// `precomputed`: IMPLICIT_PRECOMP_GEMM may be it.
Choice<cudnnConvolutionFwdAlgo_t> choose_forward(const std::string& name,
    Lane* const* lanes, int count, cudnnTensorDescriptor_t in,
    cudnnFilterDescriptor_t filter, cudnnConvolutionDescriptor_t conv,
    cudnnTensorDescriptor_t out, bool precomputed = true);
Choice<cudnnConvolutionBwdFilterAlgo_t> choose_backward_filter(
    const std::string& name, Lane* const* lanes, int count,
    cudnnTensorDescriptor_t in, cudnnTensorDescriptor_t out,
    cudnnConvolutionDescriptor_t conv, cudnnFilterDescriptor_t filter);
Choice<cudnnConvolutionBwdDataAlgo_t> choose_backward_data(
    const std::string& name, Lane* const* lanes, int count,
    cudnnFilterDescriptor_t filter, cudnnTensorDescriptor_t out,
    cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t in);

}  // namespace cudnn
}  // namespace caffe

#endif  // USE_CUDNN

#endif  // CAFFE_CUDNN_LANES_HPP_
