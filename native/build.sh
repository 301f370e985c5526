#!/usr/bin/env bash
# Builds BVLC Caffe 1.0.0 (git 99bd997) with our patches and layers, and makes it importable in a Python
# environment:
#
#   native/build.sh [--cpu | --cuda] [--source TARBALL]
#
# --cpu is for CPUs alone; --cuda for NVIDIA GPUs too (CUDA 13, cuDNN 9, NCCL 2, from the Python package index;
# see cuda.sh). Without either it is the kind that this Python imports already, else --cpu.
#
# The source comes from TARBALL (or CAFFE_SOURCE), else from an earlier call's cache, else from the upstream Git
# repository, else from Debian's source package on a mirror that apt is set up with; whichever it is, its files must have
# the pinned checksum.
#
#   PYTHON        interpreter to build pycaffe for (default .venv/bin/python of the checkout)
#   CAFFE_PREFIX  where to install (default ~/.cache/dfcnet/caffe-<hash of the recipe>)
#   CAFFE_OPENCV  OFF: without OpenCV, hence without encoded Datums (default ON)
#   CAFFE_DNNL    OFF: without oneDNN, hence slower on the CPU and without bfloat16 (default ON on x86-64, for which
#                 onednn.txt pins it, else OFF)
set -euo pipefail

commit=99bd99795dcdf0b1d3086a8d67ab1782a8a08383
upstream=https://github.com/BVLC/caffe.git
download=${upstream%.git}/archive/$commit.tar.gz
# sha256 over the sorted "sha256  file" lines of all files of that commit
tree_sha256=40e059ef5413038c0efa9460777fb94fabca35676804d6409491a49e909849a5
# of Debian's package of that commit, where it lies on a mirror, and its sha256
debian=c/caffe/caffe_1.0.0+git20180821.99bd997.orig.tar.gz
debian_sha256=e0eb3f06794f7402c77b7dec8e8480273ee1a1bb192e9122b621a69d4147ad0c

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
python=${PYTHON:-$root/.venv/bin/python}
cache=${XDG_CACHE_HOME:-${HOME:?is not set; set it, or XDG_CACHE_HOME, to a folder for the build}/.cache}/dfcnet

die() { trap - EXIT; echo "caffe: $1" >&2; exit "${2:-1}"; }
say() { echo "caffe: $*"; }

tarball=${CAFFE_SOURCE:-}
kind=
while [[ $# -gt 0 ]]; do
    case $1 in
    --cpu | --cuda) kind=${1#--} ;;
    --source) tarball=${2:?--source takes a tarball}; shift ;;
    *) die "unknown option $1; usage: build.sh [--cpu | --cuda] [--source TARBALL]" 2 ;;
    esac
    shift
done
[[ -z $tarball || -r $tarball ]] || die "$tarball: cannot be read; give a tarball of BVLC Caffe at ${commit:0:7}" 2
[[ -x $python ]] || die "$python: no Python there; run \`make venv\`, or set PYTHON" 2

tree_hash() (cd "$1" && find . -type f -not -path './.git/*' -print0 | LC_ALL=C sort -z |
    xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1)

