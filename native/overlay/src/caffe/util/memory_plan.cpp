#include <algorithm>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "caffe/util/large_pages.hpp"
#include "caffe/util/memory_plan.hpp"

namespace caffe {

namespace {

const size_t kAlignment = 256;  // bytes; cudaMalloc's

size_t RoundUp(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

struct LargerFirst {
  explicit LargerFirst(const vector<MemoryUse>& uses) : uses_(uses) {}
  bool operator()(int a, int b) const {
    return uses_[a].bytes != uses_[b].bytes ? uses_[a].bytes > uses_[b].bytes
        : a < b;
  }
  const vector<MemoryUse>& uses_;
};

// The start of the smallest gap of at least `bytes` between `taken` stretches
// of memory (begin, end), else the end of the last.
size_t SmallestGap(vector<std::pair<size_t, size_t> > taken, size_t bytes) {
  std::sort(taken.begin(), taken.end());
  size_t best = 0, best_size = 0, end = 0;
  bool found = false;
  for (size_t i = 0; i < taken.size(); ++i) {
    if (taken[i].first >= end + bytes) {
      const size_t size = taken[i].first - end;
      if (!found || size < best_size) {
        best = end;
        best_size = size;
        found = true;
      }
    }
    end = std::max(end, taken[i].second);
  }
  return found ? best : end;
}

// Whether the tops of a layer share the data of its first bottom.
template <typename Dtype>
bool SharesData(Layer<Dtype>* layer, int bottoms, int tops) {
  const std::string type = layer->type();
  return type == "Split" || type == "Flatten" || type == "Reshape"
      || (type == "Concat" && bottoms == 1) || (type == "Slice" && tops == 1);
}

// Whether a layer's top begins with its first bottom, unchanged: one image's
// features, which then need no copy. `whole` are the bytes of all that has the
// bottom's data so far: more than the bottom's own are another DenseBlock's
// features, which end where this one's would begin.
template <typename Dtype>
bool BeginsWithBottom(Layer<Dtype>* layer, const Blob<Dtype>& bottom,
    size_t whole) {
  return layer->type() == std::string("DenseBlock") && bottom.num() == 1
      && bottom.count() * sizeof(Dtype) == whole;
}

}  // namespace

size_t PlaceMemory(const vector<MemoryUse>& uses, size_t alignment,
    vector<size_t>* offsets) {
  vector<int> order(uses.size());
  for (int i = 0; i < order.size(); ++i) { order[i] = i; }
  std::sort(order.begin(), order.end(), LargerFirst(uses));
  offsets->assign(uses.size(), 0);
  size_t whole = 0;
  for (int i = 0; i < order.size(); ++i) {
    const int now = order[i];
    vector<std::pair<size_t, size_t> > taken;
    for (int j = 0; j < i; ++j) {
      const int other = order[j];
      if (uses[now].Meets(uses[other])) {
        const size_t begin = (*offsets)[other];
        taken.push_back(std::make_pair(begin,
            begin + RoundUp(uses[other].bytes, alignment)));
      }
    }
    const size_t bytes = RoundUp(uses[now].bytes, alignment);
    (*offsets)[now] = SmallestGap(taken, bytes);
    whole = std::max(whole, (*offsets)[now] + bytes);
  }
  return whole;
}

template <typename Dtype>
MemoryPlan<Dtype>::MemoryPlan(Net<Dtype>* net)
    : net_(net), blobs_(net->blobs()), cpu_arena_bytes_(0) {
  net_->Reshape();
  Plan();
}

template <typename Dtype>
MemoryPlan<Dtype>::~MemoryPlan() {
  for (int i = 0; i < placed_.size(); ++i) { groups_[placed_[i]].Forget(); }
}

template <typename Dtype>
size_t MemoryPlan<Dtype>::Group::bytes() const {
  size_t count = 0;
  for (int i = 0; i < blobs.size(); ++i) {
    count = std::max(count, static_cast<size_t>(blobs[i]->count()));
  }
  return count * sizeof(Dtype);
}

template <typename Dtype>
void MemoryPlan<Dtype>::Group::Forget() const {
  const Blob<Dtype> fresh(blobs[0]->shape());
  for (int i = 0; i < blobs.size(); ++i) {
    if (blobs[i]->count() == fresh.count()) {
      blobs[i]->ShareData(fresh);
    } else {
      blobs[i]->ShareData(Blob<Dtype>(blobs[i]->shape()));
    }
  }
}

template <typename Dtype>
void MemoryPlan<Dtype>::FindGroups() {
  groups_.clear();
  sources_.clear();
  vector<int> group_of(blobs_.size(), -1);
  for (int i = 0; i < net_->layers().size(); ++i) {
    Layer<Dtype>* layer = net_->layers()[i].get();
    const vector<int>& bottoms = net_->bottom_ids(i);
    const vector<int>& tops = net_->top_ids(i);
    for (int j = 0; j < bottoms.size(); ++j) {
      groups_[group_of[bottoms[j]]].last = i;
    }
    for (int j = 0; j < tops.size(); ++j) {
      Blob<Dtype>* blob = blobs_[tops[j]].get();
      int& group = group_of[tops[j]];
      if (group < 0 && bottoms.size()
          && (SharesData(layer, bottoms.size(), tops.size())
          || BeginsWithBottom(layer, *blobs_[bottoms[0]],
              groups_[group_of[bottoms[0]]].bytes()))) {
        group = group_of[bottoms[0]];
        groups_[group].blobs.push_back(blob);
      } else if (group < 0) {
        group = groups_.size();
        groups_.push_back(Group());
        groups_[group].blobs.push_back(blob);
        groups_[group].first = i;
        groups_[group].own = false;
      }
      groups_[group].last = i;
      if (bottoms.empty()) { sources_.push_back(blob); }
      // Filter changes the size of its tops with each forward pass.
      groups_[group].own |= bottoms.empty() || layer->loss(j)
          || layer->type() == std::string("Filter");
    }
  }
  for (int i = 0; i < net_->num_outputs(); ++i) {
    groups_[group_of[net_->output_blob_indices()[i]]].own = true;
  }
}

template <typename Dtype>
bool MemoryPlan<Dtype>::IsHeldElsewhere(const Group& group) {
  for (int i = 0; i < group.blobs.size(); ++i) {
    const shared_ptr<SyncedMemory>& memory = group.blobs[i]->data();
    long known = 0;  // NOLINT(runtime/int)
    for (int j = 0; j < group.blobs.size(); ++j) {
      known += group.blobs[j]->data() == memory;
    }
    if (memory.use_count() > known) { return true; }
  }
  return false;
}

template <typename Dtype>
bool MemoryPlan<Dtype>::SourcesHaveChanged() const {
  for (int i = 0; i < sources_.size(); ++i) {
    if (sources_[i]->shape() != source_shapes_[i]) { return true; }
  }
  return false;
}

template <typename Dtype>
bool MemoryPlan<Dtype>::HasChanged() const {
  if (mode_ != Caffe::mode()) { return true; }
  for (int i = 0; i < groups_.size(); ++i) {
    if (groups_[i].bytes() != bytes_[i]
        || (memories_[i] && memories_[i] != groups_[i].blobs[0]->data())) {
      return true;
    }
  }
  return false;
}

template <typename Dtype>
void MemoryPlan<Dtype>::Plan() {
  // What had a place may have none in the new plan. Blobs think that they have
  // room for the largest shape that they had, so that Reshape does not allocate.
  for (int i = 0; i < placed_.size(); ++i) { groups_[placed_[i]].Forget(); }
  for (int i = 0; i < blobs_.size(); ++i) {
    Blob<Dtype>* blob = blobs_[i].get();
    if (blob->count() && blob->data()->size() < blob->count() * sizeof(Dtype)) {
      blob->ShareData(Blob<Dtype>(blob->shape()));
    }
  }
  FindGroups();
  mode_ = Caffe::mode();
  source_shapes_.clear();
  for (int i = 0; i < sources_.size(); ++i) {
    source_shapes_.push_back(sources_[i]->shape());
  }
  bytes_.assign(groups_.size(), 0);
  memories_.assign(groups_.size(), shared_ptr<SyncedMemory>());
  placed_.clear();
  planned_bytes_ = unplanned_bytes_ = 0;
  vector<MemoryUse> uses;
  for (int i = 0; i < groups_.size(); ++i) {
    bytes_[i] = groups_[i].bytes();
    unplanned_bytes_ += bytes_[i];
    if (groups_[i].own || bytes_[i] == 0 || IsHeldElsewhere(groups_[i])) {
      planned_bytes_ += bytes_[i];
    } else {
      const MemoryUse use = { bytes_[i], groups_[i].first, groups_[i].last };
      uses.push_back(use);
      placed_.push_back(i);
    }
  }
  arena_bytes_ = PlaceMemory(uses, kAlignment, &offsets_);
  planned_bytes_ += arena_bytes_;
  is_placed_ = false;
}

template <typename Dtype>
void MemoryPlan<Dtype>::Place() {
  is_placed_ = true;
  if (placed_.empty()) { return; }
  // What the blobs have is given back before the arena is made.
  for (int i = 0; i < placed_.size(); ++i) { groups_[placed_[i]].Forget(); }
  Dtype* arena = Arena(arena_bytes_);
  for (int i = 0; i < placed_.size(); ++i) {
    const vector<Blob<Dtype>*>& blobs = groups_[placed_[i]].blobs;
    Dtype* data = arena + offsets_[i] / sizeof(Dtype);
    for (int j = 0; j < blobs.size(); ++j) {
      if (j > 0 && blobs[j]->count() == blobs[0]->count()) {
        blobs[j]->ShareData(*blobs[0]);
      } else if (mode_ == Caffe::GPU) {
        blobs[j]->set_gpu_data(data);
      } else {
        blobs[j]->set_cpu_data(data);
      }
    }
    memories_[placed_[i]] = blobs[0]->data();
  }
}

template <typename Dtype>
Dtype* MemoryPlan<Dtype>::Arena(size_t bytes) {
  if (mode_ == Caffe::GPU) {
    cpu_arena_.reset();
    cpu_arena_bytes_ = 0;
    if (!gpu_arena_ || gpu_arena_->size() < bytes) {
      gpu_arena_.reset();
      gpu_arena_.reset(new SyncedMemory(bytes));
    }
    return static_cast<Dtype*>(gpu_arena_->mutable_gpu_data());
  }
  gpu_arena_.reset();
  if (cpu_arena_bytes_ < bytes) {
    cpu_arena_.reset();
    cpu_arena_bytes_ = 0;
    cpu_arena_.reset(LargePages(&bytes), std::free);
    if (!cpu_arena_) { throw std::bad_alloc(); }
    cpu_arena_bytes_ = bytes;
  }
  return static_cast<Dtype*>(cpu_arena_.get());
}

template <typename Dtype>
void MemoryPlan<Dtype>::Update() {
  if (SourcesHaveChanged()) { net_->Reshape(); }
  if (HasChanged()) { Plan(); }
}

template <typename Dtype>
void MemoryPlan<Dtype>::BeforeForward(int start) {
  if (start != 0) {
    throw std::runtime_error("net " + net_->name() + ": its blobs share memory "
        "(plan_memory), so forward must begin with the first layer");
  }
  Update();
  if (!is_placed_) { Place(); }
}

template <typename Dtype>
void MemoryPlan<Dtype>::RefuseBackward() const {
  throw std::runtime_error("net " + net_->name() + ": its blobs share memory "
      "(plan_memory), so there is no backward pass");
}

template <typename Dtype>
const MemoryPlan<Dtype>& Net<Dtype>::PlanMemory() {
  if (phase_ != TEST) {
    throw std::runtime_error("net " + name_ + ": only a net of the TEST phase "
        "may share memory between its blobs");
  }
  if (memory_plan_) {
    memory_plan_->Update();
  } else {
    memory_plan_.reset(new MemoryPlan<Dtype>(this));
  }
  return *memory_plan_;
}

INSTANTIATE_CLASS(MemoryPlan);
template const MemoryPlan<float>& Net<float>::PlanMemory();
template const MemoryPlan<double>& Net<double>::PlanMemory();

}  // namespace caffe
