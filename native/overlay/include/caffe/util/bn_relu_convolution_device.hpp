#ifndef CAFFE_BN_RELU_CONVOLUTION_DEVICE_HPP_
#define CAFFE_BN_RELU_CONVOLUTION_DEVICE_HPP_

#include <algorithm>
#include <vector>

#include "caffe/layers/bn_relu_convolution_layer.hpp"
#include "caffe/util/fused_device.hpp"
#include "caffe/util/normalization_device.hpp"

namespace caffe {

template <typename Dtype>
template <class Device>
void BNReLUConvolutionLayer<Dtype>::ForwardOn(
      const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
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
  const fused::Stack<Dtype> y = {Device::MutableData(top[0]),
      static_cast<ptrdiff_t>(outputs_) * pixels_, pixels_};
  if (bias_) {
    const fused::Fill<Dtype> fill = {outputs_,
        Device::Data(*this->blobs_[kBias]), y.data, pixels_};
    Device::Planes(num_ * outputs_, pixels_, fill);
  }
  const fused::Product<Device, Dtype> product(num_, pixels_, channels_,
      outputs_);
  product.Forward(x, Device::Data(norm_.scale()), Device::Data(norm_.shift()),
      Device::Data(*this->blobs_[kFilters]), Dtype(bias_ ? 1 : 0), y);
}

template <typename Dtype>
template <class Device>
void BNReLUConvolutionLayer<Dtype>::BackwardOn(
      const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
      const vector<Blob<Dtype>*>& bottom) {
  const ptrdiff_t image = static_cast<ptrdiff_t>(channels_) * pixels_;
  const fused::Stack<const Dtype> x = {Device::Data(*bottom[0]), image,
      pixels_};
  const fused::Stack<const Dtype> dy = {Device::Diff(*top[0]),
      static_cast<ptrdiff_t>(outputs_) * pixels_, pixels_};
  const fused::Stack<Dtype> dx = {
      propagate_down[0] ? Device::MutableDiff(bottom[0]) : NULL, image,
      pixels_};
  const Dtype* centre = Device::Data(norm_.centre());
  const int parts = num_ * fused::Parts(pixels_);
  fused::Sums* partials = Device::template Scratch<fused::Sums>(fused::SUMS,
      static_cast<size_t>(std::max(channels_, outputs_)) * parts);
  if (bias_ && this->param_propagate_down_[kBias]) {
    const fused::PartSum<Dtype> sum = {dy, pixels_};
    Device::Partials(outputs_, parts, sum, partials, parts);
    const fused::FinishSum<Dtype> finish = {partials, parts,
        Device::MutableDiff(this->blobs_[kBias].get())};
    Device::Channels(outputs_, finish);
  }
  const fused::Product<Device, Dtype> product(num_, pixels_, channels_,
      outputs_);
  product.Backward(x, Device::Data(norm_.scale()),
      Device::Data(norm_.shift()), centre,
      Device::Data(*this->blobs_[kFilters]), dy,
      this->param_propagate_down_[kFilters]
          ? Device::MutableDiff(this->blobs_[kFilters].get()) : NULL,
      false, dx, partials, parts);
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

#endif  // CAFFE_BN_RELU_CONVOLUTION_DEVICE_HPP_
