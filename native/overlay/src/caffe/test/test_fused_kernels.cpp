#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/util/bn_relu_convolution_device.hpp"
#include "caffe/util/bn_relu_device.hpp"
#include "caffe/util/dense_block_device.hpp"
#include "caffe/util/im2col.hpp"
#include "caffe/util/math_functions.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

namespace {

// The GPU's kernels and steps on the CPU, one thread after another: forwards,
// or backwards to find threads that depend on each other.
struct Emulation {
  static size_t cache;
  static bool backwards;

  static size_t Cache() { return cache; }

  template <typename Dtype>
  static const Dtype* Data(const Blob<Dtype>& blob) { return blob.cpu_data(); }
  template <typename Dtype>
  static Dtype* MutableData(Blob<Dtype>* blob) {
    return blob->mutable_cpu_data();
  }
  template <typename Dtype>
  static const Dtype* Diff(const Blob<Dtype>& blob) { return blob.cpu_diff(); }
  template <typename Dtype>
  static Dtype* MutableDiff(Blob<Dtype>* blob) {
    return blob->mutable_cpu_diff();
  }
  template <typename Dtype>
  static void Copy(ptrdiff_t count, const Dtype* from, Dtype* to) {
    if (from != to) { std::copy(from, from + count, to); }
  }
  template <typename Dtype>
  static void Zero(int count, Dtype* to) {
    std::fill(to, to + count, Dtype(0));
  }
  // No larger than asked for, and of no use before it is written.
  template <typename Dtype>
  static Dtype* Scratch(fused::Use use, size_t count) {
    static vector<double> memory[fused::USES];
    const size_t size = (count * sizeof(Dtype) + sizeof(double) - 1)
        / sizeof(double);
    vector<double>(size, std::numeric_limits<double>::quiet_NaN()).swap(
        memory[use]);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    if (sizeof(Dtype) == sizeof(nan)) {
      std::fill_n(reinterpret_cast<float*>(&memory[use][0]), count, nan);
    }
    return reinterpret_cast<Dtype*>(&memory[use][0]);
  }

  static int At(int i, int count) { return backwards ? count - 1 - i : i; }

  template <typename Kernel>
  static void Planes(int planes, int length, const Kernel& kernel) {
    for (int plane = 0; plane < planes; ++plane) {
      for (int i = 0; i < length; ++i) {
        const int p = At(plane, planes), at = At(i, length);
        *kernel.at(p, at) = kernel.value(p, at);
      }
    }
  }
  template <typename Kernel>
  static void Channels(int channels, const Kernel& kernel) {
    for (int c = 0; c < channels; ++c) { kernel(At(c, channels)); }
  }
  template <typename Kernel>
  static void Partials(int channels, int parts, const Kernel& kernel,
      typename Kernel::Value* partials, int stride) {
    for (int block = 0; block < channels * parts; ++block) {
      const int c = At(block, channels * parts) / parts;
      const int part = At(block, channels * parts) % parts;
      vector<typename Kernel::Value> values(fused::kThreads);
      for (int i = 0; i < fused::kThreads; ++i) {
        const int thread = At(i, fused::kThreads);
        values[thread] = kernel.partial(c, part, thread);
      }
      for (int half = fused::kThreads / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; ++i) {
          const int thread = At(i, half);
          values[thread].add(values[thread + half]);
        }
      }
      partials[static_cast<ptrdiff_t>(c) * stride + part] = values[0];
    }
  }

