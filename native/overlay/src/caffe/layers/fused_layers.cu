#include <vector>

#include "caffe/util/bn_relu_convolution_device.hpp"
#include "caffe/util/bn_relu_device.hpp"
#include "caffe/util/dense_block_device.hpp"
#include "caffe/util/fused_gpu.hpp"

namespace caffe {

#define FUSED_LAYER_ON_GPU(Name) \
template <typename Dtype> \
void Name<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom, \
      const vector<Blob<Dtype>*>& top) { \
  this->template ForwardOn<fused::Gpu>(bottom, top); \
} \
template <typename Dtype> \
void Name<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top, \
      const vector<bool>& propagate_down, \
      const vector<Blob<Dtype>*>& bottom) { \
  this->template BackwardOn<fused::Gpu>(top, propagate_down, bottom); \
} \
INSTANTIATE_LAYER_GPU_FUNCS(Name)

FUSED_LAYER_ON_GPU(BNReLULayer);
FUSED_LAYER_ON_GPU(BNReLUConvolutionLayer);
FUSED_LAYER_ON_GPU(DenseBlockLayer);

}  // namespace caffe
