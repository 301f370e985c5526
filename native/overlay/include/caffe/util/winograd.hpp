#ifndef CAFFE_UTIL_WINOGRAD_HPP_
#define CAFFE_UTIL_WINOGRAD_HPP_

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
 * It rounds more than direct convolution does: for prediction, not for
 * training. The same bits come out with any number of threads, and of an image
 * that is cut into strips of whole blocks.
 */
class Winograd {
 public:
  /// Whether it takes less time than direct convolution of such an image.
  /// Both numbers of channels must be multiples of 16, or it is not possible.
  static bool Wins(int channels, int outputs, int height, int width);

  Winograd(int channels, int outputs) : channels_(channels),
      outputs_(outputs) {}

  /// Takes filters (outputs x channels x 3 x 3) for the calls that follow.
  void SetFilters(const float* filters);

  /// From `height` + 2 rows of `width` pixels, the halo among them, to `height`
  /// rows of `width` + 2 pad - 2 pixels, plus a bias per output unless that is
  /// NULL. Beside the rows lie `pad` columns of zeros.
  void Convolve(int height, int width, int pad, const float* x,
      const float* bias, float* y) const;

  /// Rows of outputs in a block of tiles, which are multiplied together.
  static int BlockRows(int columns);

 private:
  const int channels_, outputs_;
  std::vector<float> filters_;  // transformed: points x channels x outputs
};

}  // namespace caffe

#endif  // CAFFE_UTIL_WINOGRAD_HPP_
