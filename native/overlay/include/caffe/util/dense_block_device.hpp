#ifndef CAFFE_DENSE_BLOCK_DEVICE_HPP_
#define CAFFE_DENSE_BLOCK_DEVICE_HPP_

#include <vector>

#include "caffe/layers/dense_block_layer.hpp"
#include "caffe/util/fused_device.hpp"
#include "caffe/util/normalization_device.hpp"

namespace caffe {

template <typename Dtype>
template <class Device>
void DenseBlockLayer<Dtype>::ForwardOn(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  Dtype* features = Device::MutableData(top[0]);
  Dtype* to = features;
  for (int i = 0; i < bottom.size(); ++i) {
    const ptrdiff_t size = static_cast<ptrdiff_t>(bottom[i]->channels())
        * pixels_;
    const Dtype* from = Device::Data(*bottom[i]);
    for (int n = 0; n < num_; ++n) {
      Device::Copy(size, from + n * size, to + n * image_);
    }
    to += size;
  }
  const bool by_batch = first_[0]->by_batch();
  if (by_batch) {
    const fused::Stack<const Dtype> x = {features, image_, pixels_};
    fused::ChannelMoments<Device, Dtype>(x, num_, channels_, pixels_,
        Device::MutableData(&mean_), Device::MutableData(&variance_));
  }
  for (int unit = 0; unit < units_; ++unit) {
    if (by_batch) {
      ForwardByBatchOn<Device>(unit, features);
    } else {
      ForwardByKeptOn<Device>(unit, features);
    }
  }
}

// The 1x1 convolution of all images.
template <typename Dtype>
template <class Device>
void DenseBlockLayer<Dtype>::BottleneckOn(int unit, const Dtype* features,
      Dtype* bottleneck) {
  const fused::Product<Device, Dtype> product(num_, pixels_, Width(unit),
      bottleneck_);
  const fused::Stack<const Dtype> x = {features, image_, pixels_};
  const fused::Stack<Dtype> y = {bottleneck,
      static_cast<ptrdiff_t>(bottleneck_) * pixels_, pixels_};
  product.Forward(x, Device::Data(first_[unit]->scale()),
      Device::Data(first_[unit]->shift()),
      Device::Data(*this->blobs_[unit * kUnitBlobs + kFilters1]), Dtype(0), y);
}

template <typename Dtype>
template <class Device>
void DenseBlockLayer<Dtype>::ForwardByBatchOn(int unit, Dtype* features) {
  const int width = Width(unit), count = num_ * pixels_;
  const ptrdiff_t size = static_cast<ptrdiff_t>(bottleneck_) * pixels_;
  Dtype* new_features = features + static_cast<ptrdiff_t>(width) * pixels_;
  Dtype* mean = Device::MutableData(&mean_);
  Dtype* variance = Device::MutableData(&variance_);
  first_[unit]->template UseBatchOn<Device>(mean, variance, count);
  Dtype* bottleneck = kept_.size() ? Device::MutableData(kept_[unit].get())
      : Device::template Scratch<Dtype>(fused::BOTTLENECK, num_ * size);
  BottleneckOn<Device>(unit, features, bottleneck);
  const fused::Stack<const Dtype> x = {bottleneck, size, pixels_};
  Dtype* statistics = Device::template Scratch<Dtype>(fused::STATISTICS,
      2 * bottleneck_);
  fused::ChannelMoments<Device, Dtype>(x, num_, bottleneck_, pixels_,
      statistics, statistics + bottleneck_);
  second_[unit]->template UseBatchOn<Device>(statistics,
      statistics + bottleneck_, count);
  Dtype* activated = Device::template Scratch<Dtype>(fused::ACTIVATED,
      num_ * size);
  const fused::Activate<Dtype> activate = {bottleneck_,
      Device::Data(second_[unit]->scale()),
      Device::Data(second_[unit]->shift()), x, {activated, size, pixels_}};
  Device::Planes(num_ * bottleneck_, pixels_, activate);
  const fused::Convolution shape = {num_, height_, width_, bottleneck_,
      growth_, image_};
  Device::Convolve(shape, activated,
      Device::Data(*this->blobs_[unit * kUnitBlobs + kFilters2]),
      new_features);
  const fused::Stack<const Dtype> y = {new_features, image_, pixels_};
  fused::ChannelMoments<Device, Dtype>(y, num_, growth_, pixels_, mean + width,
      variance + width);
}

// With statistics that are known beforehand the second normalization goes into
// the 1x1 filters; an image at a time, for little memory.
template <typename Dtype>
template <class Device>
void DenseBlockLayer<Dtype>::ForwardByKeptOn(int unit, Dtype* features) {
  const int width = Width(unit);
  const int blob = unit * kUnitBlobs;
  first_[unit]->template UseKeptOn<Device>();
  second_[unit]->template UseKeptOn<Device>();
  Dtype* folded = Device::template Scratch<Dtype>(fused::FOLDED,
      static_cast<size_t>(bottleneck_) * width);
  const fused::Fold<Dtype> fold = {Device::Data(second_[unit]->scale()),
      Device::Data(*this->blobs_[blob + kFilters1]), folded, width};
  Device::Planes(bottleneck_, width, fold);
  Dtype* bottleneck = Device::template Scratch<Dtype>(fused::BOTTLENECK,
      static_cast<size_t>(bottleneck_) * pixels_);
  const fused::Product<Device, Dtype> product(1, pixels_, width, bottleneck_);
  const fused::Stack<Dtype> y = {bottleneck, 0, pixels_};
  const fused::ShiftRelu<Dtype> relu = {Device::Data(second_[unit]->shift()),
      bottleneck, pixels_};
  const fused::Convolution shape = {1, height_, width_, bottleneck_, growth_,
      image_};
  for (int n = 0; n < num_; ++n) {
    Dtype* image = features + n * image_;
    const fused::Stack<const Dtype> x = {image, 0, pixels_};
    product.Forward(x, Device::Data(first_[unit]->scale()),
        Device::Data(first_[unit]->shift()), folded, Dtype(0), y);
    Device::Planes(bottleneck_, pixels_, relu);
    Device::Convolve(shape, bottleneck,
        Device::Data(*this->blobs_[blob + kFilters2]),
        image + static_cast<ptrdiff_t>(width) * pixels_);
  }
}

template <typename Dtype>
template <class Device>
Dtype* DenseBlockLayer<Dtype>::FiltersDiffOn(int unit, int which) {
  const int blob = unit * kUnitBlobs + which;
  return this->param_propagate_down_[blob]
      ? Device::MutableDiff(this->blobs_[blob].get()) : NULL;
}

template <typename Dtype>
template <class Device>
void DenseBlockLayer<Dtype>::BackwardOn(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  const Dtype* features = Device::Data(*top[0]);
  Dtype* diff = Device::MutableDiff(top[0]);
  Dtype* offset = Device::MutableData(&offset_);
  Dtype* slope = Device::MutableData(&slope_);
  Device::Zero(Width(units_), offset);
  Device::Zero(Width(units_), slope);
  // What all later units subtract from a feature's diff depends on the feature
  // in the same way: once, when the last of them has added its part.
  for (int unit = units_; unit >= 0; --unit) {
    const int begin = unit > 0 ? Width(unit - 1) : 0;
    const int end = unit > 0 ? Width(unit) : channels_;
    const ptrdiff_t plane = static_cast<ptrdiff_t>(begin) * pixels_;
    if (unit < units_ && first_[0]->by_batch()) {
      const fused::Correct<Dtype> correct = {end - begin, offset + begin,
          slope + begin, Device::Data(mean_) + begin,
          {features + plane, image_, pixels_}, {diff + plane, image_, pixels_}};
      Device::Planes(num_ * (end - begin), pixels_, correct);
    }
    if (unit > 0) { BackwardUnitOn<Device>(unit - 1, features, diff); }
  }
  for (int i = 0; i < bottom.size(); ++i) {
    const ptrdiff_t size = static_cast<ptrdiff_t>(bottom[i]->channels())
        * pixels_;
    if (propagate_down[i]) {
      Dtype* to = Device::MutableDiff(bottom[i]);
      for (int n = 0; n < num_; ++n) {
        Device::Copy(size, diff + n * image_, to + n * size);
      }
    }
    diff += size;
  }
}

template <typename Dtype>
template <class Device>
void DenseBlockLayer<Dtype>::BackwardUnitOn(int unit, const Dtype* features,
      Dtype* diff) {
  const int width = Width(unit);
  const int parts = num_ * fused::Parts(pixels_);
  const ptrdiff_t size = static_cast<ptrdiff_t>(bottleneck_) * pixels_;
  const Dtype* bottleneck;
  if (kept_.size()) {
    bottleneck = Device::Data(*kept_[unit]);
  } else {
    Dtype* again = Device::template Scratch<Dtype>(fused::BOTTLENECK,
        num_ * size);
    BottleneckOn<Device>(unit, features, again);
    bottleneck = again;
  }
  Dtype* bottleneck_diff = Device::template Scratch<Dtype>(fused::ACTIVATED,
      num_ * size);
  BackwardBottleneckOn<Device>(unit, bottleneck,
      diff + static_cast<ptrdiff_t>(width) * pixels_, bottleneck_diff);
  fused::Sums* partials = Device::template Scratch<fused::Sums>(fused::SUMS,
      static_cast<size_t>(width) * parts);
  const fused::Product<Device, Dtype> product(num_, pixels_, width,
      bottleneck_);
  const fused::Stack<const Dtype> x = {features, image_, pixels_};
  const fused::Stack<const Dtype> dy = {bottleneck_diff, size, pixels_};
  const fused::Stack<Dtype> dx = {diff, image_, pixels_};
  product.Backward(x, Device::Data(first_[unit]->scale()),
      Device::Data(first_[unit]->shift()),
      Device::Data(first_[unit]->centre()),
      Device::Data(*this->blobs_[unit * kUnitBlobs + kFilters1]), dy,
      FiltersDiffOn<Device>(unit, kFilters1), true, dx, partials, parts);
  first_[unit]->template BackwardOn<Device>(partials, parts, num_ * pixels_,
      Learns(unit, 0), true, Device::MutableData(&offset_),
      Device::MutableData(&slope_));
}

// From the gradient of the new features to that of the bottleneck, before which
// the latter's memory holds the activated bottleneck.
template <typename Dtype>
template <class Device>
void DenseBlockLayer<Dtype>::BackwardBottleneckOn(int unit,
      const Dtype* bottleneck, const Dtype* diff, Dtype* bottleneck_diff) {
  Normalization<Dtype>* second = second_[unit].get();
  const ptrdiff_t size = static_cast<ptrdiff_t>(bottleneck_) * pixels_;
  const fused::Stack<const Dtype> x = {bottleneck, size, pixels_};
  const fused::Stack<Dtype> dy = {bottleneck_diff, size, pixels_};
  const fused::Stack<const Dtype> dy_read = {bottleneck_diff, size, pixels_};
  const fused::Stack<Dtype> none = {NULL, 0, 0};
  const Dtype* scale = Device::Data(second->scale());
  const Dtype* shift = Device::Data(second->shift());
  const Dtype* centre = Device::Data(second->centre());
  const fused::Convolution shape = {num_, height_, width_, bottleneck_,
      growth_, image_};
  if (Dtype* filters_diff = FiltersDiffOn<Device>(unit, kFilters2)) {
    const fused::Activate<Dtype> activate = {bottleneck_, scale, shift, x, dy};
    Device::Planes(num_ * bottleneck_, pixels_, activate);
    Device::ConvolveBackwardFilters(shape,
        static_cast<const Dtype*>(bottleneck_diff), diff, filters_diff);
  }
  Device::ConvolveBackwardData(shape, diff,
      Device::Data(*this->blobs_[unit * kUnitBlobs + kFilters2]),
      bottleneck_diff);
  const int parts = num_ * fused::Parts(pixels_);
  fused::Sums* partials = Device::template Scratch<fused::Sums>(fused::SUMS,
      static_cast<size_t>(bottleneck_) * parts);
  const fused::PartBackward<Dtype> sums = {scale, shift, centre, x, dy_read,
      false, none, pixels_};
  Device::Partials(bottleneck_, parts, sums, partials, parts);
  Dtype* offset = Device::template Scratch<Dtype>(fused::STATISTICS,
      2 * bottleneck_);
  Dtype* slope = offset + bottleneck_;
  second->template BackwardOn<Device>(partials, parts, num_ * pixels_,
      Learns(unit, kSecond), false, offset, slope);
  const fused::MaskCorrect<Dtype> correct = {bottleneck_, scale, shift, offset,
      slope, centre, x, dy};
  Device::Planes(num_ * bottleneck_, pixels_, correct);
}

}  // namespace caffe

#endif  // CAFFE_DENSE_BLOCK_DEVICE_HPP_
