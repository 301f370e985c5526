#!/usr/bin/env bash
# Runs our C++ under the compilers' checks, in a build of its own (about 10 minutes on 2 cores, then half an hour):
#
#   native/sanitize.sh {address,thread}
#
# address: AddressSanitizer and UndefinedBehaviorSanitizer, by GCC. thread: ThreadSanitizer, by Clang. Each goes over the
# tests of our layers, and over scenes, databases, a short training of the demo's net and its maps. Ends with 1 at a report
# that sanitize-KIND.supp does not name; these files name foreign libraries alone.
#
#   CAFFE_SOURCE  a tarball of BVLC Caffe, see build.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
kind=${1:-}
die() { echo "sanitize: $1" >&2; exit "${2:-1}"; }
say() { printf 'sanitize: %5d s  %s\n' "$SECONDS" "$*"; }
[[ $# -eq 1 && $kind =~ ^(address|thread)$ ]] || die "${*:-nothing}: is not a kind; usage: sanitize.sh {address,thread}" 2

cache=${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/dfcnet
work=$cache/sanitize-$kind
log=$work/log
rm -rf "$work"
mkdir -p "$work"
PYTHON3=${PYTHON3:-/usr/bin/python3} "$root/requirements/venv.sh"
[[ $kind == address ]] || "$here/packages.sh" "$here/packages/sanitize.txt"

# The packages of .venv, but another Caffe.
"$root/.venv/bin/python" -m venv --without-pip "$work/env"
python=$work/env/bin/python
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$root/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/packages.pth"
CAFFE_SANITIZE=$kind PYTHON=$python "$here/build.sh" --cpu
prefix=$(dirname "$(cat "$site/caffe.pth")")
say "build: $prefix"

case $kind in
address) checks=$(c++ -print-file-name=libasan.so) ;;
thread) checks=$(clang++ -print-file-name="libclang_rt.tsan-$(uname -m).so") ;;
esac
checked() {  # COMMAND...: leaks are not looked for: Python and glog keep what they have until the end
    env "LD_PRELOAD=$checks" OMP_NUM_THREADS=2 \
        "ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1:detect_stack_use_after_return=1" \
        "UBSAN_OPTIONS=print_stacktrace=1:suppressions=$here/sanitize-$kind.supp" \
        "TSAN_OPTIONS=exitcode=0:suppressions=$here/sanitize-$kind.supp" "$@" >>"$log" 2>&1
}
step() {  # WORDS -- COMMAND...
    local words=$1; shift 2
    echo "== $words" >>"$log"
    checked "$@" || { tail -n 20 "$log" >&2; die "failed at: $words (log: $log)"; }
    say "$words"
}
tool() { step "$1" -- "$python" "$root/tools/$1.py" "${@:2}"; }

step "tests of our layers" -- "$prefix/bin/test_layers"
grep -E '^\[  PASSED  \]' "$log" || die "no test ran (log: $log)"
cd "$work"
tool make_scenes --out scenes --land 6 --road 6 --size 384 --seed 1
for task in land road; do
    tool build_lmdb "$root/solvers/dfcnet_demo" "$task" --images "scenes/$task" --variants 4 --seed 1 --out "${task}_lmdb"
done
tool train "$root/solvers/dfcnet_demo" --cpu --run run --set solver.max_iter=6 --set solver.snapshot=3 \
    --set "tasks.land.source='land_lmdb'" --set "tasks.road.source='road_lmdb'"
tool predict --run run --out maps scenes/land
reports=$(grep -c -E 'runtime error:|ERROR: AddressSanitizer|WARNING: ThreadSanitizer' "$log" || true)
[[ $reports -eq 0 ]] || die "$reports reports (log: $log)"
say "no reports"
