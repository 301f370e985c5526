#!/usr/bin/env bash
# Proves the images without a Docker engine: builds one on a fresh Debian, and runs it as its own user.
#
#   docker/verify.sh {cpu,cuda} [FOLDER]
#
# cpu: the commands' --help, demo, test. cuda: what needs no GPU of these. Root only; the work (base, images, layers)
# lies in FOLDER (default ~/.cache/dfcnet/verify), where base and layers are kept for the next call.
#
#   PIP_CERT        certificates of a private authority before the package index: into the local base, and only there
#   CUDA_ARCHS      compute capabilities to compile for (default: the Dockerfile's)
#   STORAGE_DRIVER  of buildah (default overlay; vfs where the kernel has no overlay mounts: needs several times the disk)
set -euo pipefail

die() { echo "verify: $1" >&2; exit "${2:-1}"; }
say() { printf 'verify: %4d s  %s\n' "$SECONDS" "$*"; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${1:-}
[[ $target == cpu || $target == cuda ]] || die "${target:-nothing}: is no target; usage: verify.sh {cpu,cuda} [FOLDER]" 2
[[ $(id -u) -eq 0 ]] || die "needs root, for debootstrap and chroot" 2
work=$(realpath -m "${2:-${XDG_CACHE_HOME:-$HOME/.cache}/dfcnet/verify}")
mkdir -p "$work"
log=$work/$target.log
limit=1200    # MB of the image cpu
: >"$log"
"$root/docker/packages.sh" "$root/docker/verify.packages.txt"
driver=${STORAGE_DRIVER:-overlay}
export BUILDAH_ISOLATION=chroot
buildah() { command buildah --storage-driver "$driver" --root "$work/storage" --runroot "$work/run" "$@"; }
container=
tidy() {    # no mount is left, so that FOLDER can be removed
    [[ -z $container ]] || buildah rm "$container" >/dev/null || true
    ! mountpoint -q "$work/storage/$driver" || umount "$work/storage/$driver"
}
trap tidy EXIT

base() {  # a Debian 12 without manuals, as Debian's slim images: whole, or not there
    [[ -d $work/base ]] && return
    # Joined by &&, since within step set -e is off; force-unsafe-io is what Docker's own images of Debian have.
    local part=$work/base.part
    rm -rf "$part" \
        && debootstrap --variant=minbase bookworm "$part" \
        && sed -i 'p; s/ bookworm / bookworm-updates /' "$part/etc/apt/sources.list" \
        && echo force-unsafe-io >"$part/etc/dpkg/dpkg.cfg.d/speed" \
        && rm -rf "$part"/var/{cache/apt/archives/*.deb,lib/apt/lists/*} \
        && rm -rf "$part"/usr/share/{doc,info,locale,man}/* \
        && trust "$part" \
        && mv "$part" "$work/base"
}

trust() {  # the certificates of PIP_CERT, if there are any
    [[ -n ${PIP_CERT:-} ]] || return 0
    install -D -m 644 "$PIP_CERT" "$1/etc/ssl/local.pem" \
        && printf '[global]\ncert = /etc/ssl/local.pem\n' >"$1/etc/pip.conf"
}

step() {  # WORDS... -- COMMAND...: run, keep the output, say how it ended
    local words=()
    while [[ $1 != -- ]]; do words+=("$1"); shift; done
    shift
    echo "== ${words[*]}: $*" >>"$log"
    "$@" >>"$log" 2>&1 || { tail -n 20 "$log" >&2; die "failed at: ${words[*]} (log: $log)"; }
    say "${words[*]}"
}

step "base: Debian 12" -- base
step "base image" -- buildah build --layers -t localhost/debian:base -f - "$work/base" <<<$'FROM scratch\nADD . /'

context=$work/context
rm -rf "$context" && mkdir "$context"
(cd "$root" && git ls-files -z --cached --others --exclude-standard | tar -c --null -T - -f -) | tar -x -C "$context"
arguments=(--build-arg BASE=localhost/debian:base)
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
for tool in $(as_user --help | awk '/^  [a-z-]+  /{ print $1 }'); do
    step "$tool --help" -- as_user "$tool" --help
done
step "demo" -- as_user demo
grep -E 'mIoU|always' "$log" | tail -n 2
step "test" -- as_user test -q
tail -n 1 "$log"
if [[ $target == cuda ]]; then
    as_user gpu-check >>"$log" 2>&1 && code=0 || code=$?
    [[ $code -eq 2 ]] || die "gpu-check without a GPU ends with $code, not 2 (log: $log)"
    say "without a GPU: $(grep '^gpu-check: ' "$log" | tail -n 1)"
fi
say "all done: the image $target works"