  // Column-major, as cuBLAS is called.
  template <typename Dtype>
  static void Gemm(int count, bool trans_a, bool trans_b, int m, int n, int k,
      const Dtype* a, int lda, ptrdiff_t a_image, const Dtype* b, int ldb,
      ptrdiff_t b_image, Dtype beta, Dtype* c, int ldc, ptrdiff_t c_image) {
    for (int i = 0; i < count; ++i) {
      const int image = At(i, count);
      Multiply(trans_b ? CblasTrans : CblasNoTrans,
          trans_a ? CblasTrans : CblasNoTrans, n, m, k, b + image * b_image,
          ldb, a + image * a_image, lda, beta, c + image * c_image, ldc);
    }
  }
  static void Multiply(CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b, int m,
      int n, int k, const float* a, int lda, const float* b, int ldb,
      float beta, float* c, int ldc) {
    cblas_sgemm(CblasColMajor, trans_a, trans_b, m, n, k, 1, a, lda, b, ldb,
        beta, c, ldc);
  }
  static void Multiply(CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b, int m,
      int n, int k, const double* a, int lda, const double* b, int ldb,
      double beta, double* c, int ldc) {
    cblas_dgemm(CblasColMajor, trans_a, trans_b, m, n, k, 1, a, lda, b, ldb,
        beta, c, ldc);
  }

  template <typename Dtype>
  static void ToColumns(const Dtype* x, int channels, int height, int width,
      Dtype* columns) {
    im2col_cpu(x, channels, height, width, 3, 3, 1, 1, 1, 1, 1, 1, columns);
  }
  template <typename Dtype>
  static void FromColumns(const Dtype* columns, int channels, int height,
      int width, Dtype* x) {
    col2im_cpu(columns, channels, height, width, 3, 3, 1, 1, 1, 1, 1, 1, x);
  }
  template <typename Dtype>
  static void Convolve(const fused::Convolution& shape, const Dtype* x,
      const Dtype* filters, Dtype* y) {
    fused::ColumnsConvolution<Emulation, Dtype>(shape).Forward(x, filters, y);
  }
  template <typename Dtype>
  static void ConvolveBackwardData(const fused::Convolution& shape,
      const Dtype* dy, const Dtype* filters, Dtype* dx) {
    fused::ColumnsConvolution<Emulation, Dtype>(shape).BackwardData(dy,
        filters, dx);
  }
  template <typename Dtype>
  static void ConvolveBackwardFilters(const fused::Convolution& shape,
      const Dtype* x, const Dtype* dy, Dtype* filters_diff) {
    fused::ColumnsConvolution<Emulation, Dtype>(shape).BackwardFilters(x, dy,
        filters_diff);
  }
};

// The least, with which strips are of kPart pixels and images apart.
const size_t kLeast = 1;
size_t Emulation::cache = kLeast;
bool Emulation::backwards = false;

// A layer that computes on the CPU what it would on a GPU.
template <class Layer, typename Dtype>
class Emulated : public Layer {
 public:
  explicit Emulated(const LayerParameter& param) : Layer(param) {}

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
    this->template ForwardOn<Emulation>(bottom, top);
  }
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
    this->template BackwardOn<Emulation>(top, propagate_down, bottom);
  }
};

template <typename TypeParam>
struct OnEmulation {
  typedef TypeParam Dtype;
  static const Caffe::Brew mode = Caffe::CPU;
  static vector<size_t> caches() {
    // The second holds two or three of three small images of these tests.
    const size_t sizes[] = {kLeast, 8100};
    return vector<size_t>(sizes, sizes + 2);
  }
  template <class Layer>
  struct Of { typedef Emulated<Layer, Dtype> type; };
};

#ifndef CPU_ONLY
template <typename TypeParam>
struct OnGPU {
  typedef TypeParam Dtype;
  static const Caffe::Brew mode = Caffe::GPU;
  // CAFFE_FUSED_CACHE_MB of the process.
  static vector<size_t> caches() { return vector<size_t>(1, kLeast); }
  template <class Layer>
  struct Of { typedef Layer type; };
};
#endif

