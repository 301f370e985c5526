# What build.sh --cuda does beside the recipe of the CPU. Sourced by it, not run by itself.
#
#   CUDA_ARCHS   compute capabilities to compile for (default "75 80 86 89 90 100 120"); the last one as PTX too,
#                from which drivers compile for newer GPUs
#   CUDA_PREFIX  where CUDA's compiler and libraries are put (default ~/.cache/dfcnet/cuda-<hash of cuda.txt>)
cuda_archs=${CUDA_ARCHS:-75 80 86 89 90 100 120}
cuda_hash=$(sha256sum <"$here/cuda.txt" | cut -c 1-12)
cuda=$(realpath -m "${CUDA_PREFIX:-$cache/cuda-$cuda_hash}")
[[ $cuda_archs =~ ^[0-9]+(\ [0-9]+)*$ ]] ||
    die "CUDA_ARCHS='$cuda_archs': is not a list of compute capabilities; write \"80 90\"" 2
[[ $cuda != *[[:space:]]* ]] || die "$cuda: has a blank in it, which Caffe's build does not take; set CUDA_PREFIX" 2
[[ $(uname -m) == x86_64 ]] || die "$(uname -m): cuda.txt pins wheels for x86-64 alone; build for the CPU" 2
target="cuda $cuda $cuda_archs"

# Caffe's own tests of the layers that our nets are made of; gpu_check runs them on a GPU.
# The solvers' are not among them: they read files of the source.
cuda_tests=(batch_norm_layer blob concat_layer convolution_layer eltwise_layer infogain_loss_layer
    math_functions net neuron_layer platform pooling_layer power_layer scale_layer slice_layer softmax_layer
    softmax_with_loss_layer split_layer syncedmem)

install_cuda() {  # the wheels' files in one folder, as a CUDA toolkit has them
    [[ $(cat "$cuda/.list" 2>/dev/null) == "$cuda_hash" ]] && return 0
    if [[ -n $(ls -A "$cuda" 2>/dev/null) && ! -f $cuda/.list ]]; then
        die "$cuda: holds files that are not CUDA of this script; choose another CUDA_PREFIX" 2
    fi
    local part=$cuda.part folder library
    rm -rf "$part"
    "$python" -m pip install --disable-pip-version-check --no-cache-dir --no-deps --require-hashes \
        --only-binary :all: --target "$part" -r "$here/cuda.txt" >>"$log" 2>&1 ||
        die "CUDA: pip: $(grep '^ERROR' "$log" | tail -n 1) (log: $log)"
    for folder in "$part"/nvidia/*/; do
        cp -al "$folder." "$part"
    done
    rm -rf "$part/nvidia"
    for library in "$part"/lib/*.so.*; do    # what the linker looks for
        ln -sf "$(basename "$library")" "${library%%.so.*}.so"
    done
    echo "$cuda_hash" >"$part/.list"
    rm -rf "$cuda"
    mv "$part" "$cuda"
}

cuda_options() {  # for CMake, one a line
    printf '%s\n' -DCPU_ONLY=OFF -DUSE_CUDNN=ON -DUSE_NCCL=ON "-DCUDA_TOOLKIT_ROOT_DIR=$cuda" \
        -DCUDA_ARCH_NAME=Manual "-DCUDA_ARCH_BIN=$cuda_archs" "-DCUDA_ARCH_PTX=${cuda_archs##* }" \
        "-DCMAKE_LIBRARY_PATH=$cuda/lib" "-DCMAKE_INCLUDE_PATH=$cuda/include" "-DCUDNN_ROOT=$cuda" \
        "-DCMAKE_CXX_FLAGS=-isystem $cuda/include" "-DCUDA_NVCC_FLAGS=-isystem;$cuda/include" \
        "-DCMAKE_EXE_LINKER_FLAGS=-Wl,-rpath,$prefix/lib -Wl,-rpath-link,$cuda/lib" \
        "-DCMAKE_SHARED_LINKER_FLAGS=-Wl,-rpath-link,$cuda/lib"
}
