#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>

#ifdef USE_DNNL
#include <dnnl.h>
#endif

#include "glog/logging.h"

#include "caffe/util/fused_math.hpp"
#include "caffe/util/large_pages.hpp"
#include "caffe/util/mkl_alternate.hpp"

namespace caffe {

void FusedGemm(bool trans_a, bool trans_b, int m, int n, int k,
    const float* a, int lda, const float* b, int ldb, float beta, float* c,
    int ldc) {
#ifdef USE_DNNL
  CHECK_EQ(dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, 1.f,
      a, lda, b, ldb, beta, c, ldc), dnnl_success);
#else
  cblas_sgemm(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans,
      trans_b ? CblasTrans : CblasNoTrans, m, n, k, 1.f, a, lda, b, ldb, beta,
      c, ldc);
#endif
}

void FusedGemm(bool trans_a, bool trans_b, int m, int n, int k,
    const double* a, int lda, const double* b, int ldb, double beta, double* c,
    int ldc) {
  cblas_dgemm(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans,
      trans_b ? CblasTrans : CblasNoTrans, m, n, k, 1., a, lda, b, ldb, beta,
      c, ldc);
}

namespace {

const int kBlock = 4096;  // values that are summed in their own precision

template <typename Dtype>
CAFFE_INLINE double SumBody(int n, const Dtype* x) {
  double total = 0;
  for (int i = 0; i < n; i += kBlock) {
    const int end = std::min(n, i + kBlock);
    Dtype sum = 0;
#pragma omp simd reduction(+:sum)
    for (int j = i; j < end; ++j) { sum += x[j]; }
    total += sum;
  }
  return total;
}

template <typename Dtype>
CAFFE_INLINE double SquaresBody(int n, Dtype centre, const Dtype* x) {
  double total = 0;
  for (int i = 0; i < n; i += kBlock) {
    const int end = std::min(n, i + kBlock);
    Dtype sum = 0;
#pragma omp simd reduction(+:sum)
    for (int j = i; j < end; ++j) {
      sum += (x[j] - centre) * (x[j] - centre);
    }
    total += sum;
  }
  return total;
}

template <typename Dtype>
CAFFE_INLINE void ActivateBody(int n, Dtype scale, Dtype shift,
    const Dtype* __restrict x, const Dtype* next, Dtype* __restrict y) {
  const int kLine = 64 / sizeof(Dtype);
  for (int i = 0; i < n; i += kLine) {
    __builtin_prefetch(next + i);
    const int end = std::min(n, i + kLine);
#pragma omp simd
    for (int j = i; j < end; ++j) {
      const Dtype value = scale * x[j] + shift;
      y[j] = value > 0 ? value : Dtype(0);
    }
  }
}

template <typename Dtype>
CAFFE_INLINE void BackwardBody(int n, Dtype scale, Dtype shift, Dtype centre,
    const Dtype* __restrict x, const Dtype* __restrict dy, bool add,
    Dtype* __restrict dx, double* sum, double* product) {
  for (int i = 0; i < n; i += kBlock) {
    const int end = std::min(n, i + kBlock);
    Dtype s = 0, p = 0;
    if (add) {
#pragma omp simd reduction(+:s, p)
      for (int j = i; j < end; ++j) {
        const Dtype d = scale * x[j] + shift > 0 ? dy[j] : Dtype(0);
        dx[j] += scale * d;
        s += d;
        p += d * (x[j] - centre);
      }
    } else {
#pragma omp simd reduction(+:s, p)
      for (int j = i; j < end; ++j) {
        const Dtype d = scale * x[j] + shift > 0 ? dy[j] : Dtype(0);
        dx[j] = scale * d;
        s += d;
        p += d * (x[j] - centre);
      }
    }
    *sum += s;
    *product += p;
  }
}

template <typename Dtype>
CAFFE_INLINE void CorrectBody(int n, Dtype offset, Dtype slope, Dtype centre,
    const Dtype* __restrict x, Dtype* __restrict dx) {
#pragma omp simd
  for (int i = 0; i < n; ++i) { dx[i] -= offset + slope * (x[i] - centre); }
}

template <typename Dtype>
CAFFE_INLINE void RowsSumBody(int n, int channels,
    const Dtype* __restrict x, Dtype* __restrict sum) {
  for (int i = 0; i < n; ++i, x += channels) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) { sum[c] += x[c]; }
  }
}

