#include <map>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "boost/thread/mutex.hpp"
#include "glog/logging.h"

#include "caffe/util/bf16_product.hpp"
#include "caffe/util/dnnl_engine.hpp"

namespace caffe {

namespace {

bool prediction_bf16 = false;

}  // namespace

bool PredictionBf16() { return prediction_bf16; }

bool HasBf16Tiles() {
#if defined(USE_DNNL) && defined(__x86_64__)
  return __builtin_cpu_supports("amx-bf16");
#else
  return false;
#endif
}

#ifdef USE_DNNL

using dnnl::memory;

namespace {

memory::desc Matrix(int rows, int columns, memory::data_type type,
    ptrdiff_t lead) {
  return memory::desc({rows, columns}, type, memory::dims({lead, 1}));
}

// Primitives by pixels, channels, outputs and lead; kept for the process.
typedef std::tuple<int, int, int, ptrdiff_t> Key;
struct Made {
  dnnl::matmul::primitive_desc desc;
  dnnl::matmul product;
};
std::map<Key, Made>* made = NULL;
boost::mutex making;

const Made& Make(int pixels, int channels, int outputs, ptrdiff_t lead) {
  boost::mutex::scoped_lock lock(making);
  if (!made) { made = new std::map<Key, Made>; }
  const Key key(pixels, channels, outputs, lead);
  const auto found = made->find(key);
  if (found != made->end()) { return found->second; }
  const auto bf16 = memory::data_type::bf16;
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::matmul::primitive_desc desc;
  if (lead == 0) {
    dnnl::post_ops relu;
    relu.append_eltwise(dnnl::algorithm::eltwise_relu, 0.f, 0.f);
    attr.set_post_ops(relu);
    desc = dnnl::matmul::primitive_desc(DnnlEngine(),
        memory::desc({pixels, channels}, bf16, memory::dims({1, pixels})),
        memory::desc({channels, outputs}, bf16, memory::format_tag::any),
        memory::desc({1, outputs}, memory::data_type::f32,
            memory::format_tag::ab),
        Matrix(pixels, outputs, bf16, outputs), attr);
  } else {
    desc = dnnl::matmul::primitive_desc(DnnlEngine(),
        Matrix(outputs, channels, bf16, channels),
        Matrix(channels, pixels, bf16, pixels),
        Matrix(outputs, pixels, memory::data_type::f32, lead), attr);
  }
  const Made one = {desc, dnnl::matmul(desc)};
  return made->insert(std::make_pair(key, one)).first->second;
}

void Run(const Made& one, const void* a, const memory::desc& b_desc,
    const void* b, const float* bias, void* y) {
  std::unordered_map<int, memory> arguments = {
      {DNNL_ARG_SRC, DnnlMemory(one.desc.src_desc(), a)},
      {DNNL_ARG_WEIGHTS, DnnlMemory(b_desc, b)},
      {DNNL_ARG_DST, DnnlMemory(one.desc.dst_desc(), y)},
      {DNNL_ARG_SCRATCHPAD, memory(one.desc.scratchpad_desc(), DnnlEngine())}};
  if (bias) {
    arguments.insert({DNNL_ARG_BIAS, DnnlMemory(one.desc.bias_desc(), bias)});
  }
  one.product.execute(DnnlStream(), arguments);
  DnnlStream().wait();
}

/// Whether the CPU has instructions for bfloat16, and oneDNN what nets do with
/// them: both products, and a convolution that gives floats.
bool HasBf16() {
#ifdef __x86_64__
  if (!__builtin_cpu_supports("avx512bf16")) { return false; }
#else
  return false;
#endif
  try {
    Make(64, 64, 64, 0);
    Make(64, 64, 64, 64);
    const auto nhwc = memory::format_tag::nhwc, any = memory::format_tag::any;
    const auto bf16 = memory::data_type::bf16, f32 = memory::data_type::f32;
    dnnl::convolution_forward::primitive_desc(DnnlEngine(),
        dnnl::prop_kind::forward_inference,
        dnnl::algorithm::convolution_direct,
        memory::desc({1, 64, 10, 10}, bf16, nhwc),
        memory::desc({32, 64, 3, 3}, bf16, any),
        memory::desc({1, 32, 8, 10}, f32, nhwc), {1, 1}, {0, 1}, {0, 1});
    return true;
  } catch (const dnnl::error& error) {
    LOG(WARNING) << "oneDNN has no bfloat16 for this CPU: " << error.what();
    return false;
  }
}

}  // namespace

bool SetPredictionBf16(bool on) {
  prediction_bf16 = on && HasBf16();
  return prediction_bf16;
}

Bf16Product::Bf16Product(int channels, int outputs, const float* filters)
    : channels_(channels), outputs_(outputs),
      plain_(Matrix(outputs, channels, memory::data_type::bf16, channels),
          DnnlEngine()) {
  memory given = DnnlMemory(Matrix(outputs, channels, memory::data_type::f32,
      channels), filters);
  dnnl::reorder(given, plain_).execute(DnnlStream(), given, plain_);
  DnnlStream().wait();
}

void Bf16Product::Prepare(int pixels, ptrdiff_t lead) {
  const Made& one = Make(pixels, channels_, outputs_, lead);
  std::lock_guard<std::mutex> lock(preparing_);
  if (lead || filters_.count(pixels)) { return; }
  memory liked(one.desc.weights_desc(), DnnlEngine());
  memory turned(memory::desc({channels_, outputs_}, memory::data_type::bf16,
      memory::dims({1, channels_})), DnnlEngine(), plain_.get_data_handle());
  dnnl::reorder(turned, liked).execute(DnnlStream(), turned, liked);
  DnnlStream().wait();
  filters_[pixels] = liked;
}

void Bf16Product::Rows(int pixels, const Bf16* activation, const float* bias,
    Bf16* rows) const {
  const Made& one = Make(pixels, channels_, outputs_, 0);
  memory filters;
  {
    std::lock_guard<std::mutex> lock(preparing_);
    filters = filters_.at(pixels);
  }
  Run(one, activation, filters.get_desc(), filters.get_data_handle(), bias,
      rows);
}

void Bf16Product::Planes(int pixels, const Bf16* activation, ptrdiff_t lead,
    float* planes) const {
  const Made& one = Make(pixels, channels_, outputs_, lead);
  Run(one, plain_.get_data_handle(), one.desc.weights_desc(), activation,
      NULL, planes);
}

#else

bool SetPredictionBf16(bool on) { return false; }

#endif  // USE_DNNL

std::shared_ptr<Bf16Product> MakeBf16Product(int channels, int outputs,
    const float* filters) {
#ifdef USE_DNNL
  if (PredictionBf16()) {
    return std::make_shared<Bf16Product>(channels, outputs, filters);
  }
#endif
  return std::shared_ptr<Bf16Product>();
}

std::shared_ptr<Bf16Product> MakeBf16Product(int channels, int outputs,
    const double* filters) {
  return std::shared_ptr<Bf16Product>();
}

}  // namespace caffe
