#ifndef CAFFE_UTIL_LARGE_PAGES_HPP_
#define CAFFE_UTIL_LARGE_PAGES_HPP_

#include <stdlib.h>
#include <sys/mman.h>

#include <cstddef>

namespace caffe {

/// `*bytes` of memory, rounded up; in large pages where it fills one, which
/// means fewer page faults. NULL if there is none. Freed by free.
inline void* LargePages(size_t* bytes) {
  const size_t kPage = size_t(2) << 20, kLine = 64;
  const size_t aligned = *bytes >= kPage ? kPage : kLine;
  *bytes = (*bytes + aligned - 1) / aligned * aligned;
  void* memory = NULL;
  if (posix_memalign(&memory, aligned, *bytes) != 0) { return NULL; }
#ifdef MADV_HUGEPAGE
  if (aligned == kPage) { madvise(memory, *bytes, MADV_HUGEPAGE); }  // a wish
#endif
  return memory;
}

}  // namespace caffe

#endif  // CAFFE_UTIL_LARGE_PAGES_HPP_