// A layer with its bottoms and top.
template <typename Dtype>
struct Site {
  Site(Layer<Dtype>* layer, Caffe::Brew mode,
      const vector<vector<int> >& shapes) : layer(layer), mode(mode) {
    Caffe::set_mode(mode);
    for (int i = 0; i < shapes.size(); ++i) {
      inputs.push_back(shared_ptr<Blob<Dtype> >(new Blob<Dtype>(shapes[i])));
      bottoms.push_back(inputs.back().get());
    }
    tops.assign(1, &top);
    layer->SetUp(bottoms, tops);
  }
  void Forward() {
    Caffe::set_mode(mode);
    layer->Forward(bottoms, tops);
  }
  void Backward(const vector<bool>& propagate_down) {
    Caffe::set_mode(mode);
    layer->Backward(tops, propagate_down, bottoms);
  }
  shared_ptr<Layer<Dtype> > layer;
  Caffe::Brew mode;
  vector<shared_ptr<Blob<Dtype> > > inputs;
  vector<Blob<Dtype>*> bottoms, tops;
  Blob<Dtype> top;
};

}  // namespace

template <typename TypeParam>
class FusedKernelsTest : public ::testing::Test {
 protected:
  typedef typename TypeParam::Dtype Dtype;

  FusedKernelsTest() { Caffe::set_random_seed(1701); }
  virtual ~FusedKernelsTest() {
    Emulation::cache = kLeast;
    Emulation::backwards = false;
    Caffe::set_mode(Caffe::CPU);
  }

  static LayerParameter Param(const string& type, Phase phase) {
    LayerParameter param;
    param.set_phase(phase);
    param.set_type(type);
    return param;
  }
  static LayerParameter DenseBlock(Phase phase) {
    LayerParameter param = Param("DenseBlock", phase);
    DenseBlockParameter* block = param.mutable_dense_block_param();
    block->set_num_units(3);
    block->set_growth_rate(2);
    block->set_bottleneck(5);
    return param;
  }
  static LayerParameter Convolution(Phase phase, bool bias) {
    LayerParameter param = Param("BNReLUConvolution", phase);
    param.mutable_convolution_param()->set_num_output(3);
    param.mutable_convolution_param()->set_bias_term(bias);
    return param;
  }
  static vector<vector<int> > Shapes(int bottoms, int num, int height,
      int width) {
    vector<vector<int> > shapes;
    for (int i = 0; i < bottoms; ++i) {
      const int shape[] = {num, 4 - i, height, width};
      shapes.push_back(vector<int>(shape, shape + 4));
    }
    return shapes;
  }

  static void Fill(Blob<Dtype>* blob, Dtype mean, Dtype std, bool diff) {
    caffe_rng_gaussian<Dtype>(blob->count(), mean, std,
        diff ? blob->mutable_cpu_diff() : blob->mutable_cpu_data());
  }
  // Weights that matter: five of a normalization, then a convolution's.
  static void FillBlobs(Layer<Dtype>* layer) {
    for (int i = 0; i < layer->blobs().size(); ++i) {
      Blob<Dtype>* blob = layer->blobs()[i].get();
      const int kind = i % 6;
      Fill(blob, kind == 1 || kind == 3 ? 1 : 0, kind == 1 ? 0.1 : 0.4, false);
      if (kind == 2) { blob->mutable_cpu_data()[0] = 1; }
      Fill(blob, 0, 1, true);
    }
  }

  // The mean difference by the mean value: a sign that rounding turns before
  // a ReLU changes single values much.
  static void ExpectClose(const Blob<Dtype>& expected, const Blob<Dtype>& got,
      bool diff, const string& what) {
    ASSERT_EQ(expected.count(), got.count()) << what;
    const Dtype* a = diff ? expected.cpu_diff() : expected.cpu_data();
    const Dtype* b = diff ? got.cpu_diff() : got.cpu_data();
    double off = 0, size = 0;
    for (int i = 0; i < expected.count(); ++i) {
      off += std::abs(double(a[i]) - double(b[i]));
      size += std::abs(double(a[i]));
    }
    const double tolerance = sizeof(Dtype) == sizeof(float) ? 2e-4 : 1e-11;
    EXPECT_LE(off, tolerance * size) << what;  // NaN fails
  }

