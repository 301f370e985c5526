#ifndef CAFFE_INTERP_LAYER_HPP_
#define CAFFE_INTERP_LAYER_HPP_

#include <string>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief Bilinear resampling with aligned corners: the "interp layer using the
 *        bilinear interpolation for upsampling" of the DFCNet paper (2.1).
 *
 * Input (N x C x H x W), output (N x C x H' x W'). Negative pads crop the input
 * to the effective size E = H + pad_beg + pad_end (both axes alike) first. Then
 *   shrink_factor s:            H' = (E - 1) / s + 1
 *   zoom_factor z:              H' = E + (E - 1) (z - 1)
 *   height and width:           H' = height
 *   shrink and zoom:            shrink, then zoom
 * A lone factor wins over height and width. Output pixel y reads the input at
 * y (E - 1) / (H' - 1), so first and last rows fall on first and last rows.
 * A second input (N x C x H' x W') is added to that; the output may be in its
 * place. The backward pass is the exact adjoint; cropped borders receive zero.
 * It sums in a fixed order on the CPU, with any number of threads, and on the
 * GPU: results are reproducible.
 */
template <typename Dtype>
class InterpLayer : public Layer<Dtype> {
 public:
  explicit InterpLayer(const LayerParameter& param) : Layer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "Interp"; }
  virtual inline int MinBottomBlobs() const { return 1; }
  virtual inline int MaxBottomBlobs() const { return 2; }
  virtual inline int ExactNumTopBlobs() const { return 1; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);

  /// Where each output position of one axis reads, and who reads each input.
  struct Axis {
    int in, out;            // effective input size, output size
    Blob<int> lower;        // [out] lower neighbour; the upper one is next to it
    Blob<Dtype> fraction;   // [out] weight of the upper neighbour
    Blob<int> first, last;  // [in] outputs first..last-1 have it as a neighbour
    void Reset(int in_size, int out_size);
  };

  int OutputSize(int effective, bool is_height) const;
  string Name() const;
  /// One map, without the cropped borders.
  void ForwardMap(const Dtype* in, const Dtype* add, Dtype* out) const;
  void BackwardMap(const Dtype* out_diff, Dtype* in_diff) const;

  int crop_;   // rows and columns dropped at the top and at the left
  int width_;  // of the input, dropped columns included
  int zoom_;   // of the columns where they are a whole zoom, else 0
  Axis rows_, columns_;
};

}  // namespace caffe

#endif  // CAFFE_INTERP_LAYER_HPP_
