#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>  // NOLINT(build/c++11)
#include <utility>
#include <vector>

#include "caffe/filler.hpp"
#include "caffe/layers/dense_block_layer.hpp"
#include "caffe/util/math_functions.hpp"

namespace caffe {

namespace {

// For the bottlenecks of a strip of rows: the second caches of some cores, or
// what a core has there and in its share of the third.
const size_t kSharedCache = size_t(3) << 20, kOwnCache = size_t(1) << 20;

/// Gives strips to threads. Each thread starts with a run of neighbours; one
/// that has finished its run takes half of the longest run left.
class StripQueue {
 public:
  StripQueue(int strips, int threads) : runs_(threads) {
    for (int t = 0; t < threads; ++t) {
      runs_[t] = Run(strips * t / threads, strips * (t + 1) / threads);
    }
  }

  /// The thread's next strip, -1 where none is left.
  int Take(int thread) {
    std::lock_guard<std::mutex> lock(mutex_);
    Run* own = &runs_[thread];
    if (own->first == own->second) {
      Run* longest = &*std::max_element(runs_.begin(), runs_.end(), Shorter);
      const int middle = (longest->first + longest->second) / 2;
      *own = Run(middle, longest->second);
      longest->second = middle;
    }
    return own->first < own->second ? own->first++ : -1;
  }

 private:
  typedef std::pair<int, int> Run;  // first strip, and the one after the last

  static bool Shorter(const Run& a, const Run& b) {
    return a.second - a.first < b.second - b.first;
  }

  std::mutex mutex_;
  vector<Run> runs_;
};

}  // namespace

template <typename Dtype>
void DenseBlockLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const DenseBlockParameter& param = this->layer_param_.dense_block_param();
  const char* name = this->layer_param_.name().c_str();
  CHECK_GT(param.num_units(), 0)
      << "DenseBlock layer '" << name << "': num_units must be given";
  CHECK_GT(param.growth_rate(), 0)
      << "DenseBlock layer '" << name << "': growth_rate must be given";
  CHECK_GT(param.bottleneck(), 0)
      << "DenseBlock layer '" << name << "': bottleneck must be given";
  units_ = param.num_units();
  growth_ = param.growth_rate();
  bottleneck_ = param.bottleneck();
  channels_ = 0;
  for (int i = 0; i < bottom.size(); ++i) {
    CHECK_EQ(bottom[i]->num_axes(), 4) << "DenseBlock layer '" << name
        << "': bottom " << i << " must have the axes N x C x H x W";
    channels_ += bottom[i]->channels();
  }
  const int blobs = units_ * kUnitBlobs;
  if (this->blobs_.size() > 0) {
    CHECK_EQ(this->blobs_.size(), blobs) << "DenseBlock layer '" << name
        << "': wrong number of blobs for " << units_ << " units";
  } else {
    shared_ptr<Filler<Dtype> > filler(GetFiller<Dtype>(
        param.weight_filler()));
    for (int unit = 0; unit < units_; ++unit) {
      Normalization<Dtype>::AddBlobs(Width(unit), &this->blobs_);
      int shape1[] = {bottleneck_, Width(unit), 1, 1};
      this->blobs_.push_back(shared_ptr<Blob<Dtype> >(
          new Blob<Dtype>(vector<int>(shape1, shape1 + 4))));
      filler->Fill(this->blobs_.back().get());
      Normalization<Dtype>::AddBlobs(bottleneck_, &this->blobs_);
      int shape2[] = {growth_, bottleneck_, 3, 3};
      this->blobs_.push_back(shared_ptr<Blob<Dtype> >(
          new Blob<Dtype>(vector<int>(shape2, shape2 + 4))));
      filler->Fill(this->blobs_.back().get());
    }
  }
  this->param_propagate_down_.resize(blobs, true);
  first_.resize(units_);
  second_.resize(units_);
  const BatchNormParameter& norm = this->layer_param_.batch_norm_param();
  for (int unit = 0; unit < units_; ++unit) {
    const int blob = unit * kUnitBlobs;
    Normalization<Dtype>::FixStatistics(blob, &this->layer_param_);
    Normalization<Dtype>::FixStatistics(blob + kSecond, &this->layer_param_);
    first_[unit].reset(new Normalization<Dtype>());
    second_[unit].reset(new Normalization<Dtype>());
    first_[unit]->SetUp(norm, this->phase_, this->blobs_, blob);
    second_[unit]->SetUp(norm, this->phase_, this->blobs_, blob + kSecond);
  }
  num_ = height_ = width_ = 0;
}