  template <class LayerType>
  void Compare(const LayerParameter& param,
      const vector<vector<int> >& shapes, const vector<bool>& propagate_down,
      const vector<int>& frozen = vector<int>()) {
    const vector<size_t> caches = TypeParam::caches();
    for (int i = 0; i < caches.size(); ++i) {
      Emulation::cache = caches[i];
      this->template CompareInCache<LayerType>(param, shapes, propagate_down,
          frozen);
    }
  }

  // Two passes of both, with gradients that add up.
  template <class LayerType>
  void CompareInCache(const LayerParameter& param,
      const vector<vector<int> >& shapes, const vector<bool>& propagate_down,
      const vector<int>& frozen) {
    typedef typename TypeParam::template Of<LayerType>::type Other;
    Site<Dtype> expected(new LayerType(param), Caffe::CPU, shapes);
    Site<Dtype> got(new Other(param), TypeParam::mode, shapes);
    FillBlobs(expected.layer.get());
    for (int i = 0; i < expected.layer->blobs().size(); ++i) {
      got.layer->blobs()[i]->CopyFrom(*expected.layer->blobs()[i]);
      got.layer->blobs()[i]->CopyFrom(*expected.layer->blobs()[i], true);
    }
    for (int i = 0; i < frozen.size(); ++i) {
      expected.layer->set_param_propagate_down(frozen[i], false);
      got.layer->set_param_propagate_down(frozen[i], false);
    }
    for (int pass = 0; pass < 2; ++pass) {
      for (int i = 0; i < shapes.size(); ++i) {
        Fill(expected.bottoms[i], 0.3, 1, false);
        got.bottoms[i]->CopyFrom(*expected.bottoms[i]);
      }
      expected.Forward();
      got.Forward();
      ExpectClose(expected.top, got.top, false, "top");
      Fill(&expected.top, 0.1, 1, true);
      got.top.CopyFrom(expected.top, true);
      expected.Backward(propagate_down);
      got.Backward(propagate_down);
      for (int i = 0; i < shapes.size(); ++i) {
        if (propagate_down[i]) {
          ExpectClose(*expected.bottoms[i], *got.bottoms[i], true, "bottom");
        }
      }
      for (int i = 0; i < expected.layer->blobs().size(); ++i) {
        std::ostringstream name;
        name << "blob " << i << " in pass " << pass;
        const Blob<Dtype>& blob = *expected.layer->blobs()[i];
        ExpectClose(blob, *got.layer->blobs()[i], false, name.str());
        ExpectClose(blob, *got.layer->blobs()[i], true, name.str() + " diff");
      }
    }
  }

  void CompareBlock(const LayerParameter& param, int bottoms, int num,
      int height, int width) {
    this->template Compare<DenseBlockLayer<Dtype> >(param,
        Shapes(bottoms, num, height, width), vector<bool>(bottoms, true));
  }
};

typedef ::testing::Types<OnEmulation<float>, OnEmulation<double>
#ifndef CPU_ONLY
    , OnGPU<float>, OnGPU<double>
#endif
    > KernelDevices;
TYPED_TEST_CASE(FusedKernelsTest, KernelDevices);

TYPED_TEST(FusedKernelsTest, DenseBlockTrainsAsOnTheCPU) {
  this->CompareBlock(this->DenseBlock(TRAIN), 1, 1, 7, 5);
  this->CompareBlock(this->DenseBlock(TRAIN), 2, 3, 5, 9);
}

TYPED_TEST(FusedKernelsTest, DenseBlockOfOnePixelTrainsAsOnTheCPU) {
  this->CompareBlock(this->DenseBlock(TRAIN), 1, 4, 1, 1);
}

TYPED_TEST(FusedKernelsTest, DenseBlockOfManyPixelsTrainsAsOnTheCPU) {
  ASSERT_GT(131 * 127, 2 * fused::kPart);  // in two strips and three parts
  this->CompareBlock(this->DenseBlock(TRAIN), 2, 2, 131, 127);
}

