#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

#include "caffe/common.hpp"
#include "caffe/util/memory_plan.hpp"
#include "caffe/net.hpp"
#include "caffe/util/math_functions.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

// Each byte of each step by itself: does nobody else have it?
static void ExpectNoByteTwice(const vector<MemoryUse>& uses,
    const vector<size_t>& offsets, size_t whole) {
  int steps = 0;
  for (int i = 0; i < uses.size(); ++i) {
    steps = std::max(steps, uses[i].last + 1);
  }
  for (int step = 0; step < steps; ++step) {
    vector<int> owner(whole, -1);
    for (int i = 0; i < uses.size(); ++i) {
      if (step < uses[i].first || step > uses[i].last) { continue; }
      ASSERT_LE(offsets[i] + uses[i].bytes, whole);
      for (size_t b = offsets[i]; b < offsets[i] + uses[i].bytes; ++b) {
        ASSERT_EQ(-1, owner[b]) << "byte " << b << " at step " << step;
        owner[b] = i;
      }
    }
  }
}

TEST(PlaceMemoryTest, UsesThatMeetInTimeDoNotMeetInMemory) {
  std::srand(7);
  for (int trial = 0; trial < 200; ++trial) {
    vector<MemoryUse> uses(1 + std::rand() % 20);
    for (int i = 0; i < uses.size(); ++i) {
      uses[i].bytes = 1 + std::rand() % 50;
      uses[i].first = std::rand() % 15;
      uses[i].last = uses[i].first + std::rand() % 6;
    }
    vector<size_t> offsets;
    const size_t whole = PlaceMemory(uses, 8, &offsets);
    for (int i = 0; i < uses.size(); ++i) { EXPECT_EQ(0, offsets[i] % 8); }
    ExpectNoByteTwice(uses, offsets, whole);
  }
}

TEST(PlaceMemoryTest, AChainNeedsItsTwoLargestNeighbours) {
  vector<MemoryUse> uses(4);
  const size_t bytes[] = {64, 256, 128, 32};
  for (int i = 0; i < 4; ++i) {
    uses[i].bytes = bytes[i];
    uses[i].first = i;
    uses[i].last = i + 1;
  }
  vector<size_t> offsets;
  EXPECT_EQ(256 + 128, PlaceMemory(uses, 1, &offsets));
  EXPECT_EQ(0, offsets[1]);
}

TEST(PlaceMemoryTest, TheSmallestGapThatTakesAUseIsTaken) {
  // When the last comes, 150 bytes are free behind 200, and 100 behind 490.
  const MemoryUse given[] = {{200, 0, 5}, {150, 0, 2}, {140, 0, 5},
      {100, 0, 2}, {90, 0, 5}, {80, 4, 5}};
  vector<size_t> offsets;
  const vector<MemoryUse> uses(given, given + 6);
  EXPECT_EQ(200 + 150 + 140 + 100 + 90, PlaceMemory(uses, 1, &offsets));
  EXPECT_EQ(490, offsets[5]);
}

TEST(PlaceMemoryTest, NothingNeedsNothing) {
  vector<size_t> offsets;
  EXPECT_EQ(0, PlaceMemory(vector<MemoryUse>(), 256, &offsets));
}

class MemoryPlanTest : public ::testing::Test {
 protected:
  // a -> b -> c -> d: one convolution after another, then Softmax.
  static NetParameter Chain(Phase phase) {
    string text = "name: 'chain' layer { name: 'a' type: 'Input' top: 'a' "
        "input_param { shape { dim: 1 dim: 2 dim: 8 dim: 8 } } } ";
    const string names = "abcde";
    for (int i = 1; i < 5; ++i) {
      text += "layer { name: '" + names.substr(i, 1) + "' type: 'Convolution' "
          "bottom: '" + names.substr(i - 1, 1) + "' top: '"
          + names.substr(i, 1) + "' convolution_param { num_output: 4 "
          "kernel_size: 1 weight_filler { type: 'msra' } } } ";
    }
    NetParameter param;
    CHECK(google::protobuf::TextFormat::ParseFromString(text, &param));
    param.mutable_state()->set_phase(phase);
    return param;
  }
};

TEST_F(MemoryPlanTest, BytesOfAChainAreThoseCountedByHand) {
  Net<float> net(Chain(TEST));
  const MemoryPlan<float>& plan = net.PlanMemory();
  const size_t map = 8 * 8 * sizeof(float);  // 256 bytes
  // a (2 maps) and e (4) keep their own; b, c, d (4 each) share room for two.
  EXPECT_EQ((2 + 4 + 4 + 4 + 4) * map, plan.unplanned_bytes());
  EXPECT_EQ((2 + 4 + 2 * 4) * map, plan.planned_bytes());
  net.Forward();
  EXPECT_EQ(net.blob_by_name("b")->cpu_data(),
      net.blob_by_name("d")->cpu_data());
  EXPECT_NE(net.blob_by_name("b")->cpu_data(),
      net.blob_by_name("c")->cpu_data());
}

TEST_F(MemoryPlanTest, FollowsANetToAnotherSize) {
  Net<float> net(Chain(TEST));
  net.PlanMemory();
  net.Forward();
  net.input_blobs()[0]->Reshape(1, 2, 16, 8);
  net.Forward();
  const size_t map = 16 * 8 * sizeof(float);
  EXPECT_EQ((2 + 4 + 2 * 4) * map, net.PlanMemory().planned_bytes());
  EXPECT_EQ(net.blob_by_name("b")->cpu_data(),
      net.blob_by_name("d")->cpu_data());
}

TEST_F(MemoryPlanTest, WhatWouldReadOverwrittenValuesThrows) {
  Net<float> training(Chain(TRAIN));
  EXPECT_THROW(training.PlanMemory(), std::runtime_error);
  Net<float> net(Chain(TEST));
  net.PlanMemory();
  net.Forward();
  EXPECT_THROW(net.ForwardFrom(2), std::runtime_error);
  EXPECT_THROW(net.Backward(), std::runtime_error);
}

TEST_F(MemoryPlanTest, ABlobOutlivesItsNet) {
  shared_ptr<Blob<float> > blob;
  {
    Net<float> net(Chain(TEST));
    net.PlanMemory();
    caffe_set(128, 1.f, net.input_blobs()[0]->mutable_cpu_data());
    net.Forward();
    blob = net.blob_by_name("c");
    EXPECT_NE(0, blob->asum_data());
  }
  EXPECT_EQ(0, blob->asum_data());
}

}  // namespace caffe