template <typename Dtype>
void DenseBlockLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const char* name = this->layer_param_.name().c_str();
  int channels = 0;
  for (int i = 0; i < bottom.size(); ++i) {
    CHECK(bottom[i]->num() == bottom[0]->num()
        && bottom[i]->height() == bottom[0]->height()
        && bottom[i]->width() == bottom[0]->width()) << "DenseBlock layer '"
        << name << "': bottoms differ: " << bottom[0]->shape_string()
        << " and " << bottom[i]->shape_string();
    channels += bottom[i]->channels();
  }
  CHECK_EQ(channels, channels_) << "DenseBlock layer '" << name
      << "': the number of channels must stay";
  const int features = Width(units_);
  top[0]->Reshape(bottom[0]->num(), features, bottom[0]->height(),
      bottom[0]->width());
  if (num_ == bottom[0]->num() && height_ == bottom[0]->height()
      && width_ == bottom[0]->width()) {
    return;
  }
  num_ = bottom[0]->num();
  height_ = bottom[0]->height();
  width_ = bottom[0]->width();
  pixels_ = height_ * width_;
  image_ = static_cast<ptrdiff_t>(features) * pixels_;
  const vector<int> per_feature(1, features);
  mean_.Reshape(per_feature);
  variance_.Reshape(per_feature);
  offset_.Reshape(per_feature);
  slope_.Reshape(per_feature);
  convolution_.reset(new RowsConvolution<Dtype>(num_, height_, width_,
      bottleneck_, growth_));
  if (this->layer_param_.dense_block_param().keep_bottlenecks()
      && first_[0]->by_batch()) {
    kept_.resize(units_);
    for (int unit = 0; unit < units_; ++unit) {
      kept_[unit].reset(new Blob<Dtype>(num_, height_, width_, bottleneck_));
    }
  }
}

template <typename Dtype>
Dtype* DenseBlockLayer<Dtype>::FiltersDiff(int unit, int which) {
  const int blob = unit * kUnitBlobs + which;
  return this->param_propagate_down_[blob]
      ? this->blobs_[blob]->mutable_cpu_diff() : NULL;
}

// Whether gamma or beta of the normalization whose blobs begin there learn.
template <typename Dtype>
bool DenseBlockLayer<Dtype>::Learns(int unit, int first) {
  const int blob = unit * kUnitBlobs + first;
  return this->param_propagate_down_[blob + 3]
      || this->param_propagate_down_[blob + 4];
}

// Image rows whose bottleneck fits a cache; whole blocks of Winograd's algorithm.
template <typename Dtype>
int DenseBlockLayer<Dtype>::StripRows(size_t cache, size_t value_size) const {
  const size_t row = static_cast<size_t>(width_) * bottleneck_ * value_size;
  const int fit = static_cast<int>(std::min<size_t>(cache / row, height_));
  const int block = Winograd::BlockRows(width_);
  return std::max(block, (fit - 2) / block * block);
}

