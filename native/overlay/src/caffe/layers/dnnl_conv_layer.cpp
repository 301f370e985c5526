#ifdef USE_DNNL

#include "caffe/layers/dnnl_conv_layer.hpp"

#include <vector>

#include "caffe/util/bf16_product.hpp"

namespace caffe {

void DnnlConvolutionLayer::Reshape(const vector<Blob<float>*>& bottom,
      const vector<Blob<float>*>& top) {
  ConvolutionLayer<float>::Reshape(bottom, top);
  is_ours_ = num_spatial_axes_ == 2 && !is_1x1_ && !force_nd_im2col_;
  if (!is_ours_) { return; }
  ConvolutionShape s;
  s.num = num_;
  s.channels = channels_;
  s.outputs = num_output_;
  s.group = group_;
  for (int i = 0; i < 2; ++i) {
    s.in[i] = input_shape(i + 1);
    s.out[i] = output_shape_[i];
    s.kernel[i] = kernel_shape_.cpu_data()[i];
    s.stride[i] = stride_.cpu_data()[i];
    s.pad[i] = pad_.cpu_data()[i];
    s.dilation[i] = dilation_.cpu_data()[i];
    is_ours_ = is_ours_ && s.pad[i] < s.Extent(i);
  }
  if (s == shape_) { return; }
  shape_ = s;
  for (int i = 0; i < DnnlConvolution::DIRECTIONS; ++i) {
    engines_[i].reset();
  }
}

int64_t DnnlConvolutionLayer::ColumnCount() {
  return Caffe::mode() == Caffe::CPU && Get(DnnlConvolution::FORWARD)
      ? 0 : ConvolutionLayer<float>::ColumnCount();
}

/// The engine for a direction, NULL where Caffe's own is to be taken.
DnnlConvolution* DnnlConvolutionLayer::Get(
    DnnlConvolution::Direction direction) {
  if (!is_ours_) { return NULL; }
  Engine& engine = engines_[direction];
  if (!engine) {
    const bool bias = bias_term_ && direction != DnnlConvolution::BACKWARD_DATA
        && direction != DnnlConvolution::BACKWARD_WEIGHTS;
    engine.reset(new DnnlConvolution(direction, shape_, bias));
  }
  return engine->Usable() ? engine.get() : NULL;
}

void DnnlConvolutionLayer::Forward_cpu(const vector<Blob<float>*>& bottom,
      const vector<Blob<float>*>& top) {
  DnnlConvolution* engine = Get(DnnlConvolution::FORWARD);
  // Products of bfloat16 beat a quarter of the products in floats where the
  // hardware multiplies tiles; by AVX-512 alone they take longer.
  if (this->phase_ == TEST && PredictionBf16()
      && (HasBf16Tiles() || !engine || !engine->IsWinograd())) {
    DnnlConvolution* rounded = Get(DnnlConvolution::FORWARD_BF16);
    engine = rounded ? rounded : engine;
  }
  if (!engine) {
    ConvolutionLayer<float>::Forward_cpu(bottom, top);
    return;
  }
  const float* weights = this->blobs_[0]->cpu_data();
  const float* bias = bias_term_ ? this->blobs_[1]->cpu_data() : NULL;
  for (int i = 0; i < bottom.size(); ++i) {
    engine->Forward(bottom[i]->cpu_data(), weights, bias,
        top[i]->mutable_cpu_data());
  }
}

void DnnlConvolutionLayer::Backward_cpu(const vector<Blob<float>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<float>*>& bottom) {
  if (!is_ours_) {
    ConvolutionLayer<float>::Backward_cpu(top, propagate_down, bottom);
    return;
  }
  const float* weights = this->blobs_[0]->cpu_data();
  for (int i = 0; i < top.size(); ++i) {
    const float* top_diff = top[i]->cpu_diff();
    if (bias_term_ && this->param_propagate_down_[1]) {
      float* bias_diff = this->blobs_[1]->mutable_cpu_diff();
      for (int n = 0; n < num_; ++n) {
        backward_cpu_bias(bias_diff, top_diff + n * top_dim_);
      }
    }
    if (this->param_propagate_down_[0]) {
      const float* data = bottom[i]->cpu_data();
      float* weights_diff = this->blobs_[0]->mutable_cpu_diff();
      DnnlConvolution* engine = Get(DnnlConvolution::BACKWARD_WEIGHTS);
      if (engine) {
        engine->BackwardWeights(data, top_diff, weights_diff);
      }
      for (int n = 0; !engine && n < num_; ++n) {
        weight_cpu_gemm(data + n * bottom_dim_, top_diff + n * top_dim_,
            weights_diff);
      }
    }
    if (propagate_down[i]) {
      float* diff = bottom[i]->mutable_cpu_diff();
      DnnlConvolution* engine = Get(DnnlConvolution::BACKWARD_DATA);
      if (engine) {
        engine->BackwardData(top_diff, weights, diff);
      }
      for (int n = 0; !engine && n < num_; ++n) {
        backward_cpu_gemm(top_diff + n * top_dim_, weights,
            diff + n * bottom_dim_);
      }
    }
  }
}

}  // namespace caffe

#endif  // USE_DNNL
