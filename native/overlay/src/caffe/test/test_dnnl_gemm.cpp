#ifdef USE_DNNL

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/common.hpp"
#include "caffe/util/math_functions.hpp"
#include "caffe/util/rng.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

class DnnlGemmTest : public CPUDeviceTest<float> {
 protected:
  static vector<float> Random(int count) {
    vector<float> values(count);
    caffe_rng_gaussian<float>(count, 0, 1, values.data());
    return values;
  }

  // c = alpha A B + beta c by explicit loops.
  static vector<double> Loops(bool ta, bool tb, int m, int n, int k,
      float alpha, const vector<float>& a, const vector<float>& b, float beta,
      const vector<float>& c) {
    vector<double> result(m * n);
    for (int i = 0; i < m; ++i) {
      for (int j = 0; j < n; ++j) {
        double sum = 0;
        for (int p = 0; p < k; ++p) {
          sum += static_cast<double>(ta ? a[p * m + i] : a[i * k + p])
              * (tb ? b[j * k + p] : b[p * n + j]);
        }
        result[i * n + j] = alpha * sum + (beta ? beta * c[i * n + j] : 0);
      }
    }
    return result;
  }
};

TEST_F(DnnlGemmTest, EqualsLoopsForAllTransposesFactorsAndSizes) {
  const int sizes[][3] = {{1, 1, 1}, {1, 7, 5}, {9, 1, 4}, {3, 5, 1},
      {17, 33, 65}, {64, 49, 147}, {6, 1000, 40}};
  const float factors[][2] = {{1, 0}, {1, 1}, {-2, 0.5}, {0, 2}};
  for (int t = 0; t < 4; ++t) {
    for (int s = 0; s < 7; ++s) {
      for (int f = 0; f < 4; ++f) {
        const int m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
        const float alpha = factors[f][0], beta = factors[f][1];
        const vector<float> a = Random(m * k), b = Random(k * n);
        vector<float> c = beta ? Random(m * n)
            : vector<float>(m * n, std::numeric_limits<float>::quiet_NaN());
        const vector<double> expected = Loops(t & 1, t & 2, m, n, k, alpha, a,
            b, beta, c);
        caffe_cpu_gemm<float>(t & 1 ? CblasTrans : CblasNoTrans,
            t & 2 ? CblasTrans : CblasNoTrans, m, n, k, alpha, a.data(),
            b.data(), beta, c.data());
        for (int i = 0; i < m * n; ++i) {
          ASSERT_NEAR(expected[i], c[i], 1e-4) << m << " " << n << " " << k;
        }
      }
    }
  }
}

TEST_F(DnnlGemmTest, RepeatsGiveTheSameBits) {
  const int m = 128, n = 1089, k = 300;
  const vector<float> a = Random(m * n), b = Random(k * n);
  vector<float> first(m * k, 0);
  for (int i = 0; i < 20; ++i) {
    vector<float> c(m * k, 0);
    caffe_cpu_gemm<float>(CblasNoTrans, CblasTrans, m, k, n, 1, a.data(),
        b.data(), 1, c.data());
    if (i == 0) { first = c; }
    ASSERT_EQ(0, memcmp(first.data(), c.data(), m * k * sizeof(float)));
  }
}

}  // namespace caffe

#endif  // USE_DNNL