template <typename Dtype>
void DenseBlockLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  Dtype* features = top[0]->mutable_cpu_data();
  ptrdiff_t begin = 0;
  for (int i = 0; i < bottom.size(); ++i) {
    const ptrdiff_t size = static_cast<ptrdiff_t>(bottom[i]->channels())
        * pixels_;
    const Dtype* data = bottom[i]->cpu_data();
    const int planes = bottom[i]->channels();
#pragma omp parallel for schedule(static)
    for (int plane = 0; plane < num_ * planes; ++plane) {
      Dtype* to = features + plane / planes * image_ + begin
          + static_cast<ptrdiff_t>(plane % planes) * pixels_;
      const Dtype* from = data + static_cast<ptrdiff_t>(plane) * pixels_;
      // A net that plans its memory may have put the bottom there already.
      if (to != from) { memcpy(to, from, pixels_ * sizeof(Dtype)); }
    }
    begin += size;
  }
  const bool by_batch = first_[0]->by_batch();
  if (by_batch) {
    PlaneMoments<Dtype>(features, num_, image_, channels_, pixels_,
        mean_.mutable_cpu_data(), variance_.mutable_cpu_data());
  }
  for (int unit = 0; unit < units_; ++unit) {
    if (by_batch) {
      ForwardByBatch(unit, features);
    } else {
      ForwardByKept(unit, features);
    }
  }
}

// With statistics that are known beforehand the second normalization goes into
// the 1x1 filters, and the bottleneck is never stored whole.
template <typename Dtype>
void DenseBlockLayer<Dtype>::ForwardByKept(int unit, Dtype* features) {
  Normalization<Dtype>* first = first_[unit].get();
  Normalization<Dtype>* second = second_[unit].get();
  first->UseKept();
  second->UseKept();
  const int width = Width(unit);
  vector<Dtype> folded(static_cast<size_t>(bottleneck_) * width);
  const Dtype* filters = Filters(unit, kFilters1);
  const Dtype* scale = second->scale().cpu_data();
  for (int k = 0; k < bottleneck_; ++k) {
    for (int c = 0; c < width; ++c) {
      folded[k * width + c] = scale[k] * filters[k * width + c];
    }
  }
  convolution_->SetFilters(Filters(unit, kFilters2));
  std::shared_ptr<Bf16Product> bf16;
  if (this->phase_ == TEST) {
    bf16 = MakeBf16Product(width, bottleneck_, &folded[0]);
  }
  if (bf16) {
    ForwardStrips<Bf16>(unit, bf16.get(), features);
  } else {
    ForwardStrips<Dtype>(unit, &folded[0], features);
  }
}

// In strips of rows; `filters` are what ForwardRows takes. Where there are
// enough of them, every thread has strips and memory of its own and waits for
// the others only at the end; else all threads share in each strip.
template <typename Dtype>
template <typename Row, typename Given>
void DenseBlockLayer<Dtype>::ForwardStrips(int unit, Given filters,
      Dtype* features) {
  const PreactivatedProduct<Dtype> product(num_, pixels_, Width(unit),
      bottleneck_);
  const int threads = FusedThreads(), wanted = 4 * threads;
  const int block = Winograd::BlockRows(width_);
  const int equal = std::max(block, num_ * height_ / wanted / block * block);
  int strip = std::min(StripRows(kOwnCache, sizeof(Row)), equal);
  int strips = (height_ + strip - 1) / strip;
  const bool apart = threads > 1 && num_ * strips >= wanted;
  if (!apart) {
    strip = StripRows(kSharedCache, sizeof(Row));
    strips = (height_ + strip - 1) / strip;
  }
  const bool bf16 = sizeof(Row) < sizeof(Dtype);
  convolution_->Prepare(std::min(strip, height_), bf16, apart);
  convolution_->Prepare(height_ - (strips - 1) * strip, bf16, apart);
  const ptrdiff_t row = static_cast<ptrdiff_t>(width_) * bottleneck_;
  const Planes<const Dtype> x = {features, image_};
  const Dtype* scale = first_[unit]->scale().cpu_data();
  const Dtype* shift = first_[unit]->shift().cpu_data();
  const Dtype* add_relu = second_[unit]->shift().cpu_data();
  StripQueue queue(num_ * strips, apart ? threads : 1);
  const auto compute = [&] {
    Row* rows = FusedScratch::Get<Row>(FusedScratch::BOTTLENECK,
        (strip + 2) * row);
    const int thread = apart ? FusedThread() : 0;
    for (int i, last = -1; (i = queue.Take(thread)) >= 0; last = i) {
      const int n = i / strips, y = i % strips * strip;
      const int count = std::min(strip, height_ - y);
      // rows[0] is image row y - 1. This thread may have computed two of the
      // rows for the strip before.
      const bool goes_on = y > 0 && i == last + 1;
      if (y == 0) {
        std::fill(rows, rows + row, Row(0));
      } else if (goes_on) {
        memmove(rows, rows + strip * row, 2 * row * sizeof(Row));
      }
      const int begin = goes_on ? y + 1 : std::max(y - 1, 0);
      const int end = std::min(y + count + 1, height_);
      // Apart by two rows, whoever computes them: products round by their size.
      for (int r = begin, next; r < end; r = next) {
        next = apart ? std::min(r + (r == 0 ? 1 : 2), end) : end;
        product.ForwardRows(x, n, r * width_, (next - r) * width_, scale, shift,
            filters, add_relu, rows + (r - y + 1) * row);
      }
      if (y + count == height_) {
        std::fill(rows + (count + 1) * row, rows + (count + 2) * row, Row(0));
      }
      ConvolveStrip(unit, n, y, count, rows, features);
    }
  };
  if (apart) {
#pragma omp parallel
    {
      FusedAlone();
      compute();
    }
  } else {
    compute();
  }
}

