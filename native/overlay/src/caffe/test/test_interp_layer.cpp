#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/layers/interp_layer.hpp"

#include "caffe/test/test_caffe_main.hpp"
#include "caffe/test/test_gradient_check_util.hpp"

namespace caffe {

template <typename TypeParam>
class InterpLayerTest : public MultiDeviceTest<TypeParam> {
  typedef typename TypeParam::Dtype Dtype;

 protected:
  // Fills an input of 2 x 3 x height x width.
  void Input(int height, int width) {
    bottom_.Reshape(2, 3, height, width);
    FillerParameter filler;
    filler.set_std(1);
    GaussianFiller<Dtype>(filler).Fill(&bottom_);
    bottoms_.assign(1, &bottom_);
    tops_.assign(1, &top_);
  }

  void ExpectSize(const LayerParameter& param, int height, int width) {
    InterpLayer<Dtype> layer(param);
    layer.SetUp(bottoms_, tops_);
    EXPECT_EQ(2, top_.num());
    EXPECT_EQ(3, top_.channels());
    EXPECT_EQ(height, top_.height());
    EXPECT_EQ(width, top_.width());
  }

  // An output's worth of values as the second input.
  void Addend(int height, int width) {
    addend_.Reshape(2, 3, height, width);
    FillerParameter filler;
    filler.set_std(1);
    GaussianFiller<Dtype>(filler).Fill(&addend_);
    bottoms_.push_back(&addend_);
  }

  void CheckGradient(const LayerParameter& param) {
    InterpLayer<Dtype> layer(param);
    GradientChecker<Dtype> checker(1e-2, 1e-3);
    checker.CheckGradientExhaustive(&layer, bottoms_, tops_);
  }

  Blob<Dtype> bottom_, addend_, top_;
  vector<Blob<Dtype>*> bottoms_, tops_;
};

TYPED_TEST_CASE(InterpLayerTest, TestDtypesAndDevices);

TYPED_TEST(InterpLayerTest, ZoomOfTheDecoderGivesSizesOf32kPlus1) {
  LayerParameter param;
  param.mutable_interp_param()->set_zoom_factor(2);
  for (int size = 33; size < 1025; size = 2 * size - 1) {
    this->Input(size, 1);
    this->ExpectSize(param, 2 * size - 1, 1);
  }
}

TYPED_TEST(InterpLayerTest, ShrinkThenZoomAndTheOrderOfRules) {
  LayerParameter param;
  InterpParameter* interp = param.mutable_interp_param();
  this->Input(9, 12);
  interp->set_height(5);
  interp->set_width(7);
  this->ExpectSize(param, 5, 7);
  interp->set_shrink_factor(4);
  this->ExpectSize(param, 3, 3);
  interp->clear_height();
  interp->set_zoom_factor(3);
  this->ExpectSize(param, 7, 7);
}

TYPED_TEST(InterpLayerTest, MiddleOfTwoPixelsIsTheirMean) {
  typedef typename TypeParam::Dtype Dtype;
  this->Input(1, 2);
  LayerParameter param;
  param.mutable_interp_param()->set_zoom_factor(2);
  InterpLayer<Dtype> layer(param);
  layer.SetUp(this->bottoms_, this->tops_);
  layer.Forward(this->bottoms_, this->tops_);
  const Dtype* in = this->bottom_.cpu_data();
  const Dtype* out = this->top_.cpu_data();
  for (int map = 0; map < 6; ++map, in += 2, out += 3) {
    EXPECT_EQ(in[0], out[0]);
    EXPECT_NEAR((in[0] + in[1]) / 2, out[1], 1e-6);
    EXPECT_EQ(in[1], out[2]);
  }
}

TYPED_TEST(InterpLayerTest, GradientOfZoom) {
  this->Input(3, 4);
  LayerParameter param;
  param.mutable_interp_param()->set_zoom_factor(2);
  this->CheckGradient(param);
}

TYPED_TEST(InterpLayerTest, GradientOfShrink) {
  this->Input(6, 5);
  LayerParameter param;
  param.mutable_interp_param()->set_shrink_factor(2);
  this->CheckGradient(param);
}

TYPED_TEST(InterpLayerTest, GradientOfHeightAndWidth) {
  this->Input(4, 3);
  LayerParameter param;
  param.mutable_interp_param()->set_height(7);
  param.mutable_interp_param()->set_width(2);
  this->CheckGradient(param);
}

TYPED_TEST(InterpLayerTest, GradientWithCroppedBorders) {
  this->Input(5, 6);
  LayerParameter param;
  param.mutable_interp_param()->set_zoom_factor(2);
  param.mutable_interp_param()->set_pad_beg(-1);
  param.mutable_interp_param()->set_pad_end(-2);
  this->CheckGradient(param);
}

TYPED_TEST(InterpLayerTest, GradientOfZoom4) {
  this->Input(3, 3);
  LayerParameter param;
  param.mutable_interp_param()->set_zoom_factor(4);
  this->CheckGradient(param);
}

TYPED_TEST(InterpLayerTest, GradientWithASecondInput) {
  this->Input(3, 4);
  this->Addend(5, 7);
  LayerParameter param;
  param.mutable_interp_param()->set_zoom_factor(2);
  this->CheckGradient(param);
}

TYPED_TEST(InterpLayerTest, SecondInputIsAddedInItsPlace) {
  typedef typename TypeParam::Dtype Dtype;
  this->Input(3, 4);
  LayerParameter param;
  param.mutable_interp_param()->set_zoom_factor(2);
  InterpLayer<Dtype> alone(param);
  alone.SetUp(this->bottoms_, this->tops_);
  alone.Forward(this->bottoms_, this->tops_);
  this->Addend(5, 7);
  Blob<Dtype> before;
  before.CopyFrom(this->addend_, false, true);
  const vector<Blob<Dtype>*> sum(1, &this->addend_);
  InterpLayer<Dtype> layer(param);
  layer.SetUp(this->bottoms_, sum);
  layer.Forward(this->bottoms_, sum);
  for (int i = 0; i < before.count(); ++i) {
    EXPECT_EQ(before.cpu_data()[i] + this->top_.cpu_data()[i],
        this->addend_.cpu_data()[i]);
  }
}

TYPED_TEST(InterpLayerTest, GradientOfOnePixel) {
  this->Input(1, 1);
  LayerParameter param;
  param.mutable_interp_param()->set_height(3);
  param.mutable_interp_param()->set_width(2);
  this->CheckGradient(param);
}

}  // namespace caffe
