#include <memory>
#include <vector>

#include "caffe/filler.hpp"
#include "caffe/layers/bn_relu_convolution_layer.hpp"
#include "caffe/util/preactivated_product.hpp"
#include "caffe/util/math_functions.hpp"

namespace caffe {

template <typename Dtype>
void BNReLUConvolutionLayer<Dtype>::LayerSetUp(
      const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  const ConvolutionParameter& param = this->layer_param_.convolution_param();
  const char* name = this->layer_param_.name().c_str();
  CHECK_GT(param.num_output(), 0)
      << "BNReLUConvolution layer '" << name << "': num_output must be given";
  CHECK(param.kernel_size_size() == 0
      || (param.kernel_size_size() == 1 && param.kernel_size(0) == 1))
      << "BNReLUConvolution layer '" << name << "': kernel_size must be 1";
  CHECK_EQ(bottom[0]->num_axes(), 4) << "BNReLUConvolution layer '" << name
      << "': the input must have the axes N x C x H x W";
  channels_ = bottom[0]->channels();
  outputs_ = param.num_output();
  bias_ = param.bias_term();
  const int blobs = bias_ ? kBias + 1 : kBias;
  if (this->blobs_.size() > 0) {
    CHECK_EQ(this->blobs_.size(), blobs) << "BNReLUConvolution layer '"
        << name << "': wrong number of blobs";
  } else {
    Normalization<Dtype>::AddBlobs(channels_, &this->blobs_);
    int shape[] = {outputs_, channels_, 1, 1};
    this->blobs_.push_back(shared_ptr<Blob<Dtype> >(
        new Blob<Dtype>(vector<int>(shape, shape + 4))));
    shared_ptr<Filler<Dtype> >(GetFiller<Dtype>(param.weight_filler()))->Fill(
        this->blobs_[kFilters].get());
    if (bias_) {
      this->blobs_.push_back(shared_ptr<Blob<Dtype> >(
          new Blob<Dtype>(vector<int>(1, outputs_))));
      shared_ptr<Filler<Dtype> >(GetFiller<Dtype>(param.bias_filler()))->Fill(
          this->blobs_[kBias].get());
    }
  }
  this->param_propagate_down_.resize(blobs, true);
  Normalization<Dtype>::FixStatistics(0, &this->layer_param_);
  norm_.SetUp(this->layer_param_.batch_norm_param(), this->phase_,
      this->blobs_, 0);
}

template <typename Dtype>
void BNReLUConvolutionLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  CHECK_EQ(bottom[0]->channels(), channels_) << "BNReLUConvolution layer '"
      << this->layer_param_.name() << "': the number of channels must stay";
  num_ = bottom[0]->num();
  pixels_ = bottom[0]->height() * bottom[0]->width();
  top[0]->Reshape(num_, outputs_, bottom[0]->height(), bottom[0]->width());
  const vector<int> per_channel(1, channels_);
  mean_.Reshape(per_channel);
  variance_.Reshape(per_channel);
  offset_.Reshape(per_channel);
  slope_.Reshape(per_channel);
}

template <typename Dtype>
void BNReLUConvolutionLayer<Dtype>::Forward_cpu(
      const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  const Planes<const Dtype> x = {bottom[0]->cpu_data(),
      static_cast<ptrdiff_t>(channels_) * pixels_};
  if (norm_.by_batch()) {
    PlaneMoments<Dtype>(x.data, num_, x.image_stride, channels_, pixels_,
        mean_.mutable_cpu_data(), variance_.mutable_cpu_data());
    norm_.UseBatch(mean_.cpu_data(), variance_.cpu_data(), num_ * pixels_);
  } else {
    norm_.UseKept();
  }
  const Planes<Dtype> y = {top[0]->mutable_cpu_data(),
      static_cast<ptrdiff_t>(outputs_) * pixels_};
  const PreactivatedProduct<Dtype> product(num_, pixels_, channels_, outputs_);
  const Dtype* scale = norm_.scale().cpu_data();
  const Dtype* shift = norm_.shift().cpu_data();
  const Dtype* filters = this->blobs_[kFilters]->cpu_data();
  std::shared_ptr<Bf16Product> bf16;
  if (this->phase_ == TEST && !bias_) {  // the scores, which have one, are few
    bf16 = MakeBf16Product(channels_, outputs_, filters);
  }
  if (bf16) {
    product.ForwardPlanes(x, scale, shift, bf16.get(), y);
  } else {
    product.ForwardPlanes(x, scale, shift, filters,
        bias_ ? this->blobs_[kBias]->cpu_data() : NULL, y);
  }
}

template <typename Dtype>
void BNReLUConvolutionLayer<Dtype>::Backward_cpu(
      const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
      const vector<Blob<Dtype>*>& bottom) {
  const Planes<const Dtype> x = {bottom[0]->cpu_data(),
      static_cast<ptrdiff_t>(channels_) * pixels_};
  const Planes<const Dtype> dy = {top[0]->cpu_diff(),
      static_cast<ptrdiff_t>(outputs_) * pixels_};
  const Planes<Dtype> dx = {bottom[0]->mutable_cpu_diff(), x.image_stride};
  const Dtype* centre = norm_.centre().cpu_data();
  vector<double> sum(channels_), products(channels_);
  PreactivatedProduct<Dtype>(num_, pixels_, channels_, outputs_).Backward(x,
      norm_.scale().cpu_data(), norm_.shift().cpu_data(), centre,
      this->blobs_[kFilters]->cpu_data(), NULL, dy,
      this->param_propagate_down_[kFilters]
          ? this->blobs_[kFilters]->mutable_cpu_diff() : NULL,
      false, dx, &sum[0], &products[0]);
  norm_.Backward(&sum[0], &products[0], num_ * pixels_,
      this->param_propagate_down_[3] || this->param_propagate_down_[4],
      offset_.mutable_cpu_data(), slope_.mutable_cpu_data());
  if (bias_ && this->param_propagate_down_[kBias]) {
    Dtype* bias_diff = this->blobs_[kBias]->mutable_cpu_diff();
#pragma omp parallel for schedule(static)
    for (int k = 0; k < outputs_; ++k) {
      for (int n = 0; n < num_; ++n) {
        bias_diff[k] += static_cast<Dtype>(PlaneSum(pixels_, dy.data
            + n * dy.image_stride + static_cast<ptrdiff_t>(k) * pixels_));
      }
    }
  }
  if (norm_.by_batch() && propagate_down[0]) {
    const Dtype* offset = offset_.cpu_data();
    const Dtype* slope = slope_.cpu_data();
#pragma omp parallel for schedule(static)
    for (int plane = 0; plane < num_ * channels_; ++plane) {
      const int c = plane % channels_;
      const ptrdiff_t first = static_cast<ptrdiff_t>(plane) * pixels_;
      PlaneCorrect(pixels_, offset[c], slope[c], centre[c], x.data + first,
          dx.data + first);
    }
  }
}

#ifdef CPU_ONLY
STUB_GPU(BNReLUConvolutionLayer);
#endif

INSTANTIATE_CLASS(BNReLUConvolutionLayer);
REGISTER_LAYER_CLASS(BNReLUConvolution);

}  // namespace caffe
