#ifdef USE_DNNL

#include "caffe/util/dnnl_convolution.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "caffe/common.hpp"
#include "caffe/util/dnnl_convolution_plan.hpp"
#include "caffe/util/dnnl_engine.hpp"
#include "caffe/util/fused_math.hpp"

namespace caffe {

using dnnl::memory;

namespace {

void Pack(const dnnl::reorder& reorder, const memory::desc& from,
    const void* source, const memory::desc& to, void* target) {
  memory in = DnnlMemory(from, source), out = DnnlMemory(to, target);
  reorder.execute(DnnlStream(), in, out);
}

/// Copies a strip's rows of `image` (width values each) into the strip, where
/// the other rows become 0, or out of it.
void Copy(const DnnlPart& part, bool into, const float* image, int width,
    const memory::desc& whole, char* packed) {
  if (into && part.count < whole.get_dims()[2]) {
    memset(packed, 0, whole.get_size());  // NOLINT(caffe/alt_fn)
  }
  if (part.count == 0) { return; }
  image += static_cast<size_t>(part.row) * width;
  packed += part.at * whole.get_strides()[2]
      * dnnl::memory::data_type_size(whole.get_data_type());
  const DnnlRows& rows = *part.rows;
  if (into) {
    Pack(rows.copy, rows.plain, image, rows.packed, packed);
  } else {
    Pack(rows.copy, rows.packed, packed, rows.plain,
        const_cast<float*>(image));
  }
}

/// Tells changed weights. Pycaffe writes into them without a notice.
uint64_t Checksum(const float* data, size_t count) {
  const uint64_t kOdd = 0x9E3779B97F4A7C15ull;
  uint64_t lanes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits;
    memcpy(&bits, data + i, sizeof(bits));  // NOLINT(caffe/alt_fn)
    uint64_t& lane = lanes[i % 8];
    lane = (lane ^ bits) * kOdd;
    lane ^= lane >> 29;
  }
  uint64_t sum = count;
  for (int i = 0; i < 8; ++i) { sum = (sum ^ (sum >> 31) ^ lanes[i]) * kOdd; }
  return sum;
}

}  // namespace

DnnlConvolution::DnnlConvolution(Direction direction,
    const ConvolutionShape& given, bool bias)
    : turned_(direction == BACKWARD_DATA
          && Plan::IsForWinograd(FORWARD, given.Adjoint())), winograd_of_(0) {
  const ConvolutionShape shape = turned_ ? given.Adjoint() : given;
  if (turned_) { direction = FORWARD; }
  // Nets repeat shapes; the primitives of a shape are made once.
  static std::mutex mutex;
  static std::map<std::vector<int>, std::weak_ptr<const Plan> > plans;
  std::vector<int> key = {direction, bias, omp_get_max_threads(), shape.num,
      shape.channels, shape.outputs, shape.group};
  const int* pairs[] = {shape.in, shape.out, shape.kernel, shape.stride,
      shape.pad, shape.dilation};
  for (int i = 0; i < 6; ++i) { key.insert(key.end(), pairs[i], pairs[i] + 2); }
  const std::lock_guard<std::mutex> lock(mutex);
  std::weak_ptr<const Plan>& known = plans[key];
  plan_ = known.lock();
  if (!plan_) {
    plan_ = std::make_shared<const Plan>(direction, shape, bias);
    known = plan_;
  }
}

bool DnnlConvolution::Usable() const { return plan_->usable; }

bool DnnlConvolution::IsWinograd() const { return plan_->is_winograd; }

std::string DnnlConvolution::Implementation() const {
  return plan_->implementation;
}

size_t DnnlConvolution::ScratchBytes() const { return plan_->scratch_size; }

/// Convolves one strip of an image, of whose bottom and top one is written,
/// or none. `rest` are the arguments beside these two.
void DnnlConvolution::Convolve(const DnnlStrip& strip, const float* bottom,
    const float* top, const Arguments& rest, char* scratch) const {
  const Plan& plan = *plan_;
  const int width = plan.shape.in[1], top_width = plan.shape.out[1];
  char* packed_top = scratch + plan.top_at;
  if (plan.reads_bottom()) {
    Copy(strip.bottom, true, bottom, width, plan.packed_bottom, scratch);
  }
  if (plan.reads_top()) {
    Copy(strip.top, true, top, top_width, plan.packed_top, packed_top);
  }
  if (plan.is_winograd) {
    const auto bias = rest.find(DNNL_ARG_BIAS);
    winograd_->Convolve(plan.packed_top.get_dims()[2], width, plan.shape.pad[1],
        reinterpret_cast<const float*>(scratch), bias == rest.end() ? NULL
        : static_cast<const float*>(bias->second.get_data_handle()),
        reinterpret_cast<float*>(packed_top));
  } else {
    Arguments all = rest;
    all[plan.reads_bottom() ? DNNL_ARG_SRC : DNNL_ARG_DIFF_SRC] =
        DnnlMemory(plan.packed_bottom, scratch);
    all[plan.reads_top() ? DNNL_ARG_DIFF_DST : DNNL_ARG_DST] =
        DnnlMemory(plan.packed_top, packed_top);
    all[DNNL_ARG_SCRATCHPAD] = DnnlMemory(plan.scratchpad,
        scratch + plan.own_at);
    plan.convolution.execute(DnnlStream(), all);
  }
  if (!plan.reads_bottom()) {
    Copy(strip.bottom, false, bottom, width, plan.packed_bottom, scratch);
  }
  if (!plan.reads_top()) {
    Copy(strip.top, false, top, top_width, plan.packed_top, packed_top);
  }
}