TYPED_TEST(FusedKernelsTest, DenseBlockMayKeepItsBottlenecks) {
  LayerParameter param = this->DenseBlock(TRAIN);
  param.mutable_dense_block_param()->set_keep_bottlenecks(true);
  this->CompareBlock(param, 2, 2, 6, 7);
}

TYPED_TEST(FusedKernelsTest, DenseBlockTestsAsOnTheCPU) {
  this->CompareBlock(this->DenseBlock(TEST), 1, 1, 7, 5);
  this->CompareBlock(this->DenseBlock(TEST), 2, 3, 5, 9);
  this->CompareBlock(this->DenseBlock(TEST), 2, 1, 127, 131);
}

TYPED_TEST(FusedKernelsTest, DenseBlockTrainsByKeptStatisticsAsOnTheCPU) {
  LayerParameter param = this->DenseBlock(TRAIN);
  param.mutable_batch_norm_param()->set_use_global_stats(true);
  this->CompareBlock(param, 2, 2, 6, 7);
}

TYPED_TEST(FusedKernelsTest, DenseBlockLeavesFrozenBlobsAndBottomsAlone) {
  typedef typename TypeParam::Dtype Dtype;
  vector<bool> second(2, false);
  second[1] = true;
  vector<int> frozen;
  for (int i = 3; i < 36; i += 1 + i % 4) { frozen.push_back(i); }
  this->template Compare<DenseBlockLayer<Dtype> >(this->DenseBlock(TRAIN),
      this->Shapes(2, 2, 5, 6), second, frozen);
}

TYPED_TEST(FusedKernelsTest, BNReLUConvolutionIsTheCPUs) {
  typedef BNReLUConvolutionLayer<typename TypeParam::Dtype> Layer;
  for (int i = 0; i < 8; ++i) {
    const vector<bool> down(1, i & 4);
    LayerParameter param = this->Convolution(i & 1 ? TRAIN : TEST, i & 2);
    this->template Compare<Layer>(param, this->Shapes(1, 3, 5, 7), down);
    this->template Compare<Layer>(param, this->Shapes(1, 2, 131, 127), down);
  }
}

TYPED_TEST(FusedKernelsTest, BNReLUConvolutionLeavesFrozenBlobsAlone) {
  typedef BNReLUConvolutionLayer<typename TypeParam::Dtype> Layer;
  for (int i = 3; i < 7; ++i) {
    vector<int> frozen(1, i);
    if (i == 3) { frozen.push_back(4); }
    this->template Compare<Layer>(this->Convolution(TRAIN, true),
        this->Shapes(1, 2, 4, 5), vector<bool>(1, true), frozen);
  }
}

TYPED_TEST(FusedKernelsTest, BNReLUIsTheCPUs) {
  typedef BNReLULayer<typename TypeParam::Dtype> Layer;
  for (int i = 0; i < 4; ++i) {
    const vector<bool> down(1, i & 2);
    LayerParameter param = this->Param("BNReLU", i & 1 ? TRAIN : TEST);
    this->template Compare<Layer>(param, this->Shapes(1, 3, 5, 7), down);
    this->template Compare<Layer>(param, this->Shapes(1, 2, 131, 127), down);
  }
}

// What one thread writes no other reads: the same bits in any order.
template <typename Dtype>
class FusedThreadsTest : public FusedKernelsTest<OnEmulation<Dtype> > {};
TYPED_TEST_CASE(FusedThreadsTest, TestDtypes);

