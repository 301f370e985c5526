#!/usr/bin/env bash
# Packs what the GPU check and a training need on a machine without package access:  gpu_check/bundle.sh [FILE]
#
# FILE (default dfcnet-gpu.tar.xz) holds Caffe for CUDA without OpenCV and oneDNN, the libraries it is linked to, Python
# with the packages, and the project. CUDA's own libraries stay out (2 GB): the machine has them, in folders that
# LD_LIBRARY_PATH names or in the packages `nvidia-...` of its Python, as PyTorch brings them.
#
#   tar -xf dfcnet-gpu.tar.xz && dfcnet-gpu/gpu-check --rows rows.jsonl
#   dfcnet-gpu/dfcnet train dfcnet --gpus 0-7 --dense-block fused
#
#   CUDA_ARCHS  compute capabilities to compile for, see native/cuda.sh (default 90: H100 and H200; later GPUs compile its
#               PTX when they first run it)
#   PYTHON3     the distribution's own Python (default /usr/bin/python3), which is packed
set -euo pipefail

python3=${PYTHON3:-/usr/bin/python3}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export CUDA_ARCHS=${CUDA_ARCHS:-90}
file=$(realpath -m "${1:-dfcnet-gpu.tar.xz}")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/dfcnet
work=$cache/bundle
limit=35000000    # bytes
packages=(numpy pillow protobuf jinja2 markupsafe pydantic pydantic-core annotated-types typing-extensions
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
PYTHON=$work/bin/python CAFFE_OPENCV=OFF CAFFE_DNNL=OFF "$root/native/build.sh" --cuda
site=$("$work/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
prefix=$(dirname "$(cat "$site/caffe.pth")")

staged=$(mktemp -d)
trap 'rm -rf "$staged"' EXIT
to=$staged/dfcnet-gpu
say "packing"
mkdir -p "$to"/{app,caffe,lib,python/bin,site}

# The project: what the check and training import.
(cd "$root" && git ls-files -z benchmarks/speed_files.py benchmarks/torch_net.py common data_prep datasets evaluation \
    gpu_check inference prototxt_gen pyproject.toml solvers templates tools training |
    tar -c --null -T - -f -) | tar -x -C "$to/app"

# Caffe, its libraries but CUDA's and glibc's, and Python.
cp -a "$prefix/lib" "$prefix/python" "$to/caffe"
install -D "$prefix/bin/test_layers" "$to/caffe/bin/test_layers"
rm -f "$to"/caffe/lib/*.a
rm -rf "$to/caffe/lib/cmake"
stdlib=$("$python3" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
mkdir -p "$to"/python/{bin,lib}
# Caffe is linked to libpython, which has all that Debian's python3 holds once more.
libpython=$("$python3" -c 'import sysconfig; print(*sysconfig.get_config_vars("LIBDIR", "INSTSONAME"), sep="/")')
echo 'int Py_BytesMain(int, char **); int main(int count, char **words) { return Py_BytesMain(count, words); }' |
    gcc -x c - -x none "$libpython" -o "$to/python/bin/python3"
# Without what serves development, terminals, network and databases.
tar -c -C "$(dirname "$stdlib")" --exclude={__pycache__,test,idlelib,tkinter,turtledemo,ensurepip,lib2to3,'config-*'} \
    --exclude={pydoc_data,distutils,venv} --exclude=lib-dynload/{_test,_xx,xx,_codecs_,_curses,_dbm,_sqlite3,_ssl,nis,readline}'*' \
    "$(basename "$stdlib")" |
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

cat >"$to/dfcnet" <<'END'
#!/bin/sh
# Runs a command of the project in the packed Python:  dfcnet COMMAND [OPTION ...]
here=$(cd "$(dirname "$0")" && pwd)
# Folders of CUDA 13, cuDNN 9 and NCCL that a Python of this machine has.
cuda=$(python3 -c 'import glob, importlib.util
nvidia = importlib.util.find_spec("nvidia")
folders = nvidia.submodule_search_locations if nvidia else ()
print(":".join(lib for folder in folders for lib in glob.glob(folder + "/*/lib")))' 2>/dev/null)
export OUTER_LD_LIBRARY_PATH="$LD_LIBRARY_PATH"    # for programs that are not packed here
export LD_LIBRARY_PATH="$here/caffe/lib:$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}${cuda:+:$cuda}"
export PYTHONHOME="$here/python" PYTHONPATH="$here/app:$here/caffe/python:$here/site" PYTHONDONTWRITEBYTECODE=1
exec "$here/python/bin/python3" "$here/app/tools/dfcnet.py" "$@"
END
cat >"$to/gpu-check" <<'END'
#!/bin/sh
exec "$(dirname "$0")/dfcnet" gpu-check "$@"
END
chmod +x "$to/dfcnet" "$to/gpu-check"
tar -c -C "$staged" dfcnet-gpu | xz -9e -T0 >"$file.part"
size=$(stat -c %s "$file.part")
[[ $size -lt $limit ]] || die "$size bytes, over $limit; see what grew"

# From the archive, without what this machine has in its caches: it is to run elsewhere.
say "checking that it runs"
mkdir "$staged/elsewhere"
tar -xf "$file.part" -C "$staged/elsewhere"
libraries=$(dirname "$(ldd "$prefix/lib/libcaffe.so" | awk '$1 ~ /^libcudart/ { print $3 }')")
env -i PATH=/usr/bin:/bin LD_LIBRARY_PATH="$libraries" "$staged/elsewhere/dfcnet-gpu/gpu-check" --cpu --quick \
    >"$staged/said" 2>&1 || { cat "$staged/said" >&2; die "what was packed does not pass its own check"; }
! grep 'libraries loaded' "$staged/said" | grep -q -e "$prefix" -e "$work" ||
    die "what was packed loads libraries of this machine's build: $(grep 'libraries loaded' "$staged/said")"
tail -n 1 "$staged/said"
mv "$file.part" "$file"
say "$file: $((size / 1000000)) MB"