template <typename Dtype>
CAFFE_INLINE void RowsSquaresBody(int n, int channels,
    const Dtype* __restrict centre, const Dtype* __restrict x,
    Dtype* __restrict sum) {
  for (int i = 0; i < n; ++i, x += channels) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      sum[c] += (x[c] - centre[c]) * (x[c] - centre[c]);
    }
  }
}

template <typename Dtype>
CAFFE_INLINE void RowsAddReluBody(int n, int channels,
    const Dtype* __restrict shift, Dtype* __restrict x) {
  for (int i = 0; i < n; ++i, x += channels) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const Dtype value = x[c] + shift[c];
      x[c] = value > 0 ? value : Dtype(0);
    }
  }
}

template <typename Dtype>
CAFFE_INLINE void RowsActivateBody(int n, int channels,
    const Dtype* __restrict scale, const Dtype* __restrict shift,
    const Dtype* x, Dtype* y) {
  for (int i = 0; i < n; ++i, x += channels, y += channels) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const Dtype value = scale[c] * x[c] + shift[c];
      y[c] = value > 0 ? value : Dtype(0);
    }
  }
}

template <typename Dtype>
CAFFE_INLINE void RowsMaskBody(int n, int channels,
    const Dtype* __restrict scale, const Dtype* __restrict shift,
    const Dtype* __restrict centre, const Dtype* __restrict x,
    Dtype* __restrict dy, Dtype* __restrict sum, Dtype* __restrict product) {
  for (int i = 0; i < n; ++i, x += channels, dy += channels) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const Dtype d = scale[c] * x[c] + shift[c] > 0 ? dy[c] : Dtype(0);
      dy[c] = d;
      sum[c] += d;
      product[c] += d * (x[c] - centre[c]);
    }
  }
}

template <typename Dtype>
CAFFE_INLINE void RowsCorrectBody(int n, int channels,
    const Dtype* __restrict scale, const Dtype* __restrict offset,
    const Dtype* __restrict slope, const Dtype* __restrict centre,
    const Dtype* __restrict x, Dtype* __restrict dy) {
  for (int i = 0; i < n; ++i, x += channels, dy += channels) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      dy[c] = scale[c] * dy[c] - offset[c] - slope[c] * (x[c] - centre[c]);
    }
  }
}

const int kTile = 16;  // pixels whose rows stay in the first cache

template <typename Dtype>
CAFFE_INLINE void RowsToPlanesBody(int n, int channels,
    const Dtype* __restrict rows, ptrdiff_t stride,
    Dtype* __restrict planes) {
  for (int i = 0; i < n; i += kTile) {
    const int end = std::min(n, i + kTile);
    for (int c = 0; c < channels; ++c) {
      for (int j = i; j < end; ++j) {
        planes[c * stride + j] = rows[static_cast<ptrdiff_t>(j) * channels + c];
      }
    }
  }
}

template <typename Dtype>
CAFFE_INLINE void PlanesToRowsBody(int n, int channels,
    const Dtype* __restrict planes, ptrdiff_t stride,
    Dtype* __restrict rows) {
  for (int i = 0; i < n; i += kTile) {
    const int end = std::min(n, i + kTile);
    for (int c = 0; c < channels; ++c) {
      for (int j = i; j < end; ++j) {
        rows[static_cast<ptrdiff_t>(j) * channels + c] = planes[c * stride + j];
      }
    }
  }
}

// Rows of a square become columns, `lead` apart.
template <typename Dtype>
CAFFE_INLINE void Transpose(const Dtype (*square)[kTile], Dtype* to, int lead) {
  for (int j = 0; j < kTile; ++j) {
    for (int k = 0; k < kTile; ++k) { to[j * lead + k] = square[k][j]; }
  }
}

#ifdef __GNUC__
// By eights of floats: pairs of rows, pairs of these, then halves.
CAFFE_INLINE void Transpose(const float (*square)[kTile], float* to, int lead) {
  typedef float Eight __attribute__((vector_size(32), aligned(4)));
  typedef int32_t Order __attribute__((vector_size(32)));
  const Order pairs[] = {{0, 8, 1, 9, 4, 12, 5, 13},
      {2, 10, 3, 11, 6, 14, 7, 15}};
  const Order fours[] = {{0, 1, 8, 9, 4, 5, 12, 13},
      {2, 3, 10, 11, 6, 7, 14, 15}};
  const Order halves[] = {{0, 1, 2, 3, 8, 9, 10, 11},
      {4, 5, 6, 7, 12, 13, 14, 15}};
  for (int part = 0; part < 4; ++part) {
    const int k = part / 2 * 8, j = part % 2 * 8;
    Eight a[8], b[8];
    for (int i = 0; i < 8; ++i) {
      a[i] = *reinterpret_cast<const Eight*>(&square[k + i][j]);
    }
    for (int i = 0; i < 8; ++i) {
      b[i] = __builtin_shuffle(a[i / 2 * 2], a[i / 2 * 2 + 1], pairs[i % 2]);
    }
    for (int i = 0; i < 8; ++i) {
      const int low = i / 4 * 4 + i % 4 / 2;
      a[i] = __builtin_shuffle(b[low], b[low + 2], fours[i % 2]);
    }
    for (int i = 0; i < 8; ++i) {
      *reinterpret_cast<Eight*>(to + (j + i) * lead + k) =
          __builtin_shuffle(a[i % 4], a[i % 4 + 4], halves[i / 4]);
    }
  }
}
#endif

