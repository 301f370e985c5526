#!/usr/bin/env bash
# Packs what gpu-check needs on a machine without package access:  gpu_check/bundle.sh [FILE]
#
# FILE (default dfcnet-gpu.tar.xz) holds Caffe for CUDA without OpenCV, the libraries it is linked to, Python with the
# packages, and gpu-check. CUDA's own libraries stay out (2 GB): the machine has them, from the driver's toolkit or
# a Python environment with PyTorch, and LD_LIBRARY_PATH names their folders:
#
#   tar -xf dfcnet-gpu.tar.xz && LD_LIBRARY_PATH=... dfcnet-gpu/gpu-check
#
#   CUDA_ARCHS  compute capabilities to compile for, see native/cuda.sh
#   PYTHON3     the distribution's own Python (default /usr/bin/python3), which is packed
set -euo pipefail

python3=${PYTHON3:-/usr/bin/python3}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
file=$(realpath -m "${1:-dfcnet-gpu.tar.xz}")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/dfcnet
work=$cache/bundle
limit=60000000    # bytes
packages=(numpy protobuf jinja2 markupsafe pydantic pydantic-core annotated-types typing-extensions
    typing-inspection lmdb tqdm six)

die() { echo "bundle: $1" >&2; exit "${2:-1}"; }
say() { echo "bundle: $*"; }

# An environment of its own: Caffe without OpenCV is not to become the checkout's.
mkdir -p "$cache"
if [[ ! -f $work/.ready || $root/requirements/locked.txt -nt $work/.ready ]]; then
    say "a Python environment in $work"
    rm -rf "$work"
    "$python3" -m venv "$work"
    awk -v names=" ${packages[*]} " '/^[a-z]/ { split($1, pin, "=="); wanted = index(names, " " pin[1] " ") } wanted' \
        "$root/requirements/locked.txt" >"$work/requirements.txt"
    "$work/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        -r "$work/requirements.txt"
    touch "$work/.ready"
fi
PYTHON=$work/bin/python CAFFE_OPENCV=OFF "$root/native/build.sh" --cuda
site=$("$work/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
prefix=$(dirname "$(cat "$site/caffe.pth")")

staged=$(mktemp -d)
trap 'rm -rf "$staged"' EXIT
to=$staged/dfcnet-gpu
say "packing"
mkdir -p "$to"/{app,caffe,lib,python/bin,site}

# The project: what gpu-check and training import.
(cd "$root" && git ls-files -z common data_prep datasets evaluation gpu_check inference prototxt_gen solvers templates tools training |
    tar -c --null -T - -f -) | tar -x -C "$to/app"

# Caffe, its libraries but CUDA's and glibc's, and Python.
cp -a "$prefix/lib" "$prefix/python" "$to/caffe"
install -D "$prefix/bin/test_layers" "$to/caffe/bin/test_layers"
rm -f "$to"/caffe/lib/*.a
rm -rf "$to/caffe/lib/cmake"
stdlib=$("$python3" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
install -D "$(realpath "$python3")" "$to/python/bin/python3"
mkdir -p "$to/python/lib"
tar -c -C "$(dirname "$stdlib")" --exclude __pycache__ --exclude test --exclude idlelib --exclude tkinter \
    --exclude turtledemo --exclude ensurepip --exclude lib2to3 --exclude 'config-*' "$(basename "$stdlib")" |
    tar -x -C "$to/python/lib"
for package in "${packages[@]}"; do
    "$work/bin/python" "$root/gpu_check/bundle_files.py" "$package" | tar -c -C "$site" -T - | tar -x -C "$to/site"
done
for absent in cv2 rasterio; do    # imported by modules that are, in parts, used: nothing of it is called
    echo '"""Not in this bundle."""

def __getattr__(name): return None' >"$to/site/$absent.py"
done
for binary in "$to"/caffe/lib/libcaffe.so "$to"/caffe/python/caffe/_caffe.so "$to"/caffe/bin/test_layers \
    "$to"/python/bin/python3 $(find "$to/site" "$to/python" -name '*.so*' -type f); do
    LD_LIBRARY_PATH=$prefix/lib ldd "$binary" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// { print $3 }'
done | sort -u | grep -v -e "$cache" -e "$staged" -e '/lib\(c\|m\|dl\|rt\|pthread\|util\|resolv\)\.so\.' |
    while read -r library; do
        cp -L "$library" "$to/lib"
    done
# Not the packages' libraries: stripped, those that a wheel was repaired with do not load.
find "$to/caffe" "$to/lib" -type f \( -name '*.so*' -o -name test_layers \) -exec strip --strip-unneeded {} +

cat >"$to/gpu-check" <<'END'
#!/bin/sh
# Runs the check; LD_LIBRARY_PATH names the folders of CUDA 13, cuDNN 9 and NCCL.
here=$(cd "$(dirname "$0")" && pwd)
export LD_LIBRARY_PATH="$here/caffe/lib:$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export PYTHONHOME="$here/python" PYTHONPATH="$here/app:$here/caffe/python:$here/site" PYTHONDONTWRITEBYTECODE=1
cd "$here/app" && exec "$here/python/bin/python3" -m gpu_check "$@"
END
chmod +x "$to/gpu-check"
say "checking that it starts"
cuda=$(ldd "$prefix/lib/libcaffe.so" | awk '$1 ~ /^libcudart/ { print $3 }')
env -i CUDA_VISIBLE_DEVICES= LD_LIBRARY_PATH="$(dirname "$cuda")" "$to/gpu-check" 2>"$staged/said" && code=0 || code=$?
[[ $code -eq 2 ]] && grep -q '^gpu-check: this machine shows no NVIDIA GPU' "$staged/said" ||
    die "what was packed does not start: $(tail -n 1 "$staged/said")"
tar -c -C "$staged" dfcnet-gpu | xz -9e -T0 >"$file.part"
size=$(stat -c %s "$file.part")
[[ $size -lt $limit ]] || die "$size bytes, over $limit; see what grew"
mv "$file.part" "$file"
say "$file: $((size / 1000000)) MB"
