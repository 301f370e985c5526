#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/layer_factory.hpp"
#include "caffe/layers/bn_relu_convolution_layer.hpp"
#include "caffe/layers/bn_relu_layer.hpp"
#include "caffe/layers/dense_block_layer.hpp"

#include "caffe/test/test_caffe_main.hpp"
#include "caffe/test/test_gradient_check_util.hpp"

namespace caffe {

// Gradients against finite differences, in double: a step of 1e-5 hardly ever
// crosses the bend of a ReLU. Float, and training by kept statistics (from
// which the checker would want a gradient too), are compared with Caffe's plain
// layers from Python.
template <typename TypeParam>
class FusedLayersTest : public MultiDeviceTest<TypeParam> {
 protected:
  FusedLayersTest() {
    Caffe::set_random_seed(1701);
    FillerParameter filler;
    filler.set_std(1);
    for (int i = 0; i < 2; ++i) {
      inputs_[i].Reshape(2, 3 - i, 4, 3);
      GaussianFiller<double>(filler).Fill(&inputs_[i]);
    }
    tops_.assign(1, &top_);
  }

  void Bottoms(int count) {
    bottoms_.clear();
    for (int i = 0; i < count; ++i) { bottoms_.push_back(&inputs_[i]); }
  }

  static LayerParameter DenseBlock() {
    LayerParameter param;
    param.set_phase(TRAIN);
    param.set_type("DenseBlock");
    DenseBlockParameter* block = param.mutable_dense_block_param();
    block->set_num_units(3);
    block->set_growth_rate(2);
    block->set_bottleneck(4);
    block->mutable_weight_filler()->set_type("msra");
    return param;
  }

  static LayerParameter Convolution(bool bias) {
    LayerParameter param;
    param.set_phase(TRAIN);
    param.set_type("BNReLUConvolution");
    ConvolutionParameter* convolution = param.mutable_convolution_param();
    convolution->set_num_output(3);
    convolution->set_bias_term(bias);
    convolution->mutable_weight_filler()->set_type("msra");
    return param;
  }

  // With gammas and betas that matter.
  template <typename Layer>
  void CheckGradient(const LayerParameter& param) {
    Layer layer(param);
    layer.SetUp(bottoms_, tops_);
    FillerParameter filler;
    filler.set_min(0.5);
    filler.set_max(1.5);
    UniformFiller<double> positive(filler);
    vector<shared_ptr<Blob<double> > >& blobs = layer.blobs();
    for (int i = 0; i + 4 < blobs.size(); i += 6) {
      positive.Fill(blobs[i + 3].get());
      positive.Fill(blobs[i + 4].get());
    }
    GradientChecker<double> checker(1e-5, 1e-5);
    for (int i = 0; i < top_.count(); i += 23) {
      for (int input = -1; input < static_cast<int>(bottoms_.size());
          ++input) {
        checker.CheckGradientSingle(&layer, bottoms_, tops_, input, 0, i);
      }
    }
  }

  Blob<double> inputs_[2], top_;
  vector<Blob<double>*> bottoms_, tops_;
};

TYPED_TEST_CASE_P(FusedLayersTest);

TYPED_TEST_P(FusedLayersTest, DenseBlockHasTheGradientOfItsFunction) {
  this->Bottoms(1);
  this->template CheckGradient<DenseBlockLayer<double> >(this->DenseBlock());
}

TYPED_TEST_P(FusedLayersTest, DenseBlockConcatenatesItsBottoms) {
  this->Bottoms(2);
  LayerParameter param = this->DenseBlock();
  this->template CheckGradient<DenseBlockLayer<double> >(param);
  EXPECT_EQ(3 + 2 + 3 * 2, this->top_.channels());
  for (int n = 0; n < 2; ++n) {
    for (int y = 0; y < 4; ++y) {
      for (int x = 0; x < 3; ++x) {
        EXPECT_EQ(this->inputs_[0].data_at(n, 2, y, x),
            this->top_.data_at(n, 2, y, x));
        EXPECT_EQ(this->inputs_[1].data_at(n, 0, y, x),
            this->top_.data_at(n, 3, y, x));
      }
    }
  }
}

TYPED_TEST_P(FusedLayersTest, DenseBlockMayKeepItsBottlenecks) {
  this->Bottoms(1);
  LayerParameter param = this->DenseBlock();
  param.mutable_dense_block_param()->set_keep_bottlenecks(true);
  this->template CheckGradient<DenseBlockLayer<double> >(param);
}

TYPED_TEST_P(FusedLayersTest, BNReLUConvolutionHasTheGradientOfItsFunction) {
  this->Bottoms(1);
  typedef BNReLUConvolutionLayer<double> Layer;
  this->template CheckGradient<Layer>(this->Convolution(false));
  this->template CheckGradient<Layer>(this->Convolution(true));
}

TYPED_TEST_P(FusedLayersTest, BNReLUHasTheGradientOfItsFunction) {
  this->Bottoms(1);
  LayerParameter param;
  param.set_phase(TRAIN);
  param.set_type("BNReLU");
  this->template CheckGradient<BNReLULayer<double> >(param);
}

TYPED_TEST_P(FusedLayersTest, StatisticsDoNotLearn) {
  this->Bottoms(1);
  DenseBlockLayer<double> block(this->DenseBlock());
  block.SetUp(this->bottoms_, this->tops_);
  ASSERT_EQ(36, block.blobs().size());
  for (int i = 0; i < 36; ++i) {
    const bool fixed = i % 6 < 3;
    const float lr = i < block.layer_param().param_size()
        ? block.layer_param().param(i).lr_mult() : 1;
    EXPECT_EQ(fixed ? 0 : 1, lr) << "blob " << i;
  }
}

REGISTER_TYPED_TEST_CASE_P(FusedLayersTest,
    DenseBlockHasTheGradientOfItsFunction,
    DenseBlockConcatenatesItsBottoms,
    DenseBlockMayKeepItsBottlenecks,
    BNReLUConvolutionHasTheGradientOfItsFunction,
    BNReLUHasTheGradientOfItsFunction,
    StatisticsDoNotLearn);
INSTANTIATE_TYPED_TEST_CASE_P(CPU, FusedLayersTest, CPUDevice<double>);
#ifndef CPU_ONLY
INSTANTIATE_TYPED_TEST_CASE_P(GPU, FusedLayersTest, GPUDevice<double>);
#endif

}  // namespace caffe
