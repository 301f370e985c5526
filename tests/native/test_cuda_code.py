"""What can be tried of CUDA's side without a GPU: its arithmetic, and the choice of cuDNN's algorithms."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

OVERLAY = Path(__file__).parents[2] / "native" / "overlay"
HERE = Path(__file__).parent
needs_a_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="no compilers here, as in the images")


def compiled(folder: Path, text: str, *options: object) -> Path:
    """Compile a program in C++ with all warnings that Caffe's own code allows."""
    (folder / "program.cpp").write_text(text)
    command = ["g++", "-Wall", "-Werror", "-Wno-sign-compare", *options, "program.cpp", "-o", "program"]
    subprocess.run([str(word) for word in command], cwd=folder, check=True)
    return folder / "program"


def caffe_prefix() -> Path:
    return Path(importlib.util.find_spec("caffe").origin).parents[2]


# Each thread's values as the kernels of Caffe take them; the last blob that Caffe allows has 2^31 - 1 values.
LOOP = """
#include <cstdio>
#include <initializer_list>
struct Dim { unsigned x; };
static Dim blockIdx, threadIdx, blockDim, gridDim;
const int CAFFE_CUDA_NUM_THREADS = 512;
%s
int main() {
  for (int n : {0, 1, 512, 513, 1 << 30, (1 << 30) + 1, 1500000000, 2147483136, 2147483647}) {
    blockDim.x = CAFFE_CUDA_NUM_THREADS;
    gridDim.x = CAFFE_GET_BLOCKS(n);
    long long values = 0;
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x += 1) {
      const bool edge = blockIdx.x < 2 || blockIdx.x + 2 >= gridDim.x;
      if (!edge) { values += 512; continue; }
      for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x) {
        CUDA_KERNEL_LOOP(i, n) {
          if (i < 0 || i >= n) { std::printf("%%d of %%d\\n", i, n); return 1; }
          ++values;
        }
      }
    }
    if (values != n) { std::printf("%%lld values of %%d\\n", values, n); return 1; }
  }
}
"""