# The recipe: all that the build is made from, and what pycaffe is compiled against.
{ read -r site && read -r abi; } < <("$python" -c 'import sys, sysconfig, importlib.metadata as m
print(sysconfig.get_path("purelib"), sys.version.replace("\n", " ") + m.version("numpy"), sep="\n")') ||
    die "$python: has no NumPy; run \`make venv\`" 2
linked=$(cat "$site/caffe.pth" 2>/dev/null || true)
if [[ -z $kind ]] && read -r kind archs < <(cat "${linked%/python}/.kind" 2>/dev/null || echo cpu); then
    export CUDA_ARCHS=${CUDA_ARCHS:-$archs}
fi
target=cpu
[[ $kind == cpu ]] || . "$here/cuda.sh"
opencv=${CAFFE_OPENCV:-ON}
[[ $opencv == ON || $opencv == OFF ]] || die "CAFFE_OPENCV='$opencv': is neither ON nor OFF" 2
machine=$(uname -m)
dnnl=${CAFFE_DNNL:-$([[ $machine == x86_64 ]] && echo ON || echo OFF)}
[[ $dnnl == ON || $dnnl == OFF ]] || die "CAFFE_DNNL='$dnnl': is neither ON nor OFF" 2
[[ $dnnl == OFF || $machine == x86_64 ]] || die "$machine: onednn.txt pins wheels for x86-64 alone; leave CAFFE_DNNL unset" 2
recipe=$({
    for part in overlay patches; do tree_hash "$here/$part"; done
    cat "$here"/{build.sh,cuda.sh,cuda.txt,onednn.txt,packages/caffe.txt}
    echo "$abi $target opencv $opencv dnnl $dnnl"
} | sha256sum | cut -c 1-12)
prefix=$(realpath -m "${CAFFE_PREFIX:-$cache/caffe-$recipe}")
[[ $prefix != *[[:space:]]* ]] || die "$prefix: has a blank in it, which Caffe's build does not take; set CAFFE_PREFIX" 2
log=$cache/caffe-$recipe.log

# import caffe, in this Python, without variables
link_python() { [[ $linked == "$prefix/python" ]] || echo "$prefix/python" >"$site/caffe.pth"; }

is_built() { [[ $(cat "$prefix/.recipe" 2>/dev/null) == "$recipe" ]]; }
if is_built; then
    link_python
    exit 0
fi
if [[ -n $(ls -A "$prefix" 2>/dev/null) && ! -f $prefix/.recipe ]]; then
    die "$prefix: holds files that are not an installed Caffe of this script; choose another CAFFE_PREFIX" 2
fi

mkdir -p "$cache" "$(dirname "$prefix")"
exec 9>"$cache/caffe-$recipe.lock"
flock 9
is_built && { link_python; exit 0; }    # another call built it meanwhile

"$here/packages.sh" "$here/packages/caffe.txt"

# What would fail later, or in Caffe's own words.
interpreter=$("$python" -c 'import os, sys; print(os.path.realpath(sys._base_executable))')
dpkg-query --search "$interpreter" >/dev/null 2>&1 || die "$python: is made from $interpreter, which is not the \
distribution's own Python, for which Boost.Python is built; make .venv anew: \`make venv\`" 2
needs=1000    # MB
[[ $kind == cpu ]] || needs=8000
for folder in "$cache" "$(dirname "$prefix")"; do
    free=$(df --output=avail --block-size=MB "$folder" | tail -n 1 | tr -dc 0-9)
    [[ $free -ge $needs ]] || die "$folder: $free MB are free there, $needs are needed; XDG_CACHE_HOME and CAFFE_PREFIX choose other folders"
done

work=$cache/caffe-$recipe.build
rm -rf "$work"
mkdir -p "$work"
: >"$log"
step=
trap '[[ $? -eq 0 ]] || { tail -n 15 "$log"; echo "caffe: failed at: $step; log: $log"; } >&2' EXIT
begin() { step=$*; say "$step"; echo "== $step" >>"$log"; }

unpack() {  # TARBALL: into $work/source, without the folder that archives of Git hosts begin with
    rm -rf "$work/unpacked" "$work/source"
    mkdir "$work/unpacked"
    tar -xf "$1" -C "$work/unpacked" >>"$log" 2>&1 || return 1
    local top=("$work/unpacked"/*)
    if [[ ${#top[@]} -eq 1 && -d ${top[0]} ]]; then
        mv "${top[0]}" "$work/source"
    else
        mv "$work/unpacked" "$work/source"
    fi
}

from_git() (  # in a shell of its own: a Git hook's variables would point at the user's repository
    rm -rf "$work/source"
    unset $(git rev-parse --local-env-vars)
    export GIT_TERMINAL_PROMPT=0
    timeout 20 git ls-remote -q "$upstream" HEAD &&    # does it answer
        git init -q "$work/source" && cd "$work/source" &&
        timeout 300 git -c http.lowSpeedLimit=1000 -c http.lowSpeedTime=30 \
            fetch -q --depth 1 "$upstream" "$commit" &&
        git -c core.autocrlf=false -c advice.detachedHead=false checkout -q FETCH_HEAD && rm -rf .git
)

from_debian() {  # whatever its releases, a mirror keeps their packages in one pool
    local site pool
    for site in $(apt-get indextargets --format '$(SITE)' | sort -u); do
        for pool in main universe; do    # Debian's, Ubuntu's
            /usr/lib/apt/apt-helper -o Acquire::Retries=0 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 \
                download-file "$site/pool/$pool/$debian" "$work/debian.tar.gz" "SHA256:$debian_sha256" &&
                unpack "$work/debian.tar.gz" && return 0
        done
    done
    return 1
}

install_onednn() {  # its library, headers and licence from the wheels
    [[ -f $onednn/.done ]] && return 0
    local part=$onednn.part wheel
    rm -rf "$part" "$onednn"
    mkdir "$part"
    "$python" -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --require-hashes \
        --only-binary :all: --dest "$part/wheels" -r "$here/onednn.txt" >>"$log" 2>&1 ||
        die "oneDNN: pip: $(grep '^ERROR' "$log" | tail -n 1) (log: $log)"
    for wheel in "$part"/wheels/*.whl; do
        "$python" -m zipfile -e "$wheel" "$part/unpacked"
    done
    mkdir "$part/lib"
    mv "$part"/unpacked/*devel*.data/data/{include,share} "$part"
    mv "$part"/unpacked/*.data/data/lib/libdnnl.so.3 "$part/lib"
    rm -r "$part/unpacked" "$part/wheels"
    touch "$part/.done"
    mv "$part" "$onednn"
}

is_pinned() { [[ -d $work/source && $(tree_hash "$work/source") == "$tree_sha256" ]]; }

kept=$cache/caffe-${commit:0:7}.tar.gz
if [[ -n $tarball ]]; then
    begin "source from $tarball"
    unpack "$tarball" && is_pinned || die "$tarball: its files are not those of BVLC Caffe ${commit:0:7}; download $download" 2
elif [[ -f $kept ]] && unpack "$kept" && is_pinned; then
    begin "source from $kept"
else
    begin "source from $upstream at ${commit:0:7}"
    if ! { from_git >>"$log" 2>&1 && is_pinned; }; then
        begin "source from Debian's package caffe (the upstream repository did not give it)"
        from_debian >>"$log" 2>&1 && is_pinned || die "neither $upstream nor a mirror of Debian gave Caffe's source; \
download $download where you can, and put it here as $kept, or name it: CAFFE_SOURCE=FILE (log: $log)"
    fi
fi
tar -czf "$work/kept.tar.gz" -C "$work/source" . && mv "$work/kept.tar.gz" "$kept"

begin "patches and layers"
for change in "$here"/patches/*.patch; do
    patch -d "$work/source" -p1 --fuzz=0 <"$change" >>"$log" 2>&1
done
cp -R "$here/overlay/." "$work/source"
tests=()
for file in "$here"/overlay/src/caffe/test/test_*.cpp; do
    name=$(basename "$file" .cpp)
    tests+=("${name#test_}")
done

minutes=3
options=(-DCPU_ONLY=ON "-DCMAKE_EXE_LINKER_FLAGS=-Wl,-rpath,$prefix/lib")
if [[ $kind == cuda ]]; then
    begin "CUDA into $cuda"
    exec 8>"$cache/cuda.lock"
    flock 8
    install_cuda
    exec 8>&-
    readarray -t options < <(cuda_options)
    tests+=("${cuda_tests[@]}")
    minutes=$((8 + 3 * $(wc -w <<<"$cuda_archs")))
fi

if [[ $dnnl == ON ]]; then
    onednn=$cache/onednn-$(sha256sum <"$here/onednn.txt" | cut -c 1-12)
    begin "oneDNN into $onednn"
    exec 8>"$cache/onednn.lock"    # for builds of other recipes
    flock 8
    install_onednn
    exec 8>&-
    options+=("-DDNNL_INCLUDE_DIR=$onednn/include" "-DDNNL_LIBRARY=$onednn/lib/libdnnl.so.3")
fi

begin "configure"
only_tests=$(IFS=,; echo "${tests[*]}")
# One pool of threads: OpenBLAS in its OpenMP flavour, with the folder as rpath (all flavours have one name).
openblas=$(dpkg-query --listfiles libopenblas-openmp-dev | grep '/libopenblas\.so$')
cmake -G Ninja -S "$work/source" -B "$work/build" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_INSTALL_PREFIX="$prefix" "${options[@]}" -DBUILD_only_tests="$only_tests" -DBUILD_docs=OFF \
    -DUSE_LEVELDB=OFF -DUSE_OPENCV="$opencv" -DALLOW_LMDB_NOLOCK=ON -DBLAS=Open -DOpenBLAS_LIB="$openblas" \
    -DUSE_OPENMP=ON -DUSE_DNNL="$dnnl" -DCMAKE_CXX_STANDARD=17 -DCMAKE_POLICY_VERSION_MINIMUM=3.5 \
    -Dpython_version=3 -DPYTHON_EXECUTABLE="$python" >>"$log" 2>&1

begin "compile for ${kind^^} (about $minutes minutes on 2 cores; log: $log)"
cmake --build "$work/build" --target all test.testbin >>"$log" 2>&1

begin "install into $prefix"
DESTDIR=$work/staged cmake --install "$work/build" >>"$log" 2>&1
install "$work/build/test/test.testbin" "$work/staged$prefix/bin/test_layers"
[[ $dnnl == OFF ]] || cp -R "$onednn/lib" "$onednn/share" "$work/staged$prefix"
echo "not finished" >"$work/staged$prefix/.recipe"
rm -rf "$prefix"
mkdir "$prefix"
cp -a "$work/staged$prefix/.recipe" "$prefix"    # first: what is here is ours
cp -a "$work/staged$prefix/." "$prefix"

begin "import"
link_python
"$python" -c 'import caffe; assert "Interp" in caffe.layer_type_list()' >>"$log" 2>&1
echo "$kind${cuda_archs:+ $cuda_archs}" >"$prefix/.kind"
echo "$recipe" >"$prefix/.recipe"
rm -rf "$work"
say "done"