// From the rows y - 1 .. y + count to the new features of count rows.
template <typename Dtype>
template <typename Row>
void DenseBlockLayer<Dtype>::ConvolveStrip(int unit, int image, int y,
      int count, const Row* rows, Dtype* features) {
  Dtype* out = FusedScratch::Get<Dtype>(FusedScratch::OUTPUT,
      static_cast<size_t>(count) * width_ * growth_);
  convolution_->ForwardStrip(count, rows, out);
  Dtype* to = features + image * image_
      + static_cast<ptrdiff_t>(Width(unit)) * pixels_ + y * width_;
#pragma omp parallel for schedule(static)
  for (int r = 0; r < count; ++r) {
    RowsToPlanes(width_, growth_,
        out + static_cast<ptrdiff_t>(r) * width_ * growth_, pixels_,
        to + r * width_);
  }
}

template <typename Dtype>
void DenseBlockLayer<Dtype>::ForwardByBatch(int unit, Dtype* features) {
  const int width = Width(unit), count = num_ * pixels_;
  first_[unit]->UseBatch(mean_.cpu_data(), variance_.cpu_data(), count);
  Dtype* rows = kept_.size() ? kept_[unit]->mutable_cpu_data()
      : FusedScratch::Get<Dtype>(FusedScratch::BOTTLENECK,
          static_cast<size_t>(count) * bottleneck_);
  const PreactivatedProduct<Dtype> product(num_, pixels_, width, bottleneck_);
  const Planes<const Dtype> x = {features, image_};
  vector<Dtype> mean(bottleneck_), variance(bottleneck_);
  product.ForwardRowsMoments(x, first_[unit]->scale().cpu_data(),
      first_[unit]->shift().cpu_data(), Filters(unit, kFilters1), rows,
      &mean[0], &variance[0]);
  second_[unit]->UseBatch(&mean[0], &variance[0], count);
  Convolve(unit, rows, features);
  PlaneMoments<Dtype>(features + static_cast<ptrdiff_t>(width) * pixels_, num_,
      image_, growth_, pixels_, mean_.mutable_cpu_data() + width,
      variance_.mutable_cpu_data() + width);
}

// BatchNorm, ReLU and 3x3 convolution of a stored bottleneck.
template <typename Dtype>
void DenseBlockLayer<Dtype>::Convolve(int unit, const Dtype* bottleneck,
      Dtype* features) {
  convolution_->SetFilters(Filters(unit, kFilters2));
  const Dtype* scale = second_[unit]->scale().cpu_data();
  const Dtype* shift = second_[unit]->shift().cpu_data();
  const int strip = StripRows(kSharedCache, sizeof(Dtype));
  const ptrdiff_t row = static_cast<ptrdiff_t>(width_) * bottleneck_;
  Dtype* rows = FusedScratch::Get<Dtype>(FusedScratch::ACTIVATED,
      (strip + 2) * row);
  for (int n = 0; n < num_; ++n) {
    for (int y = 0; y < height_; y += strip) {
      const int count = std::min(strip, height_ - y);
#pragma omp parallel for schedule(static)
      for (int r = 0; r < count + 2; ++r) {
        const int from = y + r - 1;
        if (from < 0 || from >= height_) {
          std::fill(rows + r * row, rows + (r + 1) * row, Dtype(0));
        } else {
          RowsActivate(width_, bottleneck_, scale, shift,
              bottleneck + (static_cast<ptrdiff_t>(n) * height_ + from) * row,
              rows + r * row);
        }
      }
      ConvolveStrip(unit, n, y, count, rows, features);
    }
  }
}

