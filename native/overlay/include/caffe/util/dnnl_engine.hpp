#ifndef CAFFE_UTIL_DNNL_ENGINE_HPP_
#define CAFFE_UTIL_DNNL_ENGINE_HPP_

#ifdef USE_DNNL

#include <dnnl.hpp>
#include <omp.h>

namespace caffe {

/// The process's one engine of oneDNN, the CPU; it lives as long as the process.
inline const dnnl::engine& DnnlEngine() {
  static const dnnl::engine* engine =
      new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

/// The calling thread's stream, in which oneDNN's primitives run.
inline dnnl::stream& DnnlStream() {
  static thread_local dnnl::stream stream(DnnlEngine());
  return stream;
}

/// The memory at `data`, laid out as `desc` says.
inline dnnl::memory DnnlMemory(const dnnl::memory::desc& desc,
    const void* data) {
  return dnnl::memory(desc, DnnlEngine(), const_cast<void*>(data));
}

/// While it lives, the calling thread does alone what it does by oneDNN.
class DnnlAlone {
 public:
  explicit DnnlAlone(bool alone = true) : former_(omp_get_max_threads()) {
    if (alone) { omp_set_num_threads(1); }
  }
  ~DnnlAlone() { omp_set_num_threads(former_); }

 private:
  const int former_;
};

}  // namespace caffe

#endif  // USE_DNNL
#endif  // CAFFE_UTIL_DNNL_ENGINE_HPP_