@pytest.mark.caffe
@needs_a_compiler
def test_kernels_take_each_value_of_the_largest_blobs_once_and_none_beyond(tmp_path):
    header = caffe_prefix() / "include" / "caffe" / "util" / "device_alternate.hpp"
    if not header.exists():
        pytest.skip("Caffe's headers are not installed here, as in the images")
    text = header.read_text()
    loop = re.search(r"#define CUDA_KERNEL_LOOP.*?\n\n", text, re.DOTALL)[0]
    blocks = re.search(r"inline int CAFFE_GET_BLOCKS.*?\n}", text, re.DOTALL)[0]
    done = subprocess.run(
        [compiled(tmp_path, LOOP % f"{loop}\n{blocks}")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


# Arguments: direction, the convolution's math type, free MiB, MiB of the plain algorithm (0), what cuDNN
# answers to those that it refuses to run, how many these are, which; then of each that cuDNN lists: its
# number, whether it is deterministic, its math type, its MiB; -1: cuDNN refuses it when asked.
CHOICE = """
#include "caffe/util/cudnn_lanes.hpp"
#include <set>
#include <string>
using namespace caffe::cudnn;
std::set<int> refusing;
cudnnStatus_t answer;
template <typename Algorithm>
void run(Choice<Algorithm> choice) {
  for (int pass = 0; pass < 2; ++pass) {
    choice.run([](Algorithm algorithm, size_t bytes) {
      if (refusing.count(algorithm)) { return answer; }
      std::cout << algorithm << " " << (bytes >> 20) << " " << math << std::endl;
      return CUDNN_STATUS_SUCCESS;
    });
  }
}
int main(int argc, char** argv) {
  std::clog.setstate(std::ios::failbit);
  const std::string direction = argv[1];
  math = cudnnMathType_t(std::atoi(argv[2]));
  free_bytes = size_t(std::atoi(argv[3])) << 20;
  if (std::atoi(argv[4]) >= 0) { megabytes[0] = std::atoi(argv[4]); }
  answer = cudnnStatus_t(std::atoi(argv[5]));
  int i = 7;
  while (i < 7 + std::atoi(argv[6])) { refusing.insert(std::atoi(argv[i++])); }
  for (; i < argc; i += 4) {
    listed.push_back({std::atoi(argv[i]), std::atoi(argv[i + 1]), std::atoi(argv[i + 2])});
    if (std::atoi(argv[i + 3]) >= 0) { megabytes[listed.back().algorithm] = std::atoi(argv[i + 3]); }
  }
  Lane* const lanes[] = {Lane::get(0), Lane::get(1)};
  if (direction == "filter") {
    run(choose_backward_filter("conv", lanes, 2, NULL, NULL, NULL, NULL));
  } else if (direction == "data") {
    run(choose_backward_data("conv", lanes, 2, NULL, NULL, NULL, NULL));
  } else {
    run(choose_forward("conv", lanes, 2, NULL, NULL, NULL, NULL, direction == "forward"));
  }
}
"""
FMA, DEFAULT, TENSOR = 3, 0, 1  # cuDNN's math types


@pytest.fixture(scope="module")
def choose(tmp_path_factory):
    """Compile the choice of algorithms with a cuDNN that answers what a test tells it to."""
    if not shutil.which("g++"):
        pytest.skip("no compilers here, as in the images")
    folder = tmp_path_factory.mktemp("choice")
    (folder / "caffe" / "util").mkdir(parents=True)
    shutil.copy(HERE / "fake_cudnn.hpp", folder / "caffe" / "util" / "cudnn.hpp")
    shutil.copy(OVERLAY / "include" / "caffe" / "util" / "cudnn_lanes.hpp", folder / "caffe" / "util")
    program = compiled(
        folder, CHOICE, "-DUSE_CUDNN", "-I", folder, OVERLAY / "src" / "caffe" / "util" / "cudnn_lanes.cpp"
    )

    def run(
        direction: str,
        listed: str,
        free: int = 1000,
        plain: int = 0,
        limit: int = 256,
        refusing: tuple[int, ...] = (),
        answer: int = 3000,
        math: int = FMA,
    ) -> str:
        """Return "algorithm MiB" of both passes, with the math type where it is not the convolution's."""
        environment = os.environ | {"CAFFE_CUDNN_WORKSPACE_MB": str(limit)}
        numbers = [math, free, plain, answer, len(refusing), *refusing]
        command = [program, direction, *map(str, numbers), *listed.split()]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            return done.stderr.strip()
        first, second = done.stdout.splitlines()
        assert first == second
        return first.removesuffix(f" {math}")

    return run


DIRECTIONS = pytest.mark.parametrize("direction", ["forward", "filter", "data"])


@DIRECTIONS
def test_the_first_deterministic_algorithm_within_the_workspace_is_taken(choose, direction):
    assert choose(direction, "5 0 3 0  4 1 3 300  3 1 3 100  2 1 3 0") == "3 100"
    assert choose(direction, "5 0 3 0") == "5 0"
    assert choose(direction, "5 0 3 0  4 1 3 300", limit=300) == "4 300"


@DIRECTIONS
def test_an_algorithm_for_another_math_type_is_taken_only_behind_those_for_this(choose, direction):
    assert choose(direction, "5 1 1 0  4 1 3 0") == "4 0"
    assert choose(direction, "5 1 0 0  4 0 3 0") == "5 0"


@DIRECTIONS
def test_where_tf32_is_allowed_the_fastest_is_taken_with_the_math_type_it_is_meant_for(choose, direction):
    assert choose(direction, f"5 1 {TENSOR} 0  4 1 {DEFAULT} 0", math=DEFAULT) == f"5 0 {TENSOR}"
    assert choose(direction, f"5 0 {TENSOR} 0  4 1 {FMA} 0", math=DEFAULT) == f"4 0 {FMA}"


@DIRECTIONS
def test_what_cudnn_refuses_is_passed_over_and_the_plain_one_is_last(choose, direction):
    assert choose(direction, "5 1 3 -1  4 1 3 0") == "4 0"
    assert choose(direction, "5 1 3 -1", plain=2) == "0 2"


@DIRECTIONS
@pytest.mark.parametrize("answer", [2000, 3000, 3003])
def test_an_algorithm_that_refuses_to_run_is_passed_over_for_the_next(choose, direction, answer):
    assert choose(direction, "5 1 3 0  4 1 3 100  3 1 3 0", refusing=(5,), answer=answer) == "4 100"
    assert choose(direction, "5 1 3 0  4 1 3 9", refusing=(5, 4), answer=answer) == "0 0"


@DIRECTIONS
def test_where_all_refuse_or_one_fails_caffe_ends_with_cudnns_answer(choose, direction):
    assert choose(direction, "5 1 3 0", refusing=(5, 0), answer=3003) == "cuDNN answers 3003"
    assert choose(direction, "5 1 3 0  4 1 3 0", refusing=(5,), answer=5000) == "cuDNN answers 5000"


@DIRECTIONS
def test_where_memory_is_short_one_without_workspace_is_taken_or_caffe_ends_with_the_cause(choose, direction):
    assert choose(direction, "5 1 3 100  4 1 3 50  3 1 3 0", free=150) == "3 0"  # two lanes: twice 100
    assert choose(direction, "5 1 3 100", free=150) == "0 0"
    words = choose(direction, "5 1 3 100", free=150, plain=1)
    assert words.startswith("out of memory: cuDNN has no algorithm for conv, ")


def test_deconvolutions_pass_over_the_one_that_bvlc_found_wrong(choose):
    assert choose("forward", "1 1 3 0  2 1 3 0") == "1 0"
    assert choose("deconvolution", "1 1 3 0  2 1 3 0") == "2 0"


COMPILE = """
import ctypes, sys
from training.pycaffe import import_caffe
import_caffe()
nvrtc, program = ctypes.CDLL(sys.argv[1]), ctypes.c_void_p()
source = b"__global__ void f(float* x) { *x = 1; }"
nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"f.cu", 0, None, None)
print(nvrtc.nvrtcCompileProgram(program, 0, None))
"""


@pytest.mark.caffe
def test_caffe_for_gpus_lets_cudas_compiler_find_its_functions_but_starts_without_them():
    """Compiling needs no GPU."""
    if not (caffe_prefix() / ".kind").read_text().startswith("cuda"):
        pytest.skip("this Caffe was built for the CPU alone")
    library = caffe_prefix() / "lib" / "libcaffe.so"
    linked = subprocess.run(["ldd", library], capture_output=True, text=True, check=True).stdout
    assert "builtins" not in linked
    folder = Path(re.search(r"libcudart\S* => (\S+)/libcudart", linked)[1])
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, folder / "libnvrtc.so.13"],
        capture_output=True,
        text=True,
        cwd=HERE.parents[1],
        env=environment,
        check=True,
    )
    assert done.stdout == "0\n"
