#ifndef CAFFE_BF16_PRODUCT_HPP_
#define CAFFE_BF16_PRODUCT_HPP_

#include <stdint.h>

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>  // NOLINT(build/c++11)

#ifdef USE_DNNL
#include <dnnl.hpp>
#endif

namespace caffe {

typedef uint16_t Bf16;  // the upper half of a float

/// Lets TEST nets of floats multiply in bfloat16 on the CPU, where it has
/// instructions for that; sums stay in float. Returns whether it does.
bool SetPredictionBf16(bool on);
bool PredictionBf16();

/// Whether tiles of bfloat16 are multiplied by hardware (AMX).
bool HasBf16Tiles();

class Bf16Product;

/// A product with these filters (outputs x channels), or none where sums are
/// to be computed as ever: not switched on, not in float, or without oneDNN.
std::shared_ptr<Bf16Product> MakeBf16Product(int channels, int outputs,
    const float* filters);
std::shared_ptr<Bf16Product> MakeBf16Product(int channels, int outputs,
    const double* filters);

#ifdef USE_DNNL
/**
 * @brief y = W a in bfloat16, of activations (channels x pixels) for one part
 *        of the pixels at a time, by oneDNN.
 */
class Bf16Product {
 public:
  /// Takes the filters W (outputs x channels) for the products that follow.
  Bf16Product(int channels, int outputs, const float* filters);

  /// Makes what products of so many pixels need. All of these may run in several
  /// threads at once. `lead` is the distance of planes, 0 for rows.
  void Prepare(int pixels, ptrdiff_t lead);
  /// rows (pixels x outputs) = max(0, (W a)^T + bias)
  void Rows(int pixels, const Bf16* activation, const float* bias, Bf16* rows)
      const;
  /// planes (outputs, `lead` apart) = W a
  void Planes(int pixels, const Bf16* activation, ptrdiff_t lead,
      float* planes) const;

 private:
  const int channels_, outputs_;
  dnnl::memory plain_;  // W
  mutable std::mutex preparing_;
  std::map<int, dnnl::memory> filters_;  // W^T as it likes it, by pixels
};
#endif  // USE_DNNL

}  // namespace caffe

#endif  // CAFFE_BF16_PRODUCT_HPP_
