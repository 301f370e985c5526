#include <cmath>
#include <vector>

#include "caffe/util/normalization.hpp"
#include "caffe/util/math_functions.hpp"

namespace caffe {

template <typename Dtype>
void Normalization<Dtype>::AddBlobs(int channels,
    vector<shared_ptr<Blob<Dtype> > >* blobs) {
  for (int i = 0; i < kBlobs; ++i) {
    const vector<int> shape(1, i == 2 ? 1 : channels);
    blobs->push_back(shared_ptr<Blob<Dtype> >(new Blob<Dtype>(shape)));
    caffe_set(blobs->back()->count(), Dtype(i == 3 ? 1 : 0),
        blobs->back()->mutable_cpu_data());
  }
}

template <typename Dtype>
void Normalization<Dtype>::FixStatistics(int first, LayerParameter* param) {
  for (int i = 0; i < first + 3; ++i) {
    if (i >= param->param_size()) {
      param->add_param();
      if (i >= first) { param->mutable_param(i)->set_lr_mult(0); }
    }
    if (i >= first) {
      CHECK_EQ(param->param(i).lr_mult(), 0)
          << param->type() << " layer '" << param->name() << "': blob " << i
          << " holds batch statistics, its lr_mult must be 0";
    }
  }
}

template <typename Dtype>
void Normalization<Dtype>::SetUp(const BatchNormParameter& param, Phase phase,
    const vector<shared_ptr<Blob<Dtype> > >& blobs, int first) {
  mean_ = blobs[first].get();
  variance_ = blobs[first + 1].get();
  count_ = blobs[first + 2].get();
  gamma_ = blobs[first + 3].get();
  beta_ = blobs[first + 4].get();
  by_batch_ = phase == TRAIN;
  if (param.has_use_global_stats()) { by_batch_ = !param.use_global_stats(); }
  fraction_ = param.moving_average_fraction();
  eps_ = param.eps();
  scale_.ReshapeLike(*gamma_);
  shift_.ReshapeLike(*gamma_);
  centre_.ReshapeLike(*gamma_);
  inverse_.ReshapeLike(*gamma_);
}

template <typename Dtype>
void Normalization<Dtype>::UseBatch(const Dtype* mean, const Dtype* variance,
    int count) {
  Dtype* sum = count_->mutable_cpu_data();
  sum[0] = sum[0] * fraction_ + 1;
  caffe_cpu_axpby(channels(), Dtype(1), mean, fraction_,
      mean_->mutable_cpu_data());
  const Dtype unbiased = count > 1 ? Dtype(count) / (count - 1) : 1;
  caffe_cpu_axpby(channels(), unbiased, variance, fraction_,
      variance_->mutable_cpu_data());
  Dtype* inverse = inverse_.mutable_cpu_data();
  Dtype* centre = centre_.mutable_cpu_data();
  for (int c = 0; c < channels(); ++c) {
    centre[c] = mean[c];
    inverse[c] = 1 / std::sqrt(variance[c] + eps_);
  }
  SetMap();
}

template <typename Dtype>
void Normalization<Dtype>::UseKept() {
  const Dtype count = count_->cpu_data()[0];
  const Dtype share = count == 0 ? 0 : 1 / count;
  const Dtype* mean = mean_->cpu_data();
  const Dtype* variance = variance_->cpu_data();
  Dtype* inverse = inverse_.mutable_cpu_data();
  Dtype* centre = centre_.mutable_cpu_data();
  for (int c = 0; c < channels(); ++c) {
    centre[c] = share * mean[c];
    inverse[c] = 1 / std::sqrt(share * variance[c] + eps_);
  }
  SetMap();
}

template <typename Dtype>
void Normalization<Dtype>::SetMap() {
  const Dtype* gamma = gamma_->cpu_data();
  const Dtype* beta = beta_->cpu_data();
  const Dtype* inverse = inverse_.cpu_data();
  const Dtype* centre = centre_.cpu_data();
  Dtype* scale = scale_.mutable_cpu_data();
  Dtype* shift = shift_.mutable_cpu_data();
  for (int c = 0; c < channels(); ++c) {
    scale[c] = gamma[c] * inverse[c];
    shift[c] = beta[c] - scale[c] * centre[c];
  }
}

template <typename Dtype>
void Normalization<Dtype>::Backward(const double* sum, const double* product,
    int count, bool learn, Dtype* offset, Dtype* slope) {
  const Dtype* inverse = inverse_.cpu_data();
  const Dtype* scale = scale_.cpu_data();
  if (learn) {
    Dtype* gamma = gamma_->mutable_cpu_diff();
    Dtype* beta = beta_->mutable_cpu_diff();
    for (int c = 0; c < channels(); ++c) {
      gamma[c] += static_cast<Dtype>(inverse[c] * product[c]);
      beta[c] += static_cast<Dtype>(sum[c]);
    }
  }
  for (int c = 0; c < channels(); ++c) {
    const double share = by_batch_ ? static_cast<double>(scale[c]) / count : 0;
    offset[c] = static_cast<Dtype>(share * sum[c]);
    slope[c] = static_cast<Dtype>(
        share * inverse[c] * inverse[c] * product[c]);
  }
}

INSTANTIATE_CLASS(Normalization);

}  // namespace caffe
