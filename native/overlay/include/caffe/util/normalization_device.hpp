#ifndef CAFFE_NORMALIZATION_DEVICE_HPP_
#define CAFFE_NORMALIZATION_DEVICE_HPP_

#include "caffe/util/normalization.hpp"
#include "caffe/util/normalization_kernels.hpp"

namespace caffe {

template <typename Dtype>
template <class Device>
fused::Map<Dtype> Normalization<Dtype>::MapOn() {
  const fused::Map<Dtype> map = {eps_, Device::Data(*gamma_),
      Device::Data(*beta_), Device::MutableData(&centre_),
      Device::MutableData(&inverse_), Device::MutableData(&scale_),
      Device::MutableData(&shift_)};
  return map;
}

template <typename Dtype>
template <class Device>
void Normalization<Dtype>::UseBatchOn(const Dtype* mean, const Dtype* variance,
    int count) {
  const Dtype unbiased = count > 1 ? Dtype(count) / (count - 1) : Dtype(1);
  const fused::UseBatch<Dtype> kernel = {MapOn<Device>(), mean, variance,
      fraction_, unbiased, Device::MutableData(count_),
      Device::MutableData(mean_), Device::MutableData(variance_)};
  Device::Channels(channels(), kernel);
}

template <typename Dtype>
template <class Device>
void Normalization<Dtype>::UseKeptOn() {
  const fused::UseKept<Dtype> kernel = {MapOn<Device>(),
      Device::Data(*count_), Device::Data(*mean_), Device::Data(*variance_)};
  Device::Channels(channels(), kernel);
}

template <typename Dtype>
template <class Device>
void Normalization<Dtype>::BackwardOn(const fused::Sums* partials, int parts,
    int count, bool learn, bool add, Dtype* offset, Dtype* slope) {
  const fused::NormalizationBackward<Dtype> kernel = {partials, parts,
      by_batch_ ? 1. / count : 0., Device::Data(inverse_),
      Device::Data(scale_), learn ? Device::MutableDiff(gamma_) : NULL,
      learn ? Device::MutableDiff(beta_) : NULL, add, offset, slope};
  Device::Channels(channels(), kernel);
}

}  // namespace caffe

#endif  // CAFFE_NORMALIZATION_DEVICE_HPP_
