#ifndef CAFFE_NORMALIZATION_HPP_
#define CAFFE_NORMALIZATION_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

namespace fused {
template <typename Dtype> struct Map;
struct Sums;
}  // namespace fused

/**
 * @brief A BatchNorm with its Scale as one map y = scale x + shift per channel.
 *
 * Its five learnt blobs are those of Caffe's BatchNorm and Scale layers: sums
 * of mean and of variance (C) and how much was summed (1), gamma and beta (C);
 * so the running statistics are kept as BatchNorm keeps them. Several
 * normalizations may be given the same batch statistics: a feature's mean and
 * variance do not depend on who reads it.
 */
template <typename Dtype>
class Normalization {
 public:
  static const int kBlobs = 5;

  /// Appends the five blobs to a layer's: gamma 1, all others 0.
  static void AddBlobs(int channels, vector<shared_ptr<Blob<Dtype> > >* blobs);
  /// Stops the solver from changing the statistics at blobs first..first+2.
  static void FixStatistics(int first, LayerParameter* param);

  /// Takes the blobs first..first+4 of a layer, which stay the layer's.
  void SetUp(const BatchNormParameter& param, Phase phase,
      const vector<shared_ptr<Blob<Dtype> > >& blobs, int first);
  int channels() const { return gamma_->count(); }
  /// Whether statistics are the batch's; else those that were kept.
  bool by_batch() const { return by_batch_; }

  /// Sets the map from a batch's mean and variance over `count` values, and
  /// adds them to the running statistics.
  void UseBatch(const Dtype* mean, const Dtype* variance, int count);
  /// Sets the map from the statistics that were kept.
  void UseKept();
  /// From the sums over all values of d and of d (x - centre), d being the
  /// gradient of y: adds the gradients of gamma and beta, and gives what is to
  /// be subtracted from scale d to get the gradient of x,
  /// offset + slope (x - centre); both are 0 for kept statistics.
  void Backward(const double* sum, const double* product, int count,
      bool learn, Dtype* offset, Dtype* slope);

  // The CPU has its own, in BNReLU too: it adds blocks of 4096 values in its
  // vectors' order, a device parts of 8192 as a tree: bits of the sums differ.
  /// The same on a device (fused_device.hpp), whose memory the pointers are
  /// in; the sums are `parts` for each channel, offset and slope may be added.
  template <class Device>
  void UseBatchOn(const Dtype* mean, const Dtype* variance, int count);
  template <class Device>
  void UseKeptOn();
  template <class Device>
  void BackwardOn(const fused::Sums* partials, int parts, int count,
      bool learn, bool add, Dtype* offset, Dtype* slope);

  // (C) each, of the last UseBatch or UseKept.
  const Blob<Dtype>& scale() const { return scale_; }
  const Blob<Dtype>& shift() const { return shift_; }
  const Blob<Dtype>& centre() const { return centre_; }

 protected:
  void SetMap();
  template <class Device>
  fused::Map<Dtype> MapOn();

  Blob<Dtype> *mean_, *variance_, *count_, *gamma_, *beta_;
  bool by_batch_;
  Dtype fraction_, eps_;
  Blob<Dtype> scale_, shift_, centre_;
  Blob<Dtype> inverse_;  // 1 / sqrt(variance + eps)
};

}  // namespace caffe

#endif  // CAFFE_NORMALIZATION_HPP_
