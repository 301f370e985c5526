#ifndef CAFFE_UTIL_WINOGRAD_HPP_
#define CAFFE_UTIL_WINOGRAD_HPP_

#include <cstddef>
#include <vector>

namespace caffe {

/**
 * @brief 3x3 convolution of stride 1 on rows (H x W x channels) by Winograd's
 *        F(4x4, 3x3), on the CPU: a quarter of the products.
 *
 * Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016).
 * A tile of 4x4 outputs comes from a patch of 6x6 inputs; inputs, filters and
 * outputs are transformed along both axes, and between them stand 36 matrix
 * products, each of some tiles' channels and the filters. The points of the
 * transforms are 0, +-5/8, +-3/2 and infinity, which round less than the usual
 * +-1 and +-2.
 *
 * It rounds more than direct convolution does, some millionths of the largest
 * value. The same bits come out with any number of threads, and of an image that
 * is cut into strips of whole blocks.
 */
class Winograd {
 public:
  /// Whether it takes less time than direct convolution of such an image.
  static bool Wins(int channels, int outputs, int height, int width);

  Winograd(int channels, int outputs) : channels_(channels),
      outputs_(outputs) {}

  /// Takes filters (outputs x channels x 3 x 3) for the calls that follow; or,
  /// `turned`, those of a convolution from `outputs` to `channels` maps
  /// (channels x outputs x 3 x 3), whose gradient of the input this one gives.
  void SetFilters(const float* filters, bool turned = false);

  /// From `height` + 2 rows of `width` pixels, the halo among them, to `height`
  /// rows of `width` + 2 pad - 2 pixels, plus a bias per output unless that is
  /// NULL. Beside the rows lie `pad` columns of zeros.
  void Convolve(int height, int width, int pad, const float* x,
      const float* bias, float* y) const;

  /// The same for whole images between zeros, `height` x `width` as y.
  void ConvolveImages(int num, int height, int width, const float* x,
      float* y) const;

  /// Rows of outputs in a block of tiles, which are multiplied together.
  static int BlockRows(int columns);

 private:
  // x has `rows` rows, the first one `above` those of zeros.
  void ConvolveImages(int num, int height, int width, int rows, int above,
      int pad, const float* x, const float* bias, float* y) const;

  const int channels_, outputs_;
  std::vector<float> filters_;  // transformed: points x channels x outputs
};

/**
 * @brief The gradient of such a convolution's filters, by the adjoint of the
 *        same algorithm: products of transformed inputs and gradients are
 *        summed over all tiles and transformed once.
 */
class WinogradGradient {
 public:
  /// Whether it takes less time than direct convolution of such an image.
  static bool Wins(int channels, int outputs, int height, int width);

  WinogradGradient(int channels, int outputs) : channels_(channels),
      outputs_(outputs) {}

  /// Values of a sum over tiles, of which each thread needs its own.
  size_t Count() const;
  /// Adds what `height` rows of dy give to sums, or, unless `add`, sets them. x
  /// has `rows` rows of `width` pixels; `above` rows of zeros lie above them and
  /// `pad` columns beside them.
  void AddRows(int height, int width, int rows, int above, int pad,
      const float* x, const float* dy, bool add, float* sums) const;
  /// Adds the threads' sums, in their order, to filters_diff (outputs x channels
  /// x 3 x 3); a thread without one has NULL. The sums are lost.
  void AddFilters(const std::vector<float*>& sums, float* filters_diff) const;
  /// All of it for whole images between zeros, `height` x `width` as dy.
  void AddImages(int num, int height, int width, const float* x,
      const float* dy, float* filters_diff) const;

 private:
  const int channels_, outputs_;
};

}  // namespace caffe

#endif  // CAFFE_UTIL_WINOGRAD_HPP_