template <typename Dtype>
CAFFE_INLINE void PlanesActivateToRowsBody(int n, int channels,
    const Dtype* __restrict scale, const Dtype* __restrict shift,
    const Dtype* __restrict planes, ptrdiff_t stride, int lead,
    Dtype* __restrict rows) {
  for (int c = 0; c < channels; c += kTile) {
    const int count = std::min(kTile, channels - c);
    for (int i = 0; i < n; i += kTile) {
      const int length = std::min(kTile, n - i);
      Dtype square[kTile][kTile];
      for (int k = 0; k < count; ++k) {
        const Dtype* from = planes + (c + k) * stride + i;
        if (c + k + kTile < channels) {
          __builtin_prefetch(from + kTile * stride);
        }
#pragma omp simd
        for (int j = 0; j < length; ++j) {
          const Dtype value = scale[c + k] * from[j] + shift[c + k];
          square[k][j] = value > 0 ? value : Dtype(0);
        }
      }
      if (count == kTile && length == kTile) {
        Transpose(square, rows + static_cast<ptrdiff_t>(i) * lead + c, lead);
        continue;
      }
      for (int j = 0; j < length; ++j) {
        Dtype* to = rows + static_cast<ptrdiff_t>(i + j) * lead + c;
        for (int k = 0; k < count; ++k) { to[k] = square[k][j]; }
      }
    }
  }
}

}  // namespace

#define FUSED_MATH_DEFINE(Dtype) \
  CAFFE_CLONES double PlaneSum(int n, const Dtype* x) { \
    return SumBody<Dtype>(n, x); \
  } \
  CAFFE_CLONES double PlaneSquares(int n, Dtype centre, const Dtype* x) { \
    return SquaresBody<Dtype>(n, centre, x); \
  } \
  CAFFE_CLONES void PlaneActivate(int n, Dtype scale, Dtype shift, \
      const Dtype* x, const Dtype* next, Dtype* y) { \
    ActivateBody<Dtype>(n, scale, shift, x, next, y); \
  } \
  CAFFE_CLONES void PlaneBackward(int n, Dtype scale, Dtype shift, \
      Dtype centre, const Dtype* x, const Dtype* dy, bool add, Dtype* dx, \
      double* sum, double* product) { \
    BackwardBody<Dtype>(n, scale, shift, centre, x, dy, add, dx, sum, \
        product); \
  } \
  CAFFE_CLONES void PlaneCorrect(int n, Dtype offset, Dtype slope, \
      Dtype centre, const Dtype* x, Dtype* dx) { \
    CorrectBody<Dtype>(n, offset, slope, centre, x, dx); \
  } \
  CAFFE_CLONES void RowsSum(int n, int channels, const Dtype* x, \
      Dtype* sum) { \
    RowsSumBody<Dtype>(n, channels, x, sum); \
  } \
  CAFFE_CLONES void RowsSquares(int n, int channels, const Dtype* centre, \
      const Dtype* x, Dtype* sum) { \
    RowsSquaresBody<Dtype>(n, channels, centre, x, sum); \
  } \
  CAFFE_CLONES void RowsAddRelu(int n, int channels, const Dtype* shift, \
      Dtype* x) { \
    RowsAddReluBody<Dtype>(n, channels, shift, x); \
  } \
  CAFFE_CLONES void RowsActivate(int n, int channels, const Dtype* scale, \
      const Dtype* shift, const Dtype* x, Dtype* y) { \
    RowsActivateBody<Dtype>(n, channels, scale, shift, x, y); \
  } \
  CAFFE_CLONES void RowsMask(int n, int channels, const Dtype* scale, \
      const Dtype* shift, const Dtype* centre, const Dtype* x, Dtype* dy, \
      Dtype* sum, Dtype* product) { \
    RowsMaskBody<Dtype>(n, channels, scale, shift, centre, x, dy, sum, \
        product); \
  } \
  CAFFE_CLONES void RowsCorrect(int n, int channels, const Dtype* scale, \
      const Dtype* offset, const Dtype* slope, const Dtype* centre, \
      const Dtype* x, Dtype* dy) { \
    RowsCorrectBody<Dtype>(n, channels, scale, offset, slope, centre, x, dy); \
  } \
  CAFFE_CLONES void RowsToPlanes(int n, int channels, const Dtype* rows, \
      ptrdiff_t stride, Dtype* planes) { \
    RowsToPlanesBody<Dtype>(n, channels, rows, stride, planes); \
  } \
  CAFFE_CLONES void PlanesToRows(int n, int channels, const Dtype* planes, \
      ptrdiff_t stride, Dtype* rows) { \
    PlanesToRowsBody<Dtype>(n, channels, planes, stride, rows); \
  } \
  CAFFE_CLONES void PlanesActivateToRows(int n, int channels, \
      const Dtype* scale, const Dtype* shift, const Dtype* planes, \
      ptrdiff_t stride, int lead, Dtype* rows) { \
    PlanesActivateToRowsBody<Dtype>(n, channels, scale, shift, planes, stride, \
        lead, rows); \
  }