/// Convolves all strips of all images; each thread takes the next one.
void DnnlConvolution::ConvolveAll(const float* bottom, const float* top,
    const Arguments& rest) const {
  const Plan& plan = *plan_;
  const int per_image = plan.strips.size();
#pragma omp parallel if (plan.is_large)
  {
    const DnnlAlone alone;
    char* scratch = FusedScratch::Get<char>(FusedScratch::STRIP,
        plan.scratch_size);
#pragma omp for schedule(dynamic, 1)
    for (int i = 0; i < plan.shape.num * per_image; ++i) {
      Convolve(plan.strips[i % per_image],
          bottom + i / per_image * plan.bottom_size(),
          top + i / per_image * plan.top_size(), rest, scratch);
    }
  }
}

void DnnlConvolution::Forward(const float* bottom, const float* weights,
    const float* bias, float* top) {
  Arguments rest;
  if (plan_->is_winograd) {
    SetWinograd(weights);
  } else {
    rest[DNNL_ARG_WEIGHTS] = PackedWeights(weights);
  }
  if (plan_->bias) {
    rest[DNNL_ARG_BIAS] = DnnlMemory(plan_->bias_values, bias);
  }
  ConvolveAll(bottom, top, rest);
}

void DnnlConvolution::BackwardData(const float* top_diff, const float* weights,
    float* bottom_diff) {
  if (turned_) { return Forward(top_diff, weights, NULL, bottom_diff); }
  Arguments rest;
  rest[DNNL_ARG_WEIGHTS] = PackedWeights(weights);
  ConvolveAll(bottom_diff, top_diff, rest);
}

/// Transforms the weights unless these are the ones of the last call.
void DnnlConvolution::SetWinograd(const float* weights) {
  const uint64_t sum = Checksum(weights,
      plan_->plain_weights.get_size() / sizeof(float));
  if (winograd_ && winograd_of_ == sum) { return; }
  winograd_.reset(new Winograd(plan_->shape.channels, plan_->shape.outputs));
  winograd_->SetFilters(weights, turned_);
  winograd_of_ = sum;
}

/// The weights in oneDNN's layout, in the calling thread's scratch.
dnnl::memory DnnlConvolution::PackedWeights(const float* weights) const {
  const DnnlAlone alone(!plan_->has_large_weights);
  char* packed = FusedScratch::Get<char>(FusedScratch::FILTERS,
      plan_->packed_weights.get_size());
  Pack(plan_->weights, plan_->plain_weights, weights, plan_->packed_weights,
      packed);
  return DnnlMemory(plan_->packed_weights, packed);
}

void DnnlConvolution::BackwardWeights(const float* bottom,
    const float* top_diff, float* weights_diff) const {
  const Plan& plan = *plan_;
  const int per_image = plan.strips.size();
  const size_t packed = plan.packed_weights.get_size() / sizeof(float);
  const WinogradGradient winograd(plan.shape.channels, plan.shape.outputs);
  std::vector<float*> sums(omp_get_max_threads());  // NULL: has had no strip
#pragma omp parallel if (plan.is_large)
  {
    const DnnlAlone alone;
    char* scratch = FusedScratch::Get<char>(FusedScratch::STRIP,
        plan.scratch_size);
    float* gradient = reinterpret_cast<float*>(scratch + plan.gradient_at);
    float*& sum = sums[omp_get_thread_num()];
#pragma omp for schedule(static)
    for (int i = 0; i < plan.shape.num * per_image; ++i) {
      float* to = sum ? gradient : reinterpret_cast<float*>(scratch
          + plan.sum_at);
      if (plan.is_winograd) {
        const DnnlStrip& strip = plan.strips[i % per_image];
        char* packed_top = scratch + plan.top_at;
        Copy(strip.bottom, true, bottom + i / per_image * plan.bottom_size(),
            plan.shape.in[1], plan.packed_bottom, scratch);
        Copy(strip.top, true, top_diff + i / per_image * plan.top_size(),
            plan.shape.out[1], plan.packed_top, packed_top);
        const int rows = plan.packed_top.get_dims()[2];
        to = sum ? sum : to;
        winograd.AddRows(rows, plan.shape.in[1], rows + 2, 0,
            plan.shape.pad[1], reinterpret_cast<float*>(scratch),
            reinterpret_cast<float*>(packed_top), sum != NULL, to);
        sum = to;
        continue;
      }
      Arguments rest;
      rest[DNNL_ARG_DIFF_WEIGHTS] = DnnlMemory(plan.packed_weights, to);
      Convolve(plan.strips[i % per_image],
          bottom + i / per_image * plan.bottom_size(),
          top_diff + i / per_image * plan.top_size(), rest, scratch);
      if (sum) {
        for (size_t k = 0; k < packed; ++k) { sum[k] += gradient[k]; }
      } else {
        sum = to;
      }
    }
  }
  if (plan.is_winograd) { return winograd.AddFilters(sums, weights_diff); }
  for (size_t t = 1; t < sums.size(); ++t) {
    for (size_t k = 0; sums[t] && k < packed; ++k) { sums[0][k] += sums[t][k]; }
  }
  const size_t count = plan.plain_weights.get_size() / sizeof(float);
  float* plain = FusedScratch::Get<float>(FusedScratch::FILTERS, count);
  const DnnlAlone alone(!plan.has_large_weights);
  Pack(plan.weights, plan.packed_weights, sums[0], plan.plain_weights, plain);
  for (size_t k = 0; k < count; ++k) { weights_diff[k] += plain[k]; }
}

}  // namespace caffe

#endif  // USE_DNNL