template <typename Dtype>
void DenseBlockLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  const Dtype* features = top[0]->cpu_data();
  Dtype* diff = top[0]->mutable_cpu_diff();
  const int width = Width(units_);
  Dtype* offset = offset_.mutable_cpu_data();
  Dtype* slope = slope_.mutable_cpu_data();
  caffe_set(width, Dtype(0), offset);
  caffe_set(width, Dtype(0), slope);
  const bool by_batch = first_[0]->by_batch();
  // What all later units subtract from a feature's diff depends on the feature
  // in the same way: once, when the last of them has added its part.
  for (int unit = units_; unit >= 0; --unit) {
    const int begin = unit > 0 ? Width(unit - 1) : 0;
    const int end = unit > 0 ? Width(unit) : channels_;
    if (by_batch) {
      const Dtype* mean = mean_.cpu_data();
#pragma omp parallel for schedule(static) collapse(2)
      for (int n = 0; n < num_; ++n) {
        for (int c = begin; c < end; ++c) {
          const ptrdiff_t plane = n * image_
              + static_cast<ptrdiff_t>(c) * pixels_;
          PlaneCorrect(pixels_, offset[c], slope[c], mean[c],
              features + plane, diff + plane);
        }
      }
    }
    if (unit > 0) { BackwardUnit(unit - 1, features, diff); }
  }
  ptrdiff_t begin = 0;
  for (int i = 0; i < bottom.size(); ++i) {
    const ptrdiff_t size = static_cast<ptrdiff_t>(bottom[i]->channels())
        * pixels_;
    if (propagate_down[i]) {
      Dtype* to = bottom[i]->mutable_cpu_diff();
      const int planes = bottom[i]->channels();
#pragma omp parallel for schedule(static)
      for (int plane = 0; plane < num_ * planes; ++plane) {
        memcpy(to + static_cast<ptrdiff_t>(plane) * pixels_,
            diff + plane / planes * image_ + begin
            + static_cast<ptrdiff_t>(plane % planes) * pixels_,
            pixels_ * sizeof(Dtype));
      }
    }
    begin += size;
  }
}

template <typename Dtype>
void DenseBlockLayer<Dtype>::BackwardUnit(int unit, const Dtype* features,
      Dtype* diff) {
  const int width = Width(unit);
  const ptrdiff_t rows = static_cast<ptrdiff_t>(num_) * pixels_;
  const PreactivatedProduct<Dtype> product(num_, pixels_, width, bottleneck_);
  const Planes<const Dtype> x = {features, image_};
  const Dtype* scale = first_[unit]->scale().cpu_data();
  const Dtype* shift = first_[unit]->shift().cpu_data();
  const Dtype* bottleneck;
  if (kept_.size()) {
    bottleneck = kept_[unit]->cpu_data();
  } else {
    Dtype* again = FusedScratch::Get<Dtype>(FusedScratch::BOTTLENECK,
        rows * bottleneck_);
    for (int n = 0; n < num_; ++n) {
      product.ForwardRows(x, n, 0, pixels_, scale, shift,
          Filters(unit, kFilters1), NULL,
          again + static_cast<ptrdiff_t>(n) * pixels_ * bottleneck_);
    }
    bottleneck = again;
  }
  BackwardBottleneck(unit, bottleneck,
      diff + static_cast<ptrdiff_t>(width) * pixels_);
  const Dtype* bottleneck_diff = FusedScratch::Get<Dtype>(
      FusedScratch::BOTTLENECK_DIFF, rows * bottleneck_);
  const Planes<Dtype> dx = {diff, image_};
  const Planes<const Dtype> none = {NULL, 0};
  vector<double> sum(width), products(width);
  product.Backward(x, scale, shift, first_[unit]->centre().cpu_data(),
      Filters(unit, kFilters1), bottleneck_diff, none,
      FiltersDiff(unit, kFilters1), true, dx, &sum[0], &products[0]);
  vector<Dtype> offset(width), slope(width);
  first_[unit]->Backward(&sum[0], &products[0], rows, Learns(unit, 0),
      &offset[0], &slope[0]);
  caffe_axpy(width, Dtype(1), &offset[0], offset_.mutable_cpu_data());
  caffe_axpy(width, Dtype(1), &slope[0], slope_.mutable_cpu_data());
}

