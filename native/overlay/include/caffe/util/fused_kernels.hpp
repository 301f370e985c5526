#ifndef CAFFE_FUSED_KERNELS_HPP_
#define CAFFE_FUSED_KERNELS_HPP_

#include <cstddef>

#ifdef __CUDACC__
#define FUSED_KERNEL __host__ __device__ __forceinline__
#else
#define FUSED_KERNEL inline
#endif
#ifdef __CUDA_ARCH__
#define FUSED_UNROLL _Pragma("unroll")
#else
#define FUSED_UNROLL
#endif

namespace caffe {
namespace fused {

// What the fused layers compute on a GPU, one struct for each kernel. They are
// plain functions of an index, so that a test runs them on a CPU too. Three
// kinds, by how a device runs them:
//   planes    value(plane, i) is written to at(plane, i)
//   channels  operator()(c)
//   sums      Value partial(channel, part, thread); a part's values are added
//             in the order of a tree, and stored as partials[channel, part]
// Planes are here, sums and normalizations in the files that are named so.

const int kThreads = 256;  // of a block

/// Channels of several images: values from one image or channel to the next.
template <typename Dtype>
struct Stack {
  FUSED_KERNEL Dtype* plane(int n, int c) const {
    return data + n * image + c * channel;
  }
  /// The same from image n and its pixel i on.
  FUSED_KERNEL Stack from(int n, int i) const {
    const Stack part = {data + n * image + i, image, channel};
    return part;
  }
  Dtype* data;
  ptrdiff_t image, channel;
};

template <typename Dtype>
FUSED_KERNEL Dtype Positive(Dtype x) { return x > 0 ? x : Dtype(0); }

// In what follows `plane` is image * channels + channel, where images differ.

/// y = max(0, scale x + shift)
template <typename Dtype>
struct Activate {
  FUSED_KERNEL Dtype value(int plane, int i) const {
    const int c = plane % channels;
    return Positive(scale[c] * x.plane(plane / channels, c)[i] + shift[c]);
  }
  FUSED_KERNEL Dtype* at(int plane, int i) const {
    return y.plane(plane / channels, plane % channels) + i;
  }
  int channels;
  const Dtype *scale, *shift;
  Stack<const Dtype> x;
  Stack<Dtype> y;
};

/// x = max(0, x + shift)
template <typename Dtype>
struct ShiftRelu {
  FUSED_KERNEL Dtype value(int c, int i) const {
    return Positive(*at(c, i) + shift[c]);
  }
  FUSED_KERNEL Dtype* at(int c, int i) const { return x + c * pixels + i; }
  const Dtype* shift;
  Dtype* x;
  ptrdiff_t pixels;
};

/// y = bias, images one behind the other
template <typename Dtype>
struct Fill {
  FUSED_KERNEL Dtype value(int plane, int i) const {
    return bias[plane % channels];
  }
  FUSED_KERNEL Dtype* at(int plane, int i) const {
    return y + plane * pixels + i;
  }
  int channels;
  const Dtype* bias;
  Dtype* y;
  ptrdiff_t pixels;
};

/// folded = scale filters, a scale for each of the filters' rows
template <typename Dtype>
struct Fold {
  FUSED_KERNEL Dtype value(int row, int i) const {
    return scale[row] * filters[row * width + i];
  }
  FUSED_KERNEL Dtype* at(int row, int i) const {
    return folded + row * width + i;
  }
  const Dtype *scale, *filters;
  Dtype* folded;
  ptrdiff_t width;
};

/// dx -= offset + slope (x - centre)
template <typename Dtype>
struct Correct {
  FUSED_KERNEL Dtype value(int plane, int i) const {
    const int n = plane / channels, c = plane % channels;
    return dx.plane(n, c)[i]
        - (offset[c] + slope[c] * (x.plane(n, c)[i] - centre[c]));
  }
  FUSED_KERNEL Dtype* at(int plane, int i) const {
    return dx.plane(plane / channels, plane % channels) + i;
  }
  int channels;
  const Dtype *offset, *slope, *centre;
  Stack<const Dtype> x;
  Stack<Dtype> dx;
};

/// dy = scale d - offset - slope (x - centre), d = dy where the activation is
/// positive, else 0
template <typename Dtype>
struct MaskCorrect {
  FUSED_KERNEL Dtype value(int plane, int i) const {
    const int n = plane / channels, c = plane % channels;
    const Dtype here = x.plane(n, c)[i];
    const Dtype d = scale[c] * here + shift[c] > 0
        ? dy.plane(n, c)[i] : Dtype(0);
    return scale[c] * d - offset[c] - slope[c] * (here - centre[c]);
  }
  FUSED_KERNEL Dtype* at(int plane, int i) const {
    return dy.plane(plane / channels, plane % channels) + i;
  }
  int channels;
  const Dtype *scale, *shift, *offset, *slope, *centre;
  Stack<const Dtype> x;
  Stack<Dtype> dy;
};

}  // namespace fused
}  // namespace caffe

#endif  // CAFFE_FUSED_KERNELS_HPP_
