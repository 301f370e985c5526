#!/usr/bin/env bash
# Proves the README's commands on a bare Debian: makes one, clones the committed tree into it, and runs there, from nothing,
#
#   native/verify.sh SUITE [--user] [--keep] [--folder FOLDER] [TARGET...]
#
# SUITE is Debian's name of a release (bookworm, trixie, forky); TARGETs are make's (default: demo test). As root, or with
# --user as a user with sudo. Root only; the work lies in FOLDER (default ~/.cache/dfcnet/verify): SUITE's base, which is
# kept for the next call, the log, and the bare Debian, which is removed at the end, but for --keep.
#
#   PIP_CERT      see bare_debian.sh
#   CAFFE_SOURCE  a tarball of BVLC Caffe, see build.sh
#   CAFFE_DNNL    see build.sh
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/native/bare_debian.sh"

usage="usage: verify.sh SUITE [--user] [--keep] [--folder FOLDER] [TARGET...]"
suite='' user=root keep='' folder='' targets=()
while [[ $# -gt 0 ]]; do
    case $1 in
    --user) user=dfcnet ;;
    --keep) keep=yes ;;
    --folder) folder=${2:?--folder takes a folder}; shift ;;
    -*) die "unknown option $1; $usage" 2 ;;
    *) if [[ -z $suite ]]; then suite=$1; else targets+=("$1"); fi ;;
    esac
    shift
done
[[ $suite =~ ^[a-z]+$ ]] || die "SUITE='$suite': is not the name of a release of Debian; $usage" 2
[[ ${#targets[@]} -gt 0 ]] || targets=(demo test)
begin "$suite-$user" "$folder"
"$root/native/packages.sh" "$root/native/packages/verify.txt"

bare=$work/$suite-$user
home=$([[ $user == root ]] && echo /root || echo "/home/$user")
remove() { rm -rf --one-file-system "$bare"; }
[[ -n $keep ]] || trap remove EXIT

inside() {  # COMMAND...: as root in the bare Debian. Its mounts and what it leaves running end with it.
    unshare --mount --pid --fork --kill-child --mount-proc="$bare/proc" bash -euc '
        for folder in sys dev dev/pts dev/shm; do mount --bind "/$folder" "$0/$folder"; done
        exec chroot "$0" env -i "PATH=$PATH" HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"' "$bare" "$@"
}
as_user() {  # COMMAND...: in the clone, as the user, with nothing of this environment
    inside runuser -u "$user" -- env "HOME=$home" "USER=$user" "${settings[@]}" "$@"
}
settings=()
[[ -z ${CAFFE_DNNL:-} ]] || settings+=("CAFFE_DNNL=$CAFFE_DNNL")

fresh() {
    remove \
        && cp -a --reflink=auto "$work/base-$suite" "$bare" \
        && cp -L /etc/resolv.conf /etc/hosts "$bare/etc"
}
packages() { inside apt-get -q update && inside apt-get -q -y install --no-install-recommends ca-certificates git make sudo; }
person() {
    inside useradd --create-home --shell /bin/bash "$user" \
        && echo "$user ALL=(ALL) NOPASSWD: ALL" >"$bare/etc/sudoers.d/$user"
}
clone() { git clone -q --no-hardlinks "$root" "$bare$home/dfcnet" && inside chown -R "$user:" "$home/dfcnet"; }

step "base of $suite" -- base "$suite"
step "a bare $suite: $bare" -- fresh
step "its git and make" -- packages
[[ $user == root ]] || step "a user with sudo" -- person
step "the committed tree" -- clone
if [[ -n ${CAFFE_SOURCE:-} ]]; then
    cp "$CAFFE_SOURCE" "$bare/caffe.tar.gz"
    settings+=(CAFFE_SOURCE=/caffe.tar.gz)
fi
for target in "${targets[@]}"; do
    step "make $target" -- as_user make -C "$home/dfcnet" "$target"
    grep -E '^ *(mIoU|always|=+ .* in .*=+$)' "$log" | tail -n 2 || true
done
say "all done: $suite, as $user: ${targets[*]}"