TYPED_TEST(FusedThreadsTest, DoNotDependOnTheirOrder) {
  typedef TypeParam Dtype;
  const vector<vector<int> > shapes = this->Shapes(2, 2, 131, 127);
  vector<shared_ptr<Site<Dtype> > > sites;
  for (int i = 0; i < 2; ++i) {
    Caffe::set_random_seed(1701);
    Emulation::backwards = i;
    sites.push_back(shared_ptr<Site<Dtype> >(new Site<Dtype>(
        new Emulated<DenseBlockLayer<Dtype>, Dtype>(this->DenseBlock(TRAIN)),
        Caffe::CPU, shapes)));
    Site<Dtype>* site = sites.back().get();
    this->FillBlobs(site->layer.get());
    this->Fill(site->bottoms[0], 0.3, 1, false);
    this->Fill(site->bottoms[1], 0.3, 1, false);
    site->Forward();
    this->Fill(&site->top, 0.1, 1, true);
    site->Backward(vector<bool>(2, true));
  }
  for (int i = 0; i < 36; ++i) {
    const Blob<Dtype>& a = *sites[0]->layer->blobs()[i];
    const Blob<Dtype>& b = *sites[1]->layer->blobs()[i];
    for (int j = 0; j < a.count(); ++j) {
      EXPECT_EQ(a.cpu_data()[j], b.cpu_data()[j]) << "blob " << i;
      EXPECT_EQ(a.cpu_diff()[j], b.cpu_diff()[j]) << "blob " << i;
    }
  }
  int different = 0;
  for (int j = 0; j < sites[0]->top.count(); ++j) {
    different += sites[0]->top.cpu_data()[j] != sites[1]->top.cpu_data()[j];
    different += sites[0]->top.cpu_diff()[j] != sites[1]->top.cpu_diff()[j];
  }
  EXPECT_EQ(0, different);
}

// As many values as an int counts, and no stride between images that are alone.
TEST(FusedConvolutionTest, InOneCallIsWhatCuDNNCounts) {
  const fused::Convolution small = {3, 5, 7, 128, 32, 5000};
  fused::Convolution part = fused::InOneCall(small);
  EXPECT_EQ(3, part.num);
  EXPECT_EQ(5000, part.y_image);
  const fused::Convolution alone = {1, 5, 7, 128, 32, 5000};
  EXPECT_EQ(32 * 5 * 7, fused::InOneCall(alone).y_image);
  const fused::Convolution large = {2, 4096, 4096, 128, 32,
      ptrdiff_t(1) << 31};
  part = fused::InOneCall(large);
  EXPECT_EQ(1, part.num);
  EXPECT_EQ(32 << 24, part.y_image);
}

// Against sums of more digits: a mean far from 0 takes none from the variance.
TYPED_TEST(FusedThreadsTest, MomentsAreExact) {
  typedef TypeParam Dtype;
  const int sizes[] = {1, 2, fused::kThreads, fused::kPart - 1, fused::kPart,
      fused::kPart + 1, 3 * fused::kPart + 7};
  for (int i = 0; i < 7; ++i) {
    const int num = 2, channels = 3, pixels = sizes[i];
    Blob<Dtype> x(num, channels + 2, 1, pixels);  // two that are not read
    this->Fill(&x, 1000, 0.1, false);
    Dtype mean[channels], variance[channels];
    const fused::Stack<const Dtype> stack = {x.cpu_data() + pixels,
        (channels + 2) * static_cast<ptrdiff_t>(pixels), pixels};
    fused::ChannelMoments<Emulation, Dtype>(stack, num, channels, pixels, mean,
        variance);
    for (int c = 0; c < channels; ++c) {
      long double sum = 0, squares = 0;
      for (int j = 0; j < num * pixels; ++j) {
        sum += x.data_at(j / pixels, c + 1, 0, j % pixels);
      }
      const long double middle = sum / num / pixels;
      for (int j = 0; j < num * pixels; ++j) {
        const long double off =
            x.data_at(j / pixels, c + 1, 0, j % pixels) - middle;
        squares += off * off;
      }
      const double expected = squares / num / pixels;
      const bool single = sizeof(Dtype) == sizeof(float);
      EXPECT_NEAR(double(middle), mean[c], single ? 1e-4 : 1e-11) << pixels;
      EXPECT_NEAR(expected, variance[c], (single ? 1e-4 : 1e-10) * expected)
          << pixels;
    }
  }
}

}  // namespace caffe
