#include <vector>

#include "caffe/util/bn_relu_convolution_device.hpp"
#include "caffe/util/fused_gpu.hpp"

namespace caffe {

template <typename Dtype>
void BNReLUConvolutionLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  this->template ForwardOn<fused::Gpu>(bottom, top);
}

template <typename Dtype>
void BNReLUConvolutionLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  this->template BackwardOn<fused::Gpu>(top, propagate_down, bottom);
}

INSTANTIATE_LAYER_GPU_FUNCS(BNReLUConvolutionLayer);

}  // namespace caffe
