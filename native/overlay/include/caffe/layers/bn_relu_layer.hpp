#ifndef CAFFE_BN_RELU_LAYER_HPP_
#define CAFFE_BN_RELU_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/util/normalization.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief BatchNorm, Scale and ReLU in one pass, as after the stem.
 *
 * Bottom and top (N x C x H x W), not in place: backward needs the input.
 * Blobs: mean, variance, count, gamma, beta.
 */
template <typename Dtype>
class BNReLULayer : public Layer<Dtype> {
 public:
  explicit BNReLULayer(const LayerParameter& param) : Layer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "BNReLU"; }
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

  int num_, channels_, pixels_;
  Normalization<Dtype> norm_;
  Blob<Dtype> mean_, variance_;  // of this batch
  Blob<Dtype> offset_, slope_;   // what the batch's statistics take away
};

}  // namespace caffe

#endif  // CAFFE_BN_RELU_LAYER_HPP_
