#ifndef CAFFE_FUSED_SUMS_HPP_
#define CAFFE_FUSED_SUMS_HPP_

#include "caffe/util/fused_kernels.hpp"

namespace caffe {
namespace fused {

// Sums over the pixels of a channel, in a fixed order and without atomics: in
// float over at most kEach values, then in double over a part, then over parts.

const int kEach = 32;                // pixels of a thread
const int kPart = kThreads * kEach;  // pixels of a block

/// Parts of a plane, for each of which there is one partial sum.
FUSED_KERNEL int Parts(int pixels) { return (pixels + kPart - 1) / kPart; }

/// Where the pixels of a part are: a part never spans two images.
struct Part {
  FUSED_KERNEL Part(int part, int pixels) {
    const int per_image = Parts(pixels);
    image = part / per_image;
    begin = part % per_image * kPart;
    length = pixels - begin < kPart ? pixels - begin : kPart;
  }
  int image, begin, length;
};

/// How many values, their mean, and the squares of what they differ from it.
struct Moments {
  FUSED_KERNEL void add(const Moments& other) {
    if (other.count == 0) { return; }
    const double total = count + other.count;
    const double step = (other.mean - mean) * (other.count / total);
    squares += other.squares + (other.mean - mean) * step * count;
    mean += step;
    count = total;
  }
  double count, mean, squares;
};

template <typename Dtype>
struct PartMoments {
  typedef Moments Value;
  FUSED_KERNEL Moments partial(int c, int part, int thread) const {
    const Part here(part, pixels);
    const Dtype* from = x.plane(here.image, c) + here.begin;
    Dtype values[kEach];
    Dtype sum = 0, squares = 0;
    int count = 0;
    FUSED_UNROLL
    for (int j = 0; j < kEach; ++j) {
      const int i = j * kThreads + thread;
      values[j] = i < here.length ? from[i] : Dtype(0);
      sum += values[j];
      count += i < here.length;
    }
    const Dtype mean = count ? sum / count : Dtype(0);
    FUSED_UNROLL
    for (int j = 0; j < kEach; ++j) {
      const Dtype off = j < count ? values[j] - mean : Dtype(0);
      squares += off * off;
    }
    const Moments moments = {double(count), mean, squares};
    return moments;
  }
  Stack<const Dtype> x;
  int pixels;
};

struct Sums {
  FUSED_KERNEL void add(const Sums& other) {
    sum += other.sum;
    product += other.product;
  }
  double sum, product;
};

/// d = dy where scale x + shift > 0, else 0; dx = scale d, or added to dx,
/// unless dx is NULL; the sums of d and of d (x - centre).
template <typename Dtype>
struct PartBackward {
  typedef Sums Value;
  FUSED_KERNEL Sums partial(int c, int part, int thread) const {
    const int kTogether = 8;  // reads that are under way at once
    const Part here(part, pixels);
    const Dtype* in = x.plane(here.image, c) + here.begin;
    const Dtype* change = dy.plane(here.image, c) + here.begin;
    Dtype* out = dx.data ? dx.plane(here.image, c) + here.begin : NULL;
    const Dtype a = scale[c], b = shift[c], middle = centre[c];
    Dtype sum = 0, product = 0;
    for (int i = thread; i < here.length; i += kTogether * kThreads) {
      Dtype value[kTogether], d[kTogether], before[kTogether];
      FUSED_UNROLL
      for (int j = 0; j < kTogether; ++j) {
        const int at = i + j * kThreads;
        const bool inside = at < here.length;
        value[j] = inside ? in[at] : middle;
        d[j] = inside ? change[at] : Dtype(0);
        before[j] = inside && out && add ? out[at] : Dtype(0);
      }
      FUSED_UNROLL
      for (int j = 0; j < kTogether; ++j) {
        const int at = i + j * kThreads;
        if (!(a * value[j] + b > 0)) { d[j] = 0; }
        if (out && at < here.length) { out[at] = before[j] + a * d[j]; }
        sum += d[j];
        product += d[j] * (value[j] - middle);
      }
    }
    const Sums sums = {sum, product};
    return sums;
  }
  const Dtype *scale, *shift, *centre;
  Stack<const Dtype> x, dy;
  bool add;
  Stack<Dtype> dx;
  int pixels;
};

/// The sum of x.
template <typename Dtype>
struct PartSum {
  typedef Sums Value;
  FUSED_KERNEL Sums partial(int c, int part, int thread) const {
    const Part here(part, pixels);
    const Dtype* from = x.plane(here.image, c) + here.begin;
    Dtype sum = 0;
    for (int i = thread; i < here.length; i += kThreads) { sum += from[i]; }
    const Sums sums = {sum, 0};
    return sums;
  }
  Stack<const Dtype> x;
  int pixels;
};

template <typename Value>
FUSED_KERNEL Value Total(const Value* partials, int c, int parts) {
  Value total = partials[static_cast<ptrdiff_t>(c) * parts];
  for (int part = 1; part < parts; ++part) {
    total.add(partials[static_cast<ptrdiff_t>(c) * parts + part]);
  }
  return total;
}

template <typename Dtype>
struct FinishMoments {
  FUSED_KERNEL void operator()(int c) const {
    const Moments total = Total(partials, c, parts);
    mean[c] = static_cast<Dtype>(total.mean);
    variance[c] = static_cast<Dtype>(total.squares / total.count);
  }
  const Moments* partials;
  int parts;
  Dtype *mean, *variance;
};

/// diff += the sum of all parts
template <typename Dtype>
struct FinishSum {
  FUSED_KERNEL void operator()(int c) const {
    diff[c] += static_cast<Dtype>(Total(partials, c, parts).sum);
  }
  const Sums* partials;
  int parts;
  Dtype* diff;
};

}  // namespace fused
}  // namespace caffe

#endif  // CAFFE_FUSED_SUMS_HPP_
