#include <algorithm>
#include <string>
#include <vector>

#include "caffe/util/row_strips.hpp"

namespace caffe {

namespace {

const int kMostStrips = 16;

// The only value, 1 for none, of a field of two axes; 0 where they may differ.
template <typename Values>
int OfBothAxes(const Values& values) {
  return values.size() == 0 ? 1 : values.size() == 1 ? values.Get(0) : 0;
}

// A convolution that keeps the size of its input: half of what the kernel spans.
int ConvolutionReach(const ConvolutionParameter& param) {
  const int kernel = OfBothAxes(param.kernel_size());
  const int extent = (kernel - 1) * OfBothAxes(param.dilation()) + 1;
  const int pad = param.pad_size() == 1 ? param.pad(0) : 0;
  const bool same = kernel > 0 && OfBothAxes(param.dilation()) > 0
      && OfBothAxes(param.stride()) == 1 && param.pad_size() < 2
      && 2 * pad + 1 == extent && param.axis() == 1;
  const bool by_axis = param.has_kernel_h() || param.has_pad_h()
      || param.has_pad_w() || param.has_stride_h() || param.has_stride_w();
  return same && !by_axis ? pad : -1;
}

// How many rows beyond its own a row of a layer's tops depends on, in rows of
// the tops but for Interp's enlarging; -1: not known, or the rows are not those
// of an image.
int Reach(const LayerParameter& param) {
  const std::string& type = param.type();
  const BatchNormParameter& norm = param.batch_norm_param();
  if (norm.has_use_global_stats() && !norm.use_global_stats()) { return -1; }
  if (type == "DenseBlock") { return param.dense_block_param().num_units(); }
  if (type == "Convolution") {
    return ConvolutionReach(param.convolution_param());
  }
  if (type == "Interp") {
    const InterpParameter& interp = param.interp_param();
    return interp.has_zoom_factor() && !interp.has_shrink_factor()
        && !interp.has_height() && !interp.has_width()
        && interp.pad_beg() == 0 && interp.pad_end() == 0 ? 0 : -1;
  }
  const bool by_pixel = type == "BNReLUConvolution" || type == "BNReLU"
      || type == "ReLU" || type == "Eltwise" || type == "Split"
      || (type == "Scale" && param.bottom_size() == 1
          && param.scale_param().axis() == 1
          && param.scale_param().num_axes() == 1)
      || (type == "Concat" && param.concat_param().axis() == 1
          && !param.concat_param().has_concat_dim())
      || (type == "Softmax" && param.softmax_param().axis() == 1);
  return by_pixel ? 0 : -1;
}

int CeilDiv(int a, int b) { return (a + b - 1) / b; }

// Fills in all but count and length; false where rows do not fit together.
template <typename Dtype>
bool Span(const Net<Dtype>& net, int first, RowStrips* strips) {
  const vector<shared_ptr<Blob<Dtype> > >& blobs = net.blobs();
  vector<bool> before(blobs.size(), false), known(blobs.size(), false);
  for (int i = 0; i < first; ++i) {
    for (int j = 0; j < net.top_ids(i).size(); ++j) {
      before[net.top_ids(i)[j]] = true;
    }
  }
  strips->first = first;
  strips->steps = INT_MAX;
  const int layers = net.layers().size();
  vector<int> used;
  for (int i = first; i < layers; ++i) {
    const vector<int>& bottoms = net.bottom_ids(i);
    const vector<int>& tops = net.top_ids(i);
    for (int j = 0; j < bottoms.size(); ++j) {
      const int id = bottoms[j];
      if (before[id] && !known[id]) {
        if (blobs[id]->num_axes() != 4) { return false; }
        strips->inputs.push_back(id);
        strips->steps = std::min(strips->steps, blobs[id]->height() - 1);
        known[id] = true;
      }
      used.push_back(id);
    }
    for (int j = 0; j < tops.size(); ++j) {
      if (before[tops[j]]) { return false; }  // in place of what is read again
      used.push_back(tops[j]);
    }
  }
  if (strips->steps < 1) { return false; }
  for (int i = 0; i < used.size(); ++i) {
    const Blob<Dtype>& blob = *blobs[used[i]];
    if (blob.num_axes() != 4 || (blob.height() - 1) % strips->steps) {
      return false;
    }
  }
  // Rows at a border that miss something beyond it, of each blob.
  vector<int> wrong(blobs.size(), 0);
  for (int i = first; i < layers; ++i) {
    const vector<int>& bottoms = net.bottom_ids(i);
    const vector<int>& tops = net.top_ids(i);
    int most = 0;
    for (int j = 0; j < bottoms.size(); ++j) {
      most = std::max(most, CeilDiv(wrong[bottoms[j]]
          * strips->Scale(blobs[tops[0]]->height()),
          strips->Scale(blobs[bottoms[j]]->height())));
    }
    for (int j = 0; j < tops.size(); ++j) {
      wrong[tops[j]] = most + Reach(net.layers()[i]->layer_param());
    }
  }
  strips->overlap = 0;
  for (int i = 0; i < net.num_outputs(); ++i) {
    const int id = net.output_blob_indices()[i];
    if (before[id]) { continue; }
    strips->outputs.push_back(id);
    strips->overlap = std::max(strips->overlap,
        CeilDiv(wrong[id], strips->Scale(blobs[id]->height())));
  }
  return true;
}

}  // namespace

template <typename Dtype>
vector<RowStrips> FindRowStrips(const Net<Dtype>& net) {
  vector<RowStrips> found;
  for (int first = net.layers().size() - 1; first > 0; --first) {
    if (Reach(net.layers()[first]->layer_param()) < 0) { break; }
    RowStrips strips;
    if (!Span(net, first, &strips)) { continue; }
    const int halo = 2 * strips.overlap;
    for (int count = 2; count <= kMostStrips
        && 10 * halo * (count - 1) <= strips.steps; ++count) {
      strips.count = count;
      strips.length = CeilDiv(strips.steps - halo, count) + halo;
      if (strips.Begin(count - 2) + strips.length < strips.steps) {
        found.push_back(strips);
      }
    }
  }
  return found;
}

template vector<RowStrips> FindRowStrips(const Net<float>& net);
template vector<RowStrips> FindRowStrips(const Net<double>& net);

}  // namespace caffe