// From the gradient of the new features (planes) to that of the bottleneck,
// left in scratch memory.
template <typename Dtype>
void DenseBlockLayer<Dtype>::BackwardBottleneck(int unit,
      const Dtype* bottleneck, Dtype* diff) {
  const int lines = num_ * height_;
  const ptrdiff_t row = static_cast<ptrdiff_t>(width_) * bottleneck_;
  Normalization<Dtype>* second = second_[unit].get();
  const Dtype* scale = second->scale().cpu_data();
  const Dtype* shift = second->shift().cpu_data();
  const Dtype* centre = second->centre().cpu_data();
  Dtype* out = FusedScratch::Get<Dtype>(FusedScratch::OUTPUT,
      static_cast<size_t>(lines) * width_ * growth_);
  Dtype* activated = FusedScratch::Get<Dtype>(FusedScratch::ACTIVATED,
      lines * row);
  Dtype* dy = FusedScratch::Get<Dtype>(FusedScratch::BOTTLENECK_DIFF,
      lines * row);
#pragma omp parallel for schedule(static)
  for (int line = 0; line < lines; ++line) {
    PlanesToRows(width_, growth_, diff + line / height_ * image_
        + line % height_ * width_, pixels_,
        out + static_cast<ptrdiff_t>(line) * width_ * growth_);
    RowsActivate(width_, bottleneck_, scale, shift, bottleneck + line * row,
        activated + line * row);
  }
  convolution_->SetFilters(Filters(unit, kFilters2));
  if (FiltersDiff(unit, kFilters2)) {
    convolution_->BackwardFilters(activated, out, FiltersDiff(unit, kFilters2));
  }
  convolution_->BackwardData(out, dy);
  vector<Dtype> sums(static_cast<size_t>(2) * lines * bottleneck_, Dtype(0));
#pragma omp parallel for schedule(static)
  for (int line = 0; line < lines; ++line) {
    Dtype* own = &sums[static_cast<size_t>(2) * line * bottleneck_];
    RowsMask(width_, bottleneck_, scale, shift, centre,
        bottleneck + line * row, dy + line * row, own, own + bottleneck_);
  }
  vector<double> sum(bottleneck_, 0.), products(bottleneck_, 0.);
  for (int line = 0; line < lines; ++line) {
    const Dtype* own = &sums[static_cast<size_t>(2) * line * bottleneck_];
    for (int k = 0; k < bottleneck_; ++k) {
      sum[k] += own[k];
      products[k] += own[bottleneck_ + k];
    }
  }
  vector<Dtype> offset(bottleneck_), slope(bottleneck_);
  second->Backward(&sum[0], &products[0], num_ * pixels_,
      Learns(unit, kSecond), &offset[0], &slope[0]);
#pragma omp parallel for schedule(static)
  for (int line = 0; line < lines; ++line) {
    RowsCorrect(width_, bottleneck_, scale, &offset[0], &slope[0], centre,
        bottleneck + line * row, dy + line * row);
  }
}

#ifdef CPU_ONLY
STUB_GPU(DenseBlockLayer);
#endif

INSTANTIATE_CLASS(DenseBlockLayer);
REGISTER_LAYER_CLASS(DenseBlock);

}  // namespace caffe
