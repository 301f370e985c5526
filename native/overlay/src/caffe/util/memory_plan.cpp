#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
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

// Copies `rows` rows of all planes of N x C x H x W.
template <typename Dtype>
void CopyRows(const Blob<Dtype>& from, int from_row, int rows, int to_row,
    Blob<Dtype>* to) {
  const int width = from.width(), planes = from.num() * from.channels();
  const ptrdiff_t from_plane = static_cast<ptrdiff_t>(from.height()) * width;
  const ptrdiff_t to_plane = static_cast<ptrdiff_t>(to->height()) * width;
  const Dtype* in = from.cpu_data() + static_cast<ptrdiff_t>(from_row) * width;
  Dtype* out = to->mutable_cpu_data() + static_cast<ptrdiff_t>(to_row) * width;
  const size_t bytes = static_cast<size_t>(rows) * width * sizeof(Dtype);
#pragma omp parallel for schedule(static)
  for (int plane = 0; plane < planes; ++plane) {
    memcpy(out + plane * to_plane, in + plane * from_plane, bytes);
  }
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
MemoryPlan<Dtype>::MemoryPlan(Net<Dtype>* net, size_t whole_bytes)
    : net_(net), whole_bytes_(whole_bytes), blobs_(net->blobs()),
      cpu_arena_bytes_(0) {
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
vector<Blob<Dtype>*> MemoryPlan<Dtype>::Step::Of(const vector<int>& ids,
    const vector<shared_ptr<Blob<Dtype> > >& blobs) const {
  vector<Blob<Dtype>*> pointers;
  for (int i = 0; i < ids.size(); ++i) {
    pointers.push_back(blobs[ids[i]].get());
  }
  return pointers;
}

// The layers, and where there are strips what cuts them off the whole inputs,
// and what puts their results into the whole outputs. While one strip is
// computed the whole inputs of the next are still there.
template <typename Dtype>
void MemoryPlan<Dtype>::MakeSteps() {
  const int layers = net_->layers().size();
  steps_.clear();
  for (int i = 0; i < layers; ++i) {
    const Step step = { net_->layers()[i].get(), net_->bottom_ids(i),
        net_->top_ids(i) };
    steps_.push_back(step);
  }
  blobs_.resize(net_->blobs().size());
  if (strips_.count == 1) { return; }
  Step cut = { NULL, strips_.inputs }, join = { NULL, strips_.inputs };
  std::map<int, int> strip_of;
  for (int i = 0; i < strips_.inputs.size(); ++i) {
    const Blob<Dtype>& whole = *blobs_[strips_.inputs[i]];
    vector<int> shape = whole.shape();
    shape[2] = strips_.Scale(whole.height()) * strips_.length + 1;
    cut.tops.push_back(blobs_.size());
    strip_of[strips_.inputs[i]] = blobs_.size();
    blobs_.push_back(shared_ptr<Blob<Dtype> >(new Blob<Dtype>(shape)));
  }
  for (int i = 0; i < strips_.outputs.size(); ++i) {
    join.bottoms.push_back(blobs_.size());
    join.tops.push_back(strips_.outputs[i]);
    strip_of[strips_.outputs[i]] = blobs_.size();
    blobs_.push_back(shared_ptr<Blob<Dtype> >(new Blob<Dtype>()));
  }
  for (int i = strips_.first; i < layers; ++i) {
    Step* step = &steps_[i];
    for (int j = 0; j < step->bottoms.size(); ++j) {
      const std::map<int, int>::const_iterator strip =
          strip_of.find(step->bottoms[j]);
      if (strip != strip_of.end()) { step->bottoms[j] = strip->second; }
    }
    for (int j = 0; j < step->tops.size(); ++j) {
      const std::map<int, int>::const_iterator strip =
          strip_of.find(step->tops[j]);
      if (strip != strip_of.end()) { step->tops[j] = strip->second; }
    }
    step->layer->Reshape(step->Of(step->bottoms, blobs_),
        step->Of(step->tops, blobs_));
  }
  steps_.insert(steps_.begin() + strips_.first, cut);
  steps_.push_back(join);
}

template <typename Dtype>
void MemoryPlan<Dtype>::FindGroups() {
  groups_.clear();
  sources_.clear();
  vector<int> group_of(blobs_.size(), -1);
  for (int i = 0; i < steps_.size(); ++i) {
    Layer<Dtype>* layer = steps_[i].layer;
    const vector<int>& bottoms = steps_[i].bottoms;
    const vector<int>& tops = steps_[i].tops;
    for (int j = 0; j < bottoms.size(); ++j) {
      groups_[group_of[bottoms[j]]].last = i;
    }
    for (int j = 0; j < tops.size(); ++j) {
      Blob<Dtype>* blob = blobs_[tops[j]].get();
      int& group = group_of[tops[j]];
      if (group < 0 && layer && bottoms.size()
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
      groups_[group].own |= bottoms.empty() || (layer && (layer->loss(j)
          || layer->type() == std::string("Filter")));
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
  net_->Reshape();
  // What had a place may have none in the new plan. Blobs think that they have
  // room for the largest shape that they had, so that Reshape does not allocate.
  for (int i = 0; i < placed_.size(); ++i) { groups_[placed_[i]].Forget(); }
  for (int i = 0; i < blobs_.size(); ++i) {
    Blob<Dtype>* blob = blobs_[i].get();
    if (blob->count() && blob->data()->size() < blob->count() * sizeof(Dtype)) {
      blob->ShareData(Blob<Dtype>(blob->shape()));
    }
  }
  mode_ = Caffe::mode();
  ChooseStrips();
  source_shapes_.clear();
  for (int i = 0; i < sources_.size(); ++i) {
    source_shapes_.push_back(sources_[i]->shape());
  }
  memories_.assign(groups_.size(), shared_ptr<SyncedMemory>());
  is_placed_ = false;
}

// A way with more strips, or more layers, must gain a sixteenth.
template <typename Dtype>
void MemoryPlan<Dtype>::ChooseStrips() {
  RowStrips best = RowStrips();
  best.count = 1;
  size_t least = Lay(best);
  unplanned_bytes_ = 0;
  for (int i = 0; i < bytes_.size(); ++i) { unplanned_bytes_ += bytes_[i]; }
  if (least <= whole_bytes_ || mode_ != Caffe::CPU) { return; }
  const vector<RowStrips> ways = FindRowStrips(*net_);
  for (int i = 0; i < ways.size() && least > whole_bytes_; ++i) {
    const size_t bytes = Lay(ways[i]);
    net_->Reshape();
    if (bytes <= least - least / 16) {
      best = ways[i];
      least = bytes;
    }
  }
  Lay(best);
}

template <typename Dtype>
size_t MemoryPlan<Dtype>::Lay(const RowStrips& strips) {
  strips_ = strips;
  MakeSteps();
  FindGroups();
  bytes_.assign(groups_.size(), 0);
  placed_.clear();
  planned_bytes_ = 0;
  vector<MemoryUse> uses;
  for (int i = 0; i < groups_.size(); ++i) {
    bytes_[i] = groups_[i].bytes();
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
  return planned_bytes_;
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
  if (SourcesHaveChanged() || HasChanged()) { Plan(); }
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
bool MemoryPlan<Dtype>::ForwardStrips(int layer) {
  if (strips_.count == 1 || layer != strips_.first) { return false; }
  const vector<int>& inputs = steps_[strips_.first].tops;
  const vector<int> outputs(steps_.back().bottoms.begin()
      + strips_.inputs.size(), steps_.back().bottoms.end());
  for (int strip = 0; strip < strips_.count; ++strip) {
    const int begin = strips_.Begin(strip), end = begin + strips_.length;
    for (int i = 0; i < inputs.size(); ++i) {
      const Blob<Dtype>& whole = *blobs_[strips_.inputs[i]];
      Blob<Dtype>* part = blobs_[inputs[i]].get();
      CopyRows(whole, strips_.Scale(whole.height()) * begin, part->height(), 0,
          part);
    }
    for (int i = strips_.first + 1; i + 1 < steps_.size(); ++i) {
      steps_[i].layer->Forward(steps_[i].Of(steps_[i].bottoms, blobs_),
          steps_[i].Of(steps_[i].tops, blobs_));
    }
    const int above = begin == 0 ? 0 : strips_.overlap;
    const int below = end == strips_.steps ? 0 : strips_.overlap;
    for (int i = 0; i < outputs.size(); ++i) {
      Blob<Dtype>* whole = blobs_[strips_.outputs[i]].get();
      const int scale = strips_.Scale(whole->height());
      CopyRows(*blobs_[outputs[i]], scale * above,
          scale * (strips_.length - above - below) + 1,
          scale * (begin + above), whole);
    }
  }
  return true;
}

template <typename Dtype>
void MemoryPlan<Dtype>::RefuseBackward() const {
  throw std::runtime_error("net " + net_->name() + ": its blobs share memory "
      "(plan_memory), so there is no backward pass");
}

template <typename Dtype>
const MemoryPlan<Dtype>& Net<Dtype>::PlanMemory(
    size_t whole_bytes) {
  if (phase_ != TEST) {
    throw std::runtime_error("net " + name_ + ": only a net of the TEST phase "
        "may share memory between its blobs");
  }
  if (memory_plan_ && memory_plan_->whole_bytes() == whole_bytes) {
    memory_plan_->Update();
  } else {
    memory_plan_.reset(new MemoryPlan<Dtype>(this, whole_bytes));
  }
  return *memory_plan_;
}

INSTANTIATE_CLASS(MemoryPlan);
template const MemoryPlan<float>& Net<float>::PlanMemory(size_t whole_bytes);
template const MemoryPlan<double>& Net<double>::PlanMemory(size_t whole_bytes);

}  // namespace caffe
