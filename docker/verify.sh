#!/usr/bin/env bash
# Proves the images without a Docker engine: builds one on a bare Debian, and runs it as its own user.
#
#   docker/verify.sh {cpu,cuda} [SUITE [FOLDER]]
#
# cpu: the commands' --help, demo, test. cuda: what needs no GPU of these. SUITE is Debian's name of a release (default: the
# Dockerfile's). Root only; the work (base, images, layers) lies in FOLDER (default ~/.cache/dfcnet/verify), where base and
# layers are kept for the next call.
#
#   PIP_CERT        see native/bare_debian.sh
#   CUDA_ARCHS      compute capabilities to compile for (default: the Dockerfile's)
#   STORAGE_DRIVER  of buildah (default overlay; vfs where the kernel has no overlay mounts: needs several times the disk)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/native/bare_debian.sh"
target=${1:-}
[[ $target == cpu || $target == cuda ]] ||
    die "${target:-nothing}: is not a target; usage: verify.sh {cpu,cuda} [SUITE [FOLDER]]" 2
suite=${2:-$(sed -n 's/^ARG BASE=.*:\([a-z]*\)-.*/\1/p' "$root/docker/Dockerfile")}
begin "$target" "${3:-}"
limit=1400    # MB of the image cpu
"$root/native/packages.sh" "$root/native/packages/verify.txt" "$root/docker/packages.txt"
driver=${STORAGE_DRIVER:-overlay}
export BUILDAH_ISOLATION=chroot
buildah() { command buildah --storage-driver "$driver" --root "$work/storage" --runroot "$work/run" "$@"; }
container=
tidy() {    # no mount is left, so that FOLDER can be removed
    [[ -z $container ]] || buildah rm "$container" >/dev/null || true
    ! mountpoint -q "$work/storage/$driver" || umount "$work/storage/$driver"
}
trap tidy EXIT

step "base of $suite" -- base "$suite"
step "base image" -- buildah build --layers -t "localhost/debian:$suite" -f - "$work/base-$suite" <<<$'FROM scratch\nADD . /'

context=$work/context
rm -rf "$context" && mkdir "$context"
(cd "$root" && git ls-files -z --cached --others --exclude-standard | tar -c --null -T - -f -) | tar -x -C "$context"
arguments=(--build-arg "BASE=localhost/debian:$suite")
[[ -z ${CUDA_ARCHS:-} ]] || arguments+=(--build-arg "CUDA_ARCHS=$CUDA_ARCHS")
step "image $target" -- buildah build --layers --target "$target" "${arguments[@]}" -t "dfcnet:$target" \
    -f "$context/docker/Dockerfile" --ignorefile "$context/.dockerignore" "$context"

container=$(buildah from "localhost/dfcnet:$target")
mounted=$(buildah mount "$container")
size=$(du -s --apparent-size --block-size=MB "$mounted" | cut -d M -f 1)
say "image $target: $size MB"
[[ $target != cpu || $size -lt $limit ]] || die "$size MB, over $limit; see what grew"
as_user() { buildah run --user dfcnet "$container" -- /opt/dfcnet/docker/entrypoint.sh "$@"; }

[[ $(buildah run "$container" -- id -u) != 0 ]] || die "the image runs as root"
step "no compilers" -- buildah run "$container" -- sh -c \
    'for program in cc g++ cmake ninja nvcc; do if command -v $program; then exit 1; fi; done'
step "smoke" -- as_user smoke
for tool in $(as_user --help | awk '/^  [a-z][a-z-]+  /{ print $1 }'); do
    step "$tool --help" -- as_user "$tool" --help
done
step "demo" -- as_user demo
grep -E 'mIoU|always' "$log" | tail -n 2
step "test" -- as_user test -q
tail -n 1 "$log"
if [[ $target == cuda ]]; then
    as_user gpu-check >>"$log" 2>&1 && code=0 || code=$?
    [[ $code -eq 2 ]] || die "gpu-check without a GPU ends with $code, not 2 (log: $log)"
    say "without a GPU: $(grep '^gpu_check.py: ' "$log" | tail -n 1)"
fi
say "all done: the image $target works"
