#include <algorithm>
#include <vector>

#include "caffe/common.hpp"
#include "caffe/util/preactivated_product.hpp"

namespace caffe {

template <typename Dtype>
template <typename To>
void PreactivatedProduct<Dtype>::Activate(const Dtype* x, int pixels,
    const Dtype* scale, const Dtype* shift, To* activation) const {
  for (int c = 0; c < channels_; ++c) {
    const Dtype* plane = x + static_cast<ptrdiff_t>(c) * pixels_;
    PlaneActivate(pixels, scale[c], shift[c], plane,
        c + 1 < channels_ ? plane + pixels_ : plane,
        activation + static_cast<ptrdiff_t>(c) * pixels);
  }
}

// oneDNN multiplies rows of activations by a third faster than planes. They lie
// an odd number of lines apart: neighbours then have each a place in the cache.
template <typename Dtype>
int PreactivatedProduct<Dtype>::Lead() const {
  const int kLine = 16;
  return ((channels_ + kLine - 1) / kLine | 1) * kLine;
}

template <typename Dtype>
void PreactivatedProduct<Dtype>::Rows(const Dtype* x, int pixels,
    const Dtype* scale, const Dtype* shift, const Dtype* filters,
    Dtype* activation, Dtype* rows) const {
  PlanesActivateToRows(pixels, channels_, scale, shift, x, pixels_, Lead(),
      activation);
  FusedGemm(false, true, pixels, outputs_, channels_, activation, Lead(),
      filters, channels_, Dtype(0), rows, outputs_);
}

template <typename Dtype>
void PreactivatedProduct<Dtype>::ForwardRows(Planes<const Dtype> x, int image,
    int begin, int pixels, const Dtype* scale, const Dtype* shift,
    const Dtype* filters, const Dtype* add_relu, Dtype* rows) const {
  const FusedParts parts(1, pixels, channels_, sizeof(Dtype));
  const size_t space = static_cast<size_t>(Lead()) * parts.size;
  Dtype* scratch = FusedScratch::Get<Dtype>(FusedScratch::ACTIVATION,
      space * FusedThreads());
  const Dtype* data = x.data + image * x.image_stride + begin;
#pragma omp parallel for schedule(static)
  for (int part = 0; part < parts.count(); ++part) {
    Dtype* activation = scratch + space * FusedThread();
    const int first = parts.begin(part), length = parts.length(part);
    Dtype* out = rows + static_cast<ptrdiff_t>(first) * outputs_;
    Rows(data + first, length, scale, shift, filters, activation, out);
    if (add_relu) { RowsAddRelu(length, outputs_, add_relu, out); }
  }
}

template <typename Dtype>
void PreactivatedProduct<Dtype>::ForwardRowsMoments(Planes<const Dtype> x,
    const Dtype* scale, const Dtype* shift, const Dtype* filters, Dtype* rows,
    Dtype* mean, Dtype* variance) const {
  const FusedParts parts(num_, pixels_, channels_, sizeof(Dtype));
  const size_t space = static_cast<size_t>(Lead()) * parts.size;
  Dtype* scratch = FusedScratch::Get<Dtype>(FusedScratch::ACTIVATION,
      space * FusedThreads());
  // Of each part: mean and sum of squared deviations from it, while in cache.
  vector<Dtype> means(static_cast<size_t>(parts.count()) * outputs_);
  vector<Dtype> squares(means.size());
#pragma omp parallel for schedule(static)
  for (int part = 0; part < parts.count(); ++part) {
    Dtype* activation = scratch + space * FusedThread();
    const int image = parts.image(part), first = parts.begin(part);
    const int length = parts.length(part);
    Dtype* out = rows + (static_cast<ptrdiff_t>(image) * pixels_ + first)
        * outputs_;
    Rows(x.data + image * x.image_stride + first, length, scale, shift,
        filters, activation, out);
    Dtype* part_mean = &means[static_cast<size_t>(part) * outputs_];
    RowsSum(length, outputs_, out, part_mean);
    for (int k = 0; k < outputs_; ++k) { part_mean[k] /= length; }
    RowsSquares(length, outputs_, part_mean, out,
        &squares[static_cast<size_t>(part) * outputs_]);
  }
  const double count = static_cast<double>(num_) * pixels_;
  for (int k = 0; k < outputs_; ++k) {
    double sum = 0, total = 0;
    for (int part = 0; part < parts.count(); ++part) {
      sum += static_cast<double>(means[static_cast<size_t>(part) * outputs_ + k])
          * parts.length(part);
    }
    mean[k] = static_cast<Dtype>(sum / count);
    for (int part = 0; part < parts.count(); ++part) {
      const size_t i = static_cast<size_t>(part) * outputs_ + k;
      const double off = means[i] - sum / count;
      total += squares[i] + off * off * parts.length(part);
    }
    variance[k] = static_cast<Dtype>(total / count);
  }
}

template <typename Dtype>
void PreactivatedProduct<Dtype>::ForwardPlanes(Planes<const Dtype> x,
    const Dtype* scale, const Dtype* shift, const Dtype* filters,
    const Dtype* bias, Planes<Dtype> y) const {
  const FusedParts parts(num_, pixels_, channels_, sizeof(Dtype));
  const size_t space = static_cast<size_t>(channels_) * parts.size;
  Dtype* scratch = FusedScratch::Get<Dtype>(FusedScratch::ACTIVATION,
      space * FusedThreads());
#pragma omp parallel for schedule(static)
  for (int part = 0; part < parts.count(); ++part) {
    Dtype* activation = scratch + space * FusedThread();
    const int image = parts.image(part), first = parts.begin(part);
    const int length = parts.length(part);
    Dtype* out = y.data + image * y.image_stride + first;
    Activate(x.data + image * x.image_stride + first, length, scale, shift,
        activation);
    if (bias) {
      for (int k = 0; k < outputs_; ++k) {
        Dtype* plane = out + static_cast<ptrdiff_t>(k) * pixels_;
        std::fill(plane, plane + length, bias[k]);
      }
    }
    FusedGemm(false, false, outputs_, length, channels_, filters, channels_,
        activation, length, Dtype(bias ? 1 : 0), out, pixels_);
  }
}

// to (columns x rows) += from (rows x columns), in squares that a cache holds.
template <typename Dtype>
static void AddTransposed(int rows, int columns, const Dtype* from, Dtype* to) {
  const int kSide = 16;
  for (int r = 0; r < rows; r += kSide) {
    const int last = std::min(r + kSide, rows);
    for (int c = 0; c < columns; ++c) {
      for (int i = r; i < last; ++i) {
        to[static_cast<size_t>(c) * rows + i] +=
            from[static_cast<size_t>(i) * columns + c];
      }
    }
  }
}

template <typename Dtype>
void PreactivatedProduct<Dtype>::Backward(Planes<const Dtype> x,
    const Dtype* scale, const Dtype* shift, const Dtype* centre,
    const Dtype* filters, const Dtype* dy_rows, Planes<const Dtype> dy_planes,
    Dtype* filters_diff, bool add, Planes<Dtype> dx, double* sum,
    double* product) const {
  const int threads = FusedThreads();
  const FusedParts parts(num_, pixels_, channels_, sizeof(Dtype));
  const size_t space = static_cast<size_t>(channels_) * parts.size;
  const size_t filter_count = static_cast<size_t>(outputs_) * channels_;
  Dtype* scratch = FusedScratch::Get<Dtype>(FusedScratch::ACTIVATION,
      space * threads);
  // Each thread sums on its own; the threads' sums are added in their order,
  // so that the same number of threads gives the same bits.
  Dtype* filter_sums = FusedScratch::Get<Dtype>(FusedScratch::FILTERS_DIFF,
      filter_count * threads);
  double* sums = FusedScratch::Get<double>(FusedScratch::SUMS,
      static_cast<size_t>(2) * channels_ * threads);
  std::fill(sums, sums + static_cast<size_t>(2) * channels_ * threads, 0.);
  vector<char> used(threads, 0);
  // oneDNN multiplies fastest what need not be turned round: the filters are,
  // once, and the gradient of filters from rows is summed up as it falls.
  vector<Dtype> turned(filter_count, Dtype(0));
  AddTransposed(outputs_, channels_, filters, &turned[0]);
#pragma omp parallel for schedule(static)
  for (int part = 0; part < parts.count(); ++part) {
    const int thread = FusedThread();
    const int image = parts.image(part), first = parts.begin(part);
    const int length = parts.length(part);
    Dtype* activation = scratch + space * thread;
    double* thread_sum = sums + static_cast<size_t>(2) * channels_ * thread;
    double* thread_product = thread_sum + channels_;
    const Dtype* in = x.data + image * x.image_stride + first;
    const Dtype* dy = dy_rows
        ? dy_rows + (static_cast<ptrdiff_t>(image) * pixels_ + first) * outputs_
        : dy_planes.data + image * dy_planes.image_stride + first;
    const int dy_lead = dy_rows ? outputs_ : pixels_;
    if (filters_diff) {
      Activate(in, length, scale, shift, activation);
      Dtype* own = filter_sums + filter_count * thread;
      if (dy_rows) {
        FusedGemm(false, false, channels_, outputs_, length, activation,
            length, dy, dy_lead, Dtype(used[thread]), own, outputs_);
      } else {
        FusedGemm(false, true, outputs_, channels_, length, dy, dy_lead,
            activation, length, Dtype(used[thread]), own, channels_);
      }
      used[thread] = 1;
    }
    FusedGemm(false, dy_rows != NULL, channels_, length, outputs_, &turned[0],
        outputs_, dy, dy_lead, Dtype(0), activation, length);
    Dtype* out = dx.data + image * dx.image_stride + first;
    for (int c = 0; c < channels_; ++c) {
      const ptrdiff_t plane = static_cast<ptrdiff_t>(c) * pixels_;
      PlaneBackward(length, scale[c], shift[c], centre[c], in + plane,
          activation + static_cast<ptrdiff_t>(c) * length, add, out + plane,
          thread_sum + c, thread_product + c);
    }
  }
  std::fill(sum, sum + channels_, 0.);
  std::fill(product, product + channels_, 0.);
  for (int thread = 0; thread < threads; ++thread) {
    const double* thread_sum = sums
        + static_cast<size_t>(2) * channels_ * thread;
    for (int c = 0; c < channels_; ++c) {
      sum[c] += thread_sum[c];
      product[c] += thread_sum[channels_ + c];
    }
    if (filters_diff && used[thread]) {
      const Dtype* own = filter_sums + filter_count * thread;
      if (dy_rows) {
        AddTransposed(channels_, outputs_, own, filters_diff);
      } else {
        for (size_t i = 0; i < filter_count; ++i) { filters_diff[i] += own[i]; }
      }
    }
  }
}

#ifdef USE_DNNL

template <>
void PreactivatedProduct<float>::ForwardRows(Planes<const float> x, int image,
    int begin, int pixels, const float* scale, const float* shift,
    Bf16Product* product, const float* add_relu, Bf16* rows) const {
  const FusedParts parts(1, pixels, channels_, sizeof(Bf16));
  product->Prepare(parts.length(0), 0);
  product->Prepare(parts.length(parts.count() - 1), 0);
  const size_t space = static_cast<size_t>(channels_) * parts.size;
  Bf16* scratch = FusedScratch::Get<Bf16>(FusedScratch::ACTIVATION,
      space * FusedThreads());
  const float* data = x.data + image * x.image_stride + begin;
#pragma omp parallel for schedule(static)
  for (int part = 0; part < parts.count(); ++part) {
    Bf16* activation = scratch + space * FusedThread();
    const int first = parts.begin(part), length = parts.length(part);
    Activate(data + first, length, scale, shift, activation);
    product->Rows(length, activation, add_relu,
        rows + static_cast<ptrdiff_t>(first) * outputs_);
  }
}

template <>
void PreactivatedProduct<float>::ForwardPlanes(Planes<const float> x,
    const float* scale, const float* shift, Bf16Product* product,
    Planes<float> y) const {
  const FusedParts parts(num_, pixels_, channels_, sizeof(Bf16));
  product->Prepare(parts.length(0), pixels_);
  product->Prepare(parts.length(parts.count() - 1), pixels_);
  const size_t space = static_cast<size_t>(channels_) * parts.size;
  Bf16* scratch = FusedScratch::Get<Bf16>(FusedScratch::ACTIVATION,
      space * FusedThreads());
#pragma omp parallel for schedule(static)
  for (int part = 0; part < parts.count(); ++part) {
    Bf16* activation = scratch + space * FusedThread();
    const int image = parts.image(part), first = parts.begin(part);
    const int length = parts.length(part);
    Activate(x.data + image * x.image_stride + first, length, scale, shift,
        activation);
    product->Planes(length, activation, pixels_,
        y.data + image * y.image_stride + first);
  }
}

#else

template <>
void PreactivatedProduct<float>::ForwardRows(Planes<const float>, int, int,
    int, const float*, const float*, Bf16Product*, const float*, Bf16*) const {
  LOG(FATAL) << "bfloat16 needs oneDNN";
}

template <>
void PreactivatedProduct<float>::ForwardPlanes(Planes<const float>,
    const float*, const float*, Bf16Product*, Planes<float>) const {
  LOG(FATAL) << "bfloat16 needs oneDNN";
}

#endif  // USE_DNNL

template <>
void PreactivatedProduct<double>::ForwardRows(Planes<const double>, int, int,
    int, const double*, const double*, Bf16Product*, const double*, Bf16*)
    const {
  LOG(FATAL) << "bfloat16 is for floats";
}

template <>
void PreactivatedProduct<double>::ForwardPlanes(Planes<const double>,
    const double*, const double*, Bf16Product*, Planes<double>) const {
  LOG(FATAL) << "bfloat16 is for floats";
}

INSTANTIATE_CLASS(PreactivatedProduct);

}  // namespace caffe