FUSED_MATH_DEFINE(float)
FUSED_MATH_DEFINE(double)

CAFFE_CLONES void PlaneActivate(int n, float scale, float shift,
    const float* __restrict x, const float* next, Bf16* __restrict y) {
  const int kLine = 16;
  for (int i = 0; i < n; i += kLine) {
    __builtin_prefetch(next + i);
    const int end = std::min(n, i + kLine);
#pragma omp simd
    for (int j = i; j < end; ++j) {
      const float value = scale * x[j] + shift;
      const float active = value > 0 ? value : 0.f;
      uint32_t bits;
      memcpy(&bits, &active, sizeof(bits));
      y[j] = static_cast<Bf16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
  }
}

void* FusedScratch::Bytes(Use use, size_t size) {
  struct Buffers {
    void* memory[USES];
    size_t size[USES];
  };
  static __thread Buffers* buffers = NULL;  // never freed, as long as a thread
  if (!buffers) {
    buffers = static_cast<Buffers*>(calloc(1, sizeof(Buffers)));
    CHECK(buffers);
  }
  if (buffers->size[use] < size) {
    free(buffers->memory[use]);
    buffers->memory[use] = LargePages(&size);
    CHECK(buffers->memory[use]) << "no memory for " << size
        << " bytes of scratch";
    buffers->size[use] = size;
  }
  return buffers->memory[use];
}

FusedParts::FusedParts(int num, int pixels, int channels, size_t value_size)
    : num(num), pixels(pixels) {
  const size_t kCache = size_t(1) << 20;  // half of a core's second cache
  const int kLeast = 64, kMost = 512;
  const size_t fit = kCache / (value_size * channels);
  const int most = static_cast<int>(
      std::max<size_t>(kLeast, std::min<size_t>(kMost, fit)));
  // Equal parts, a multiple of the threads in all where there is enough work.
  int parts = (pixels + most - 1) / most;
  const int threads = FusedThreads();
  while (parts * num % threads && pixels / (parts + 1) >= kLeast) { ++parts; }
  size = (pixels + parts - 1) / parts;
  size = (size + 15) / 16 * 16;
  per_image = (pixels + size - 1) / size;
}

template <typename Dtype>
void PlaneMoments(const Dtype* data, int num, ptrdiff_t image_stride,
    int channels, int pixels, Dtype* mean, Dtype* variance) {
  const double count = static_cast<double>(num) * pixels;
#pragma omp parallel for schedule(static)
  for (int c = 0; c < channels; ++c) {
    const Dtype* plane = data + static_cast<ptrdiff_t>(c) * pixels;
    double sum = 0;
    for (int n = 0; n < num; ++n) {
      sum += PlaneSum(pixels, plane + n * image_stride);
    }
    mean[c] = static_cast<Dtype>(sum / count);
    double squares = 0;
    for (int n = 0; n < num; ++n) {
      squares += PlaneSquares(pixels, mean[c], plane + n * image_stride);
    }
    variance[c] = static_cast<Dtype>(squares / count);
  }
}

template void PlaneMoments<float>(const float*, int, ptrdiff_t, int, int,
    float*, float*);
template void PlaneMoments<double>(const double*, int, ptrdiff_t, int, int,
    double*, double*);

}  // namespace caffe
