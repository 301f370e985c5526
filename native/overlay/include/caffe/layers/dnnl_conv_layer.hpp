#ifndef CAFFE_DNNL_CONV_LAYER_HPP_
#define CAFFE_DNNL_CONV_LAYER_HPP_

#ifdef USE_DNNL

#include <memory>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/conv_layer.hpp"
#include "caffe/util/dnnl_convolution.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief Convolution of floats with oneDNN's kernels on the CPU.
 *
 * 3x3 convolutions of stride 1 go through Winograd's F(4x4, 3x3) where it
 * wins. What Caffe's own engine does as well stays with it: 1x1
 * convolutions (one matrix product without any copy), other than two spatial
 * axes, padding beyond the kernel, what oneDNN has no vector code for (as most
 * odd numbers of channels per group), and everything on the GPU.
 */
class DnnlConvolutionLayer : public ConvolutionLayer<float> {
 public:
  explicit DnnlConvolutionLayer(const LayerParameter& param)
      : ConvolutionLayer<float>(param), is_ours_(false), shape_() {}
  virtual void Reshape(const vector<Blob<float>*>& bottom,
      const vector<Blob<float>*>& top);
  /// Of the forward pass.
  virtual int64_t ColumnCount();

 protected:
  virtual void Forward_cpu(const vector<Blob<float>*>& bottom,
      const vector<Blob<float>*>& top);
  virtual void Backward_cpu(const vector<Blob<float>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<float>*>& bottom);

 private:
  typedef std::unique_ptr<DnnlConvolution> Engine;

  DnnlConvolution* Get(DnnlConvolution::Direction direction);

  bool is_ours_;            // the present shape is not left to Caffe's engine
  ConvolutionShape shape_;
  Engine engines_[DnnlConvolution::DIRECTIONS];  // per direction, made when it is first needed
};

}  // namespace caffe

#endif  // USE_DNNL
#endif  // CAFFE_DNNL_CONV_LAYER_HPP_
