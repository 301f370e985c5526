#include <algorithm>
#include <cstring>
#include <vector>

#include "caffe/util/dnnl_engine.hpp"
#include "caffe/util/fused_math.hpp"
#include "caffe/util/rows_convolution.hpp"

namespace caffe {

namespace {

const int kTaps = 9;

// One image row's patches, width x (9 channels): row y of `x` (height x width x
// channels), of which rows outside are zero.
template <typename Dtype>
void Patches(const Dtype* x, int height, int width, int channels, int y,
    Dtype* patches) {
  const size_t bytes = channels * sizeof(Dtype);
  for (int column = 0; column < width; ++column) {
    for (int tap = 0; tap < kTaps; ++tap, patches += channels) {
      const int from_y = y + tap / 3 - 1, from_x = column + tap % 3 - 1;
      if (from_y < 0 || from_y >= height || from_x < 0 || from_x >= width) {
        memset(patches, 0, bytes);
      } else {
        memcpy(patches,
            x + (static_cast<ptrdiff_t>(from_y) * width + from_x) * channels,
            bytes);
      }
    }
  }
}

}  // namespace

template <typename Dtype>
void RowsConvolution<Dtype>::ForwardStrip(int count, const Dtype* x,
    Dtype* y) {
  const int depth = kTaps * channels_;
  Dtype* filters = FusedScratch::Get<Dtype>(FusedScratch::FILTERS,
      static_cast<size_t>(depth) * outputs_);
  for (int o = 0; o < outputs_; ++o) {
    for (int c = 0; c < channels_; ++c) {
      for (int tap = 0; tap < kTaps; ++tap) {
        filters[(tap * channels_ + c) * outputs_ + o] =
            filters_[(o * channels_ + c) * kTaps + tap];
      }
    }
  }
  const size_t space = static_cast<size_t>(width_) * depth;
  Dtype* patches = FusedScratch::Get<Dtype>(FusedScratch::COLUMNS,
      space * FusedThreads());
#pragma omp parallel for schedule(static)
  for (int row = 0; row < count; ++row) {
    Dtype* own = patches + space * FusedThread();
    Patches(x, count + 2, width_, channels_, row + 1, own);
    FusedGemm(false, false, width_, outputs_, depth, own, depth, filters,
        outputs_, Dtype(0), y + static_cast<ptrdiff_t>(row) * width_ * outputs_,
        outputs_);
  }
}

template <typename Dtype>
void RowsConvolution<Dtype>::BackwardData(const Dtype* dy, Dtype* dx) {
  // A convolution of dy with the filters turned round.
  const int depth = kTaps * outputs_;
  Dtype* filters = FusedScratch::Get<Dtype>(FusedScratch::FILTERS,
      static_cast<size_t>(depth) * channels_);
  for (int o = 0; o < outputs_; ++o) {
    for (int c = 0; c < channels_; ++c) {
      for (int tap = 0; tap < kTaps; ++tap) {
        filters[((kTaps - 1 - tap) * outputs_ + o) * channels_ + c] =
            filters_[(o * channels_ + c) * kTaps + tap];
      }
    }
  }
  const size_t space = static_cast<size_t>(width_) * depth;
  Dtype* patches = FusedScratch::Get<Dtype>(FusedScratch::COLUMNS,
      space * FusedThreads());
#pragma omp parallel for schedule(static)
  for (int row = 0; row < num_ * height_; ++row) {
    Dtype* own = patches + space * FusedThread();
    const ptrdiff_t first = static_cast<ptrdiff_t>(row / height_) * height_;
    Patches(dy + first * width_ * outputs_, height_, width_, outputs_,
        row % height_, own);
    FusedGemm(false, false, width_, channels_, depth, own, depth, filters,
        channels_, Dtype(0),
        dx + static_cast<ptrdiff_t>(row) * width_ * channels_, channels_);
  }
}

template <typename Dtype>
void RowsConvolution<Dtype>::BackwardFilters(const Dtype* x, const Dtype* dy,
    Dtype* filters_diff) {
  const int depth = kTaps * channels_;
  Dtype* patches = FusedScratch::Get<Dtype>(FusedScratch::COLUMNS,
      static_cast<size_t>(width_) * depth);
  Dtype* sums = FusedScratch::Get<Dtype>(FusedScratch::FILTERS,
      static_cast<size_t>(depth) * outputs_);
  for (int row = 0; row < num_ * height_; ++row) {
    const ptrdiff_t first = static_cast<ptrdiff_t>(row / height_) * height_;
    Patches(x + first * width_ * channels_, height_, width_, channels_,
        row % height_, patches);
    FusedGemm(true, false, outputs_, depth, width_,
        dy + static_cast<ptrdiff_t>(row) * width_ * outputs_, outputs_,
        patches, depth, Dtype(row > 0), sums, depth);
  }
  for (int o = 0; o < outputs_; ++o) {
    for (int c = 0; c < channels_; ++c) {
      for (int tap = 0; tap < kTaps; ++tap) {
        filters_diff[(o * channels_ + c) * kTaps + tap] +=
            sums[o * depth + tap * channels_ + c];
      }
    }
  }
}

#ifdef USE_DNNL

using dnnl::memory;

RowsConvolution<float>::RowsConvolution(int num, int height, int width,
    int channels, int outputs)
    : num_(num), height_(height), width_(width), channels_(channels),
      outputs_(outputs), filters_(NULL), forward_(), backward_() {
  if (Winograd::Wins(channels, outputs, height, width)) {
    forward_.winograd.reset(new Winograd(channels, outputs));
  }
  if (Winograd::Wins(outputs, channels, height, width)) {
    backward_.winograd.reset(new Winograd(outputs, channels));
  }
}

void RowsConvolution<float>::SetFilters(const float* filters) {
  filters_ = filters;
  forward_.current = backward_.current = false;
  for (auto& strip : strips_) { strip.second.current = false; }
  if (data_) { data_->current = false; }
}

memory::desc RowsConvolution<float>::Rows(int num, int height, int channels,
    Type type) const {
  return memory::desc({num, channels, height, width_}, type,
      memory::format_tag::nhwc);
}

memory::desc RowsConvolution<float>::Filters(memory::format_tag tag,
    Type type) const {
  return memory::desc({outputs_, channels_, 3, 3}, type, tag);
}

dnnl::convolution_forward::primitive_desc RowsConvolution<float>::Forward(
    int num, int height, int pad, dnnl::prop_kind kind, Type type) const {
  dnnl::primitive_attr attributes;  // several threads may compute a strip each
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return dnnl::convolution_forward::primitive_desc(DnnlEngine(), kind,
      dnnl::algorithm::convolution_direct, Rows(num, height + 2 - 2 * pad,
      channels_, type), Filters(memory::format_tag::any, type),
      Rows(num, height, outputs_), {1, 1}, {pad, 1}, {pad, 1}, attributes);
}

// Brings the filters that were set into the primitive's layout.
RowsConvolution<float>::Primitive* RowsConvolution<float>::Use(
    Primitive* primitive) {
  if (!primitive->current) {
    memory plain = DnnlMemory(Filters(memory::format_tag::oihw), filters_);
    dnnl::reorder(plain, primitive->filters).execute(DnnlStream(), plain,
        primitive->filters);
    primitive->current = true;
  }
  return primitive;
}

void RowsConvolution<float>::Prepare(int count, bool bf16, bool alone) {
  if (bf16 || !forward_.winograd) {
    Strip(count, bf16 ? Type::bf16 : Type::f32, alone);
  } else if (!forward_.current) {
    forward_.winograd->SetFilters(filters_);
    forward_.current = true;
  }
}

void RowsConvolution<float>::ForwardStrip(int count, const float* x,
    float* y) {
  if (forward_.winograd) {
    Prepare(count, false, false);
    forward_.winograd->Convolve(count, width_, 1, x, NULL, y);
  } else {
    RunStrip(count, Type::f32, x, y);
  }
}

void RowsConvolution<float>::ForwardStrip(int count, const Bf16* x,
    float* y) {
  RunStrip(count, Type::bf16, x, y);
}

// A primitive is made for as many threads as will compute it: `alone`, for one.
RowsConvolution<float>::Primitive* RowsConvolution<float>::Strip(int count,
    Type type, bool alone) {
  const std::tuple<int, Type, bool> key(count, type, alone);
  auto found = strips_.find(key);
  if (found == strips_.end()) {
    const DnnlAlone threads(alone);
    const auto desc = Forward(1, count, 0, dnnl::prop_kind::forward_inference,
        type);
    const Primitive made = {dnnl::convolution_forward(desc), desc.src_desc(),
        desc.dst_desc(), desc.scratchpad_desc(),
        memory(desc.weights_desc(), DnnlEngine()), false};
    found = strips_.insert(std::make_pair(key, made)).first;
  }
  return Use(&found->second);
}

void RowsConvolution<float>::RunStrip(int count, Type type, const void* x,
    float* y) {
  const Primitive* strip = Strip(count, type, omp_in_parallel());
  strip->primitive.execute(DnnlStream(), {
      {DNNL_ARG_SRC, DnnlMemory(strip->x, x)},
      {DNNL_ARG_WEIGHTS, strip->filters},
      {DNNL_ARG_DST, DnnlMemory(strip->y, y)},
      {DNNL_ARG_SCRATCHPAD, DnnlMemory(strip->scratchpad,
          FusedScratch::Get<char>(FusedScratch::COLUMNS,
              strip->scratchpad.get_size()))}});
  DnnlStream().wait();
}

void RowsConvolution<float>::BackwardData(const float* dy, float* dx) {
  if (backward_.winograd) {
    if (!backward_.current) {
      backward_.winograd->SetFilters(filters_, true);
      backward_.current = true;
    }
    backward_.winograd->ConvolveImages(num_, height_, width_, dy, dx);
    return;
  }
  if (!data_) {
    const auto forward = Forward(num_, height_, 1,
        dnnl::prop_kind::forward_training);
    const dnnl::convolution_backward_data::primitive_desc data(DnnlEngine(),
        dnnl::algorithm::convolution_direct, Rows(num_, height_, channels_),
        Filters(memory::format_tag::any), Rows(num_, height_, outputs_),
        {1, 1}, {1, 1}, {1, 1}, forward);
    data_.reset(new Primitive);
    data_->primitive = dnnl::convolution_backward_data(data);
    data_->x = data.diff_src_desc();
    data_->y = data.diff_dst_desc();
    data_->filters = memory(data.weights_desc(), DnnlEngine());
    data_->current = false;
  }
  Use(data_.get())->primitive.execute(DnnlStream(), {
      {DNNL_ARG_DIFF_DST, DnnlMemory(data_->y, dy)},
      {DNNL_ARG_WEIGHTS, data_->filters},
      {DNNL_ARG_DIFF_SRC, DnnlMemory(data_->x, dx)}});
  DnnlStream().wait();
}

void RowsConvolution<float>::BackwardFilters(const float* x, const float* dy,
    float* filters_diff) {
  if (WinogradGradient::Wins(channels_, outputs_, height_, width_)) {
    WinogradGradient(channels_, outputs_).AddImages(num_, height_, width_, x,
        dy, filters_diff);
    return;
  }
  if (!weights_) {
    const auto forward = Forward(num_, height_, 1,
        dnnl::prop_kind::forward_training);
    const dnnl::convolution_backward_weights::primitive_desc weights(
        DnnlEngine(), dnnl::algorithm::convolution_direct,
        Rows(num_, height_, channels_), Filters(memory::format_tag::any),
        Rows(num_, height_, outputs_), {1, 1}, {1, 1}, {1, 1}, forward);
    weights_.reset(new Primitive);
    weights_->primitive = dnnl::convolution_backward_weights(weights);
    weights_->x = weights.src_desc();
    weights_->y = weights.diff_dst_desc();
    weights_->filters = memory(weights.diff_weights_desc(), DnnlEngine());
  }
  weights_->primitive.execute(DnnlStream(), {
      {DNNL_ARG_SRC, DnnlMemory(weights_->x, x)},
      {DNNL_ARG_DIFF_DST, DnnlMemory(weights_->y, dy)},
      {DNNL_ARG_DIFF_WEIGHTS, weights_->filters}});
  const size_t count = static_cast<size_t>(outputs_) * channels_ * kTaps;
  float* sums = FusedScratch::Get<float>(FusedScratch::FILTERS, count);
  memory plain = DnnlMemory(Filters(memory::format_tag::oihw), sums);
  dnnl::reorder(weights_->filters, plain).execute(DnnlStream(), weights_->filters,
      plain);
  DnnlStream().wait();
  for (size_t i = 0; i < count; ++i) { filters_diff[i] += sums[i]; }
}

template class RowsConvolution<double>;

#else

INSTANTIATE_CLASS(RowsConvolution);

#endif  // USE_DNNL

}  // namespace caffe
