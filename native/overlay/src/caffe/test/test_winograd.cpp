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

/// Gradients of a convolution of two images between zeros, and the exact ones.
class WinogradGradientTest : public ::testing::Test {
 protected:
  WinogradGradientTest() : num_(2) {}

  void Fill(int channels, int outputs, int height, int width) {
    channels_ = channels;
    outputs_ = outputs;
    height_ = height;
    width_ = width;
    x_.resize(static_cast<size_t>(num_) * height * width * channels);
    dy_.resize(static_cast<size_t>(num_) * height * width * outputs);
    filters_.resize(static_cast<size_t>(outputs) * channels * 9);
    caffe_rng_gaussian<float>(x_.size(), 0, 1, &x_[0]);
    caffe_rng_gaussian<float>(dy_.size(), 0, 1, &dy_[0]);
    caffe_rng_gaussian<float>(filters_.size(), 0, 1, &filters_[0]);
  }

  vector<float> Inputs() {
    Winograd winograd(outputs_, channels_);
    winograd.SetFilters(&filters_[0], true);
    vector<float> dx(x_.size(), NAN);
    winograd.ConvolveImages(num_, height_, width_, &dy_[0], &dx[0]);
    return dx;
  }

  vector<float> Filters() {  // added to ones
    vector<float> diff(filters_.size(), 1.f);
    WinogradGradient(channels_, outputs_).AddImages(num_, height_, width_,
        &x_[0], &dy_[0], &diff[0]);
    return diff;
  }

  void Exact(vector<double>* dx, vector<double>* filters) {
    dx->assign(x_.size(), 0.);
    filters->assign(filters_.size(), 1.);
    for (int i = 0; i < num_ * height_ * width_ * 9; ++i) {
      const int tap = i % 9, pixel = i / 9, line = pixel / width_;
      const int row = line % height_ + tap / 3 - 1;
      const int column = pixel % width_ + tap % 3 - 1;
      if (row < 0 || row >= height_ || column < 0 || column >= width_) {
        continue;
      }
      const int from = (line / height_ * height_ + row) * width_ + column;
      for (int k = 0; k < outputs_; ++k) {
        const double d = dy_[pixel * outputs_ + k];
        for (int c = 0; c < channels_; ++c) {
          const int f = (k * channels_ + c) * 9 + tap;
          (*dx)[from * channels_ + c] += d * filters_[f];
          (*filters)[f] += d * x_[from * channels_ + c];
        }
      }
    }
  }

  static double Error(const vector<double>& exact, const vector<float>& ours) {
    double error = 0, largest = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      const double e = std::abs(exact[i] - ours[i]);
      error = e <= error ? error : e;  // NaN stays
      largest = std::max(largest, std::abs(exact[i]));
    }
    return error / largest;
  }

  void ExpectExact(int channels, int outputs, int height, int width) {
    Fill(channels, outputs, height, width);
    vector<double> dx, filters;
    Exact(&dx, &filters);
    EXPECT_LT(Error(dx, Inputs()), 5e-6) << height << " x " << width;
    EXPECT_LT(Error(filters, Filters()), 5e-6) << height << " x " << width;
  }

  const int num_;
  int channels_, outputs_, height_, width_;
  vector<float> x_, dy_, filters_;
};

TEST_F(WinogradGradientTest, IsThatOfTheConvolutionForAllSizesOfATile) {
  for (int height = 1; height <= 9; ++height) {
    ExpectExact(16, 32, height, 13 - height);
  }
  ExpectExact(16, 16, 1, 1);
  ExpectExact(128, 32, 33, 21);
}

TEST_F(WinogradGradientTest, TakesAnyNumberOfChannels) {
  ExpectExact(48, 12, 10, 11);
  ExpectExact(7, 20, 5, 6);
  ExpectExact(20, 1, 6, 5);
}

TEST_F(WinogradGradientTest, RoundsLittleOverManyTiles) {
  ExpectExact(48, 12, 97, 97);
}

TEST_F(WinogradGradientTest, GivesTheSameBitsWithTheSameNumberOfThreads) {
#ifdef _OPENMP
  const int threads = omp_get_max_threads();
  Fill(32, 12, 21, 30);
  vector<double> dx, filters;
  Exact(&dx, &filters);
  omp_set_num_threads(1);
  const vector<float> alone = Inputs();
  for (int n = 1; n <= 13; n += 3) {  // more than rows of tiles too
    omp_set_num_threads(n);
    EXPECT_TRUE(alone == Inputs()) << n;
    const vector<float> first = Filters();
    EXPECT_TRUE(first == Filters()) << n;
    EXPECT_LT(Error(filters, first), 5e-6) << n;
  }
  omp_set_num_threads(threads);
#endif
}

TEST_F(WinogradTest, TakesAnyNumberOfChannels) {
  EXPECT_LT(Error(48, 12, 6, 7, 1, true), 5e-6);
  EXPECT_LT(Error(7, 20, 5, 6, 1, false), 5e-6);
  EXPECT_LT(Error(20, 1, 5, 6, 1, true), 5e-6);
}

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
