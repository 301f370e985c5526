#ifndef CAFFE_NORMALIZATION_KERNELS_HPP_
#define CAFFE_NORMALIZATION_KERNELS_HPP_

#include <cmath>

#include "caffe/util/fused_sums.hpp"

namespace caffe {
namespace fused {

// What class Normalization computes for a channel, on a GPU.

FUSED_KERNEL float Root(float x) { return sqrtf(x); }
FUSED_KERNEL double Root(double x) { return sqrt(x); }

/// y = scale x + shift of a channel with this mean and variance.
template <typename Dtype>
struct Map {
  FUSED_KERNEL void set(int c, Dtype mean, Dtype variance) const {
    centre[c] = mean;
    inverse[c] = 1 / Root(variance + eps);
    scale[c] = gamma[c] * inverse[c];
    shift[c] = beta[c] - scale[c] * mean;
  }
  Dtype eps;
  const Dtype *gamma, *beta;
  Dtype *centre, *inverse, *scale, *shift;
};

/// The map from a batch's statistics, which are added to the running ones.
template <typename Dtype>
struct UseBatch {
  FUSED_KERNEL void operator()(int c) const {
    if (c == 0) { *kept_count = *kept_count * fraction + 1; }
    kept_mean[c] = kept_mean[c] * fraction + mean[c];
    kept_variance[c] = kept_variance[c] * fraction + unbiased * variance[c];
    map.set(c, mean[c], variance[c]);
  }
  Map<Dtype> map;
  const Dtype *mean, *variance;
  Dtype fraction, unbiased;
  Dtype *kept_count, *kept_mean, *kept_variance;
};

/// The map from the running statistics.
template <typename Dtype>
struct UseKept {
  FUSED_KERNEL void operator()(int c) const {
    const Dtype share = *kept_count == 0 ? Dtype(0) : 1 / *kept_count;
    map.set(c, share * kept_mean[c], share * kept_variance[c]);
  }
  Map<Dtype> map;
  const Dtype *kept_count, *kept_mean, *kept_variance;
};

/// Adds the gradients of gamma and beta (unless NULL); gives or adds what the
/// batch's statistics subtract from scale d, offset + slope (x - centre).
template <typename Dtype>
struct NormalizationBackward {
  FUSED_KERNEL void operator()(int c) const {
    const Sums total = Total(partials, c, parts);
    if (gamma_diff) {
      gamma_diff[c] += static_cast<Dtype>(inverse[c] * total.product);
      beta_diff[c] += static_cast<Dtype>(total.sum);
    }
    const double share = scale[c] * per_value;
    const Dtype taken = static_cast<Dtype>(share * total.sum);
    const Dtype turned = static_cast<Dtype>(
        share * inverse[c] * inverse[c] * total.product);
    offset[c] = (add ? offset[c] : Dtype(0)) + taken;
    slope[c] = (add ? slope[c] : Dtype(0)) + turned;
  }
  const Sums* partials;
  int parts;
  double per_value;  // 1 / count, or 0 for kept statistics
  const Dtype *inverse, *scale;
  Dtype *gamma_diff, *beta_diff;
  bool add;
  Dtype *offset, *slope;
};

}  // namespace fused
}  // namespace caffe

#endif  // CAFFE_NORMALIZATION_KERNELS_HPP_
