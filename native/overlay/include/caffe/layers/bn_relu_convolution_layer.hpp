#ifndef CAFFE_BN_RELU_CONVOLUTION_LAYER_HPP_
#define CAFFE_BN_RELU_CONVOLUTION_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/util/normalization.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief BatchNorm, Scale, ReLU and a 1x1 convolution in one pass, as before
 *        transitions, dense fusion and scores.
 *
 * Bottom (N x C x H x W), top (N x num_output x H x W). Blobs: mean, variance,
 * count, gamma, beta, filters (num_output x C x 1 x 1), and with bias_term the
 * bias (num_output). The activations are not stored.
 */
template <typename Dtype>
class BNReLUConvolutionLayer : public Layer<Dtype> {
 public:
  explicit BNReLUConvolutionLayer(const LayerParameter& param)
      : Layer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "BNReLUConvolution"; }
  virtual inline int ExactNumBottomBlobs() const { return 1; }
  virtual inline int ExactNumTopBlobs() const { return 1; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);

  // What the GPU does, for any device (fused_device.hpp).
  template <class Device>
  void ForwardOn(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  template <class Device>
  void BackwardOn(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);

  enum { kFilters = 5, kBias = 6 };

  int num_, channels_, outputs_, pixels_;
  bool bias_;
  Normalization<Dtype> norm_;
  Blob<Dtype> mean_, variance_;    // of this batch
  Blob<Dtype> offset_, slope_;     // what the batch's statistics take away
};

}  // namespace caffe

#endif  // CAFFE_BN_RELU_CONVOLUTION_LAYER_HPP_
