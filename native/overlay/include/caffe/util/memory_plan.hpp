#ifndef CAFFE_MEMORY_PLAN_HPP_
#define CAFFE_MEMORY_PLAN_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/net.hpp"
#include "caffe/syncedmem.hpp"
#include "caffe/util/row_strips.hpp"

namespace caffe {

/// Memory that is in use from step `first` to step `last`, both included.
struct MemoryUse {
  size_t bytes;
  int first, last;
  bool Meets(const MemoryUse& other) const {
    return first <= other.last && other.first <= last;
  }
};

/**
 * Chooses an offset for each use, so that uses that meet in time do not meet in
 * memory, and returns the bytes of the whole. The largest is placed first, each
 * into the smallest gap that takes it. Offsets are multiples of `alignment`.
 */
size_t PlaceMemory(const vector<MemoryUse>& uses, size_t alignment,
    vector<size_t>* offsets);

/**
 * @brief Blobs of a TEST net whose lifetimes do not overlap share one arena.
 *
 * A blob lives from the layer that makes it to the last one that reads it.
 * Blobs that share their data (in-place layers, Split, Flatten, Reshape, Concat
 * or Slice of one) count as one, and so do the features of one image's DenseBlock
 * and its first bottom, with which they begin (of several blocks that begin with
 * the same bottom only the first). Inputs and outputs of the net keep memory of
 * their own, as do blobs whose memory something else holds too. After a
 * forward pass any other blob may hold another's values.
 *
 * On the CPU, where the blobs would take more than `whole_bytes`, the last layers
 * are computed a strip of rows at a time (row_strips.hpp), if that saves memory:
 * their blobs then have the shape of a strip. No callbacks run for them.
 *
 * The plan follows the net to other sizes and from the CPU to the GPU. Memory is
 * taken by the first forward pass; the arena grows and never shrinks. Backward,
 * and forward from a layer in the middle, would read values that are gone: they
 * throw std::runtime_error.
 */
template <typename Dtype>
class MemoryPlan {
 public:
  /// Keeps `net`, which must outlive the plan.
  MemoryPlan(Net<Dtype>* net, size_t whole_bytes);
  /// Gives each blob memory of its own again.
  ~MemoryPlan();

  /// Plans again if a size or the mode has changed; takes no memory.
  void Update();
  /// Gives each blob its place; throws if forward is to begin in the middle.
  void BeforeForward(int start);
  /// Computes the last layers, if these begin with `layer` and run in strips.
  bool ForwardStrips(int layer);
  void RefuseBackward() const;

  size_t whole_bytes() const { return whole_bytes_; }
  /// Bytes of all blobs as they lie: the arena, and those outside of it.
  size_t planned_bytes() const { return planned_bytes_; }
  /// Bytes of all blobs if each had its own memory.
  size_t unplanned_bytes() const { return unplanned_bytes_; }

 private:
  /// Blobs that share their data, or the start of it; the first is made by a
  /// layer.
  struct Group {
    vector<Blob<Dtype>*> blobs;
    int first, last;  // steps
    bool own;         // keeps its own memory
    size_t bytes() const;
    /// Gives the memory back; the next use allocates anew.
    void Forget() const;
  };

  /// A layer with the blobs that it reads and makes; NULL: rows are copied
  /// between whole blobs and strips.
  struct Step {
    Layer<Dtype>* layer;
    vector<int> bottoms, tops;
    vector<Blob<Dtype>*> Of(const vector<int>& ids,
        const vector<shared_ptr<Blob<Dtype> > >& blobs) const;
  };

  void MakeSteps();
  void FindGroups();
  /// Chooses the way to compute the last layers; all shapes are whole.
  void ChooseStrips();
  /// Plans for `strips`; returns the bytes of all blobs.
  size_t Lay(const RowStrips& strips);
  bool SourcesHaveChanged() const;
  bool HasChanged() const;
  void Plan();
  void Place();
  Dtype* Arena(size_t bytes);
  /// Whether something else than a group's blobs holds its memory.
  static bool IsHeldElsewhere(const Group& group);

  Net<Dtype>* net_;
  const size_t whole_bytes_;
  // Of the net, which stay alive with the plan, and those of strips.
  vector<shared_ptr<Blob<Dtype> > > blobs_;
  vector<Blob<Dtype>*> sources_;             // made by layers that read nothing
  vector<Group> groups_;
  // As of the last Plan:
  RowStrips strips_;  // count 1: none
  vector<Step> steps_;
  Caffe::Brew mode_;
  vector<vector<int> > source_shapes_;
  vector<size_t> bytes_;       // of each group
  vector<int> placed_;         // groups that have a place in the arena
  vector<size_t> offsets_;     // of those, in bytes
  size_t arena_bytes_;
  // As of the last Place, of each group; NULL: its own.
  vector<shared_ptr<SyncedMemory> > memories_;
  bool is_placed_;
  shared_ptr<SyncedMemory> gpu_arena_;
  shared_ptr<void> cpu_arena_;
  size_t cpu_arena_bytes_;
  size_t planned_bytes_, unplanned_bytes_;

  DISABLE_COPY_AND_ASSIGN(MemoryPlan);
};

}  // namespace caffe

#endif  // CAFFE_MEMORY_PLAN_HPP_
