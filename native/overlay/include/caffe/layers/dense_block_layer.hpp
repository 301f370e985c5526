#ifndef CAFFE_DENSE_BLOCK_LAYER_HPP_
#define CAFFE_DENSE_BLOCK_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/util/normalization.hpp"
#include "caffe/util/preactivated_product.hpp"
#include "caffe/util/rows_convolution.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief A whole DenseBlock (Figure 2 of the DFCNet paper) in one layer.
 *
 * Bottoms (N x C_j x H x W), which are concatenated on the channels; one top
 * (N x (sum C_j + num_units growth_rate) x H x W), the input and all new
 * features. A unit is BatchNorm-Scale-ReLU-Conv 1x1, BatchNorm-Scale-ReLU-
 * Conv 3x3 on all features before it, as in the plain layers; its 12 blobs
 * stand in their order: mean, variance, count, gamma, beta, filters of the
 * first half, then of the second.
 *
 * The top is the only large memory: no unit copies the features. A feature's
 * mean and variance are computed once for all units that read it. Backward
 * computes a unit's 1x1 convolution (its bottleneck) again, unless
 * keep_bottlenecks is set, in scratch memory that all blocks share; its
 * gradient is collected in the top's diff, which it overwrites.
 */
template <typename Dtype>
class DenseBlockLayer : public Layer<Dtype> {
 public:
  explicit DenseBlockLayer(const LayerParameter& param)
      : Layer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "DenseBlock"; }
  virtual inline int MinBottomBlobs() const { return 1; }
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

  enum { kFilters1 = 5, kSecond = 6, kFilters2 = 11, kUnitBlobs = 12 };
  const Dtype* Filters(int unit, int which) {
    return this->blobs_[unit * kUnitBlobs + which]->cpu_data();
  }
  Dtype* FiltersDiff(int unit, int which);
  bool Learns(int unit, int first);
  int Width(int unit) const { return channels_ + unit * growth_; }
  int StripRows(size_t cache, size_t value_size) const;

  void ForwardByKept(int unit, Dtype* features);
  template <typename Row, typename Given>
  void ForwardStrips(int unit, Given filters, Dtype* features);
  template <typename Row>
  void ConvolveStrip(int unit, int image, int y, int count, const Row* rows,
      Dtype* features);
  void ForwardByBatch(int unit, Dtype* features);
  void Convolve(int unit, const Dtype* bottleneck, Dtype* features);
  void BackwardUnit(int unit, const Dtype* features, Dtype* diff);
  void BackwardBottleneck(int unit, const Dtype* bottleneck, Dtype* diff);

  // What the GPU does, for any device (fused_device.hpp).
  template <class Device>
  void ForwardOn(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  template <class Device>
  void BackwardOn(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);
  template <class Device>
  void ForwardByKeptOn(int unit, Dtype* features);
  template <class Device>
  void ForwardByBatchOn(int unit, Dtype* features);
  template <class Device>
  void BottleneckOn(int unit, const Dtype* features, Dtype* bottleneck);
  template <class Device>
  void BackwardUnitOn(int unit, const Dtype* features, Dtype* diff);
  template <class Device>
  void BackwardBottleneckOn(int unit, const Dtype* bottleneck,
      const Dtype* diff, Dtype* bottleneck_diff);
  template <class Device>
  Dtype* FiltersDiffOn(int unit, int which);

  int channels_;  // of all bottoms
  int units_, growth_, bottleneck_;
  int num_, height_, width_, pixels_;
  ptrdiff_t image_;  // values of the top per image
  vector<shared_ptr<Normalization<Dtype> > > first_, second_;  // of each unit
  Blob<Dtype> mean_, variance_;  // of each feature in this batch
  Blob<Dtype> offset_, slope_;   // what the units will subtract from its diff
  vector<shared_ptr<Blob<Dtype> > > kept_;  // bottlenecks, N x H x W x width
  shared_ptr<RowsConvolution<Dtype> > convolution_;
};

}  // namespace caffe

#endif  // CAFFE_DENSE_BLOCK_LAYER_HPP_
