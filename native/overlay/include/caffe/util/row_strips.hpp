#ifndef CAFFE_ROW_STRIPS_HPP_
#define CAFFE_ROW_STRIPS_HPP_

#include <algorithm>
#include <vector>

#include "caffe/common.hpp"
#include "caffe/net.hpp"

namespace caffe {

/**
 * @brief A way to compute the last layers of a net a strip of rows at a time.
 *
 * Each strip is a net's input of less height. It is cut with the rows beyond it
 * that its results need: what it gives near a border that is not the image's
 * is wrong, and is left out. All strips have the same height, so that layers keep
 * their shapes from one to the next.
 *
 * Heights are steps s + 1, with a scale s for each blob: Interp enlarges from
 * corner to corner. A strip begins and ends at a row that all blobs have.
 */
struct RowStrips {
  int first;    // layer: from here to the last one
  int count;    // of strips
  int steps;    // of a whole image
  int length;   // steps of a strip
  int overlap;  // steps at a border that are wrong
  vector<int> inputs, outputs;  // blobs that are whole

  int Begin(int strip) const {
    return std::min(strip * (length - 2 * overlap), steps - length);
  }
  /// Rows per step of a blob of `height` rows in the whole net.
  int Scale(int height) const { return (height - 1) / steps; }
};

/**
 * All ways for a net whose blobs have their whole shapes, those of few layers and
 * few strips first. Layers are taken of which it is known how far they reach
 * beyond a row. At most a tenth of the rows is computed twice.
 */
template <typename Dtype>
vector<RowStrips> FindRowStrips(const Net<Dtype>& net);

}  // namespace caffe

#endif  // CAFFE_ROW_STRIPS_HPP_
