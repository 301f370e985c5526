#ifdef _OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <cmath>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/common.hpp"
#include "caffe/util/math_functions.hpp"
#include "caffe/util/winograd.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

class WinogradTest : public ::testing::Test {
 protected:
  void Fill(int channels, int outputs, int height, int width) {
    x_.resize(static_cast<size_t>(height + 2) * width * channels);
    filters_.resize(static_cast<size_t>(outputs) * channels * 9);
    bias_.resize(outputs);
    caffe_rng_gaussian<float>(x_.size(), 0, 1, &x_[0]);
    caffe_rng_gaussian<float>(filters_.size(), 0, 1, &filters_[0]);
    caffe_rng_gaussian<float>(bias_.size(), 0, 10, &bias_[0]);
  }

  vector<float> Convolve(int channels, int outputs, int height, int width,
      int pad, bool bias) {
    Winograd winograd(channels, outputs);
    winograd.SetFilters(&filters_[0]);
    vector<float> y(static_cast<size_t>(height) * (width + 2 * pad - 2)
        * outputs, NAN);
    winograd.Convolve(height, width, pad, &x_[0], bias ? &bias_[0] : NULL,
        &y[0]);
    return y;
  }

  // The largest error beside the largest value of the sum in doubles.
  double Error(int channels, int outputs, int height, int width, int pad,
      bool bias) {
    Fill(channels, outputs, height, width);
    const vector<float> y = Convolve(channels, outputs, height, width, pad,
        bias);
    const int columns = width + 2 * pad - 2;
    double error = 0, largest = 0;
    for (int row = 0; row < height; ++row) {
      for (int column = 0; column < columns; ++column) {
        for (int k = 0; k < outputs; ++k) {
          double sum = bias ? bias_[k] : 0;
          for (int tap = 0; tap < 9; ++tap) {
            const int from = column - pad + tap % 3;
            if (from < 0 || from >= width) { continue; }
            const float* pixel = &x_[((row + tap / 3) * width + from)
                * channels];
            for (int c = 0; c < channels; ++c) {
              sum += static_cast<double>(pixel[c])
                  * filters_[(k * channels + c) * 9 + tap];
            }
          }
          const double e = std::abs(sum
              - y[(row * columns + column) * outputs + k]);
          error = e <= error ? error : e;  // NaN stays
          largest = std::max(largest, std::abs(sum));
        }
      }
    }
    return error / largest;
  }

  vector<float> x_, filters_, bias_;
};

TEST_F(WinogradTest, IsTheConvolutionForAllSizesOfATile) {
  for (int height = 1; height <= 9; ++height) {
    EXPECT_LT(Error(16, 16, height, 13 - height, 1, height % 2), 5e-6)
        << height;
  }
  EXPECT_LT(Error(16, 32, 1, 1, 1, true), 5e-6);
  EXPECT_LT(Error(32, 16, 6, 3, 0, true), 5e-6);
  EXPECT_LT(Error(32, 16, 5, 7, 0, false), 5e-6);
  EXPECT_LT(Error(16, 16, 5, 7, 2, true), 5e-6);
}

TEST_F(WinogradTest, RoundsLittleWithAsManyChannelsAsTheHeadsHave) {
  EXPECT_LT(Error(256, 256, 9, 17, 1, false), 5e-6);
}

TEST_F(WinogradTest, GivesTheSameBitsWithAnyNumberOfThreads) {
#ifdef _OPENMP
  const int threads = omp_get_max_threads();
  Fill(32, 16, 21, 30);
  omp_set_num_threads(1);
  const vector<float> alone = Convolve(32, 16, 21, 30, 1, true);
  for (int n = 2; n <= 5; ++n) {
    omp_set_num_threads(n);
    EXPECT_TRUE(alone == Convolve(32, 16, 21, 30, 1, true)) << n;
  }
  omp_set_num_threads(threads);
#endif
}

}  // namespace caffe
