#ifndef CAFFE_BN_RELU_DEVICE_HPP_
#define CAFFE_BN_RELU_DEVICE_HPP_

#include <vector>

#include "caffe/layers/bn_relu_layer.hpp"
#include "caffe/util/fused_device.hpp"
#include "caffe/util/normalization_device.hpp"

namespace caffe {

template <typename Dtype>
template <class Device>
void BNReLULayer<Dtype>::ForwardOn(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const ptrdiff_t image = static_cast<ptrdiff_t>(channels_) * pixels_;
  const fused::Stack<const Dtype> x = {Device::Data(*bottom[0]), image,
      pixels_};
  if (norm_.by_batch()) {
    Dtype* mean = Device::MutableData(&mean_);
    Dtype* variance = Device::MutableData(&variance_);
    fused::ChannelMoments<Device, Dtype>(x, num_, channels_, pixels_, mean,
        variance);
    norm_.template UseBatchOn<Device>(mean, variance, num_ * pixels_);
  } else {
    norm_.template UseKeptOn<Device>();
  }
  const fused::Activate<Dtype> kernel = {channels_,
      Device::Data(norm_.scale()), Device::Data(norm_.shift()), x,
      {Device::MutableData(top[0]), image, pixels_}};
  Device::Planes(num_ * channels_, pixels_, kernel);
}

template <typename Dtype>
template <class Device>
void BNReLULayer<Dtype>::BackwardOn(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  const ptrdiff_t image = static_cast<ptrdiff_t>(channels_) * pixels_;
  const fused::Stack<const Dtype> x = {Device::Data(*bottom[0]), image,
      pixels_};
  const fused::Stack<const Dtype> dy = {Device::Diff(*top[0]), image, pixels_};
  const fused::Stack<Dtype> dx = {
      propagate_down[0] ? Device::MutableDiff(bottom[0]) : NULL, image,
      pixels_};
  const Dtype* centre = Device::Data(norm_.centre());
  const int parts = num_ * fused::Parts(pixels_);
  fused::Sums* partials = Device::template Scratch<fused::Sums>(fused::SUMS,
      static_cast<size_t>(channels_) * parts);
  const fused::PartBackward<Dtype> kernel = {Device::Data(norm_.scale()),
      Device::Data(norm_.shift()), centre, x, dy, false, dx, pixels_};
  Device::Partials(channels_, parts, kernel, partials, parts);
  Dtype* offset = Device::MutableData(&offset_);
  Dtype* slope = Device::MutableData(&slope_);
  norm_.template BackwardOn<Device>(partials, parts, num_ * pixels_,
      this->param_propagate_down_[3] || this->param_propagate_down_[4], false,
      offset, slope);
  if (!norm_.by_batch() || !propagate_down[0]) { return; }
  const fused::Correct<Dtype> correct = {channels_, offset, slope, centre, x,
      dx};
  Device::Planes(num_ * channels_, pixels_, correct);
}

}  // namespace caffe

#endif  // CAFFE_BN_RELU_DEVICE_HPP_
