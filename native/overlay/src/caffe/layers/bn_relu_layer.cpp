#include <vector>

#include "caffe/layers/bn_relu_layer.hpp"
#include "caffe/util/fused_math.hpp"
#include "caffe/util/math_functions.hpp"

namespace caffe {

template <typename Dtype>
void BNReLULayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const char* name = this->layer_param_.name().c_str();
  CHECK_NE(bottom[0], top[0]) << "BNReLU layer '" << name
      << "': cannot work in place; give its top a name of its own";
  CHECK_EQ(bottom[0]->num_axes(), 4) << "BNReLU layer '" << name
      << "': the input must have the axes N x C x H x W";
  channels_ = bottom[0]->channels();
  if (this->blobs_.size() > 0) {
    CHECK_EQ(this->blobs_.size(), Normalization<Dtype>::kBlobs + 0)
        << "BNReLU layer '" << name << "': wrong number of blobs";
  } else {
    Normalization<Dtype>::AddBlobs(channels_, &this->blobs_);
  }
  this->param_propagate_down_.resize(this->blobs_.size(), true);
  Normalization<Dtype>::FixStatistics(0, &this->layer_param_);
  norm_.SetUp(this->layer_param_.batch_norm_param(), this->phase_,
      this->blobs_, 0);
}

template <typename Dtype>
void BNReLULayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  CHECK_EQ(bottom[0]->channels(), channels_) << "BNReLU layer '"
      << this->layer_param_.name() << "': the number of channels must stay";
  num_ = bottom[0]->num();
  pixels_ = bottom[0]->height() * bottom[0]->width();
  top[0]->ReshapeLike(*bottom[0]);
  const vector<int> per_channel(1, channels_);
  mean_.Reshape(per_channel);
  variance_.Reshape(per_channel);
  offset_.Reshape(per_channel);
  slope_.Reshape(per_channel);
}

template <typename Dtype>
void BNReLULayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const Dtype* x = bottom[0]->cpu_data();
  if (norm_.by_batch()) {
    PlaneMoments<Dtype>(x, num_, static_cast<ptrdiff_t>(channels_) * pixels_,
        channels_, pixels_, mean_.mutable_cpu_data(),
        variance_.mutable_cpu_data());
    norm_.UseBatch(mean_.cpu_data(), variance_.cpu_data(), num_ * pixels_);
  } else {
    norm_.UseKept();
  }
  const Dtype* scale = norm_.scale().cpu_data();
  const Dtype* shift = norm_.shift().cpu_data();
  Dtype* y = top[0]->mutable_cpu_data();
#pragma omp parallel for schedule(static)
  for (int plane = 0; plane < num_ * channels_; ++plane) {
    const ptrdiff_t first = static_cast<ptrdiff_t>(plane) * pixels_;
    PlaneActivate(pixels_, scale[plane % channels_], shift[plane % channels_],
        x + first, x + first, y + first);
  }
}

template <typename Dtype>
void BNReLULayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  const Dtype* x = bottom[0]->cpu_data();
  const Dtype* dy = top[0]->cpu_diff();
  Dtype* dx = bottom[0]->mutable_cpu_diff();
  const Dtype* scale = norm_.scale().cpu_data();
  const Dtype* shift = norm_.shift().cpu_data();
  const Dtype* centre = norm_.centre().cpu_data();
  vector<double> sum(channels_, 0.), products(channels_, 0.);
#pragma omp parallel for schedule(static)
  for (int c = 0; c < channels_; ++c) {
    for (int n = 0; n < num_; ++n) {
      const ptrdiff_t first = static_cast<ptrdiff_t>(n * channels_ + c)
          * pixels_;
      PlaneBackward(pixels_, scale[c], shift[c], centre[c], x + first,
          dy + first, false, dx + first, &sum[c], &products[c]);
    }
  }
  norm_.Backward(&sum[0], &products[0], num_ * pixels_,
      this->param_propagate_down_[3] || this->param_propagate_down_[4],
      offset_.mutable_cpu_data(), slope_.mutable_cpu_data());
  if (!norm_.by_batch() || !propagate_down[0]) { return; }
  const Dtype* offset = offset_.cpu_data();
  const Dtype* slope = slope_.cpu_data();
#pragma omp parallel for schedule(static)
  for (int plane = 0; plane < num_ * channels_; ++plane) {
    const int c = plane % channels_;
    const ptrdiff_t first = static_cast<ptrdiff_t>(plane) * pixels_;
    PlaneCorrect(pixels_, offset[c], slope[c], centre[c], x + first,
        dx + first);
  }
}

#ifdef CPU_ONLY
STUB_GPU(BNReLULayer);
#endif

INSTANTIATE_CLASS(BNReLULayer);
REGISTER_LAYER_CLASS(BNReLU);

}  // namespace caffe
