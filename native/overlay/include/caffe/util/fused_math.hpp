#ifndef CAFFE_FUSED_MATH_HPP_
#define CAFFE_FUSED_MATH_HPP_

#include <algorithm>
#include <cstddef>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "caffe/util/bf16_product.hpp"

// A function compiled for AVX-512, AVX2 and plain CPUs; the fitting one is
// chosen when the library is loaded. What it calls must be inlined.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CAFFE_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CAFFE_CLONES
#endif
#define CAFFE_INLINE inline __attribute__((always_inline))

namespace caffe {

// What the fused layers compute with on the CPU: products, and passes over a
// channel's pixels ("plane") or over rows of a pixel's channels ("rows", NHWC).
// None of them starts threads.

/// Row-major C (m x n) = op(A) op(B) + beta C, op(A) being m x k. Within a
/// parallel region it stays in the calling thread.
void FusedGemm(bool trans_a, bool trans_b, int m, int n, int k,
    const float* a, int lda, const float* b, int ldb, float beta, float* c,
    int ldc);
void FusedGemm(bool trans_a, bool trans_b, int m, int n, int k,
    const double* a, int lda, const double* b, int ldb, double beta, double* c,
    int ldc);

#define FUSED_MATH_DECLARE(Dtype) \
  /* Sum of x, and of (x - centre)^2. */ \
  double PlaneSum(int n, const Dtype* x); \
  double PlaneSquares(int n, Dtype centre, const Dtype* x); \
  /* y = max(0, scale x + shift); fetches n values from `next` into cache. */ \
  void PlaneActivate(int n, Dtype scale, Dtype shift, const Dtype* x, \
      const Dtype* next, Dtype* y); \
  /* d = dy where scale x + shift > 0, else 0; dx = scale d, or added to dx; */ \
  /* adds the sums of d and of d (x - centre). */ \
  void PlaneBackward(int n, Dtype scale, Dtype shift, Dtype centre, \
      const Dtype* x, const Dtype* dy, bool add, Dtype* dx, double* sum, \
      double* product); \
  /* dx -= offset + slope (x - centre) */ \
  void PlaneCorrect(int n, Dtype offset, Dtype slope, Dtype centre, \
      const Dtype* x, Dtype* dx); \
  /* The same for n rows of `channels` values with a map for each channel. */ \
  void RowsSum(int n, int channels, const Dtype* x, Dtype* sum); \
  void RowsSquares(int n, int channels, const Dtype* centre, const Dtype* x, \
      Dtype* sum); \
  void RowsAddRelu(int n, int channels, const Dtype* shift, Dtype* x); \
  void RowsActivate(int n, int channels, const Dtype* scale, \
      const Dtype* shift, const Dtype* x, Dtype* y); \
  void RowsMask(int n, int channels, const Dtype* scale, const Dtype* shift, \
      const Dtype* centre, const Dtype* x, Dtype* dy, Dtype* sum, \
      Dtype* product); \
  /* dy = scale dy - offset - slope (x - centre) */ \
  void RowsCorrect(int n, int channels, const Dtype* scale, \
      const Dtype* offset, const Dtype* slope, const Dtype* centre, \
      const Dtype* x, Dtype* dy); \
  /* n rows of `channels` values <-> planes that are `stride` apart. */ \
  void RowsToPlanes(int n, int channels, const Dtype* rows, ptrdiff_t stride, \
      Dtype* planes); \
  void PlanesToRows(int n, int channels, const Dtype* planes, \
      ptrdiff_t stride, Dtype* rows); \
  /* PlaneActivate to rows that are `lead` values apart. */ \
  void PlanesActivateToRows(int n, int channels, const Dtype* scale, \
      const Dtype* shift, const Dtype* planes, ptrdiff_t stride, int lead, \
      Dtype* rows);

FUSED_MATH_DECLARE(float)
FUSED_MATH_DECLARE(double)
#undef FUSED_MATH_DECLARE

/// PlaneActivate that rounds to bfloat16.
void PlaneActivate(int n, float scale, float shift, const float* x,
    const float* next, Bf16* y);

/// Threads that a parallel region would get, and the calling one's number.
inline int FusedThreads() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

inline int FusedThread() {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

/// Within a parallel region: those inside it get the calling thread alone,
/// whatever OMP_MAX_ACTIVE_LEVELS says.
inline void FusedAlone() {
#ifdef _OPENMP
  omp_set_num_threads(1);
#endif
}

/// Scratch memory that all fused layers of a thread share: contents are lost
/// when another layer runs. One growing, aligned buffer for each use.
class FusedScratch {
 public:
  enum Use { ACTIVATION, BOTTLENECK, BOTTLENECK_DIFF, ACTIVATED, OUTPUT,
      FILTERS, FILTERS_DIFF, SUMS, COLUMNS, TILES, STRIP, USES };
  template <typename Dtype>
  static Dtype* Get(Use use, size_t count) {
    return static_cast<Dtype*>(Bytes(use, count * sizeof(Dtype)));
  }

 private:
  static void* Bytes(Use use, size_t size);
};

/// The pixels of N images in parts that stay in a core's cache together with
/// `channels` values each. A part never spans two images.
struct FusedParts {
  FusedParts(int num, int pixels, int channels, size_t value_size);
  int count() const { return num * per_image; }
  int image(int part) const { return part / per_image; }
  int begin(int part) const { return part % per_image * size; }
  int length(int part) const {
    return std::min(size, pixels - begin(part));
  }
  int num, pixels;
  int size;       // pixels of all parts but an image's last
  int per_image;
};

/// Mean and variance over images and pixels of each of `channels` planes,
/// `pixels` apart in an image, images `image_stride` apart.
template <typename Dtype>
void PlaneMoments(const Dtype* data, int num, ptrdiff_t image_stride,
    int channels, int pixels, Dtype* mean, Dtype* variance);

}  // namespace caffe

#endif  // CAFFE_FUSED_MATH_HPP_
