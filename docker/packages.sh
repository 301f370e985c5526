#!/usr/bin/env bash
# Installs the Debian packages that are missing:  docker/packages.sh FILE...
# Each FILE lists one package a line, the reason behind '#', and before it in brackets the architectures that
# have it, if not all do. Says nothing if all are there.
set -euo pipefail

for list in "$@"; do
    [[ -r $list ]] || { echo "packages: $list: cannot be read; give a list of packages" >&2; exit 2; }
done
missing=()
architecture=$(dpkg --print-architecture)
while read -r package rest || [[ -n $package ]]; do
    [[ -z $package || $package == '#'* ]] && continue
    only=${rest%%]*}
    [[ $only != '['* || " ${only#[} " == *" $architecture "* ]] || continue
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done < <(cat "$@")
[[ ${#missing[@]} -eq 0 ]] && exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
    if ! command -v sudo >/dev/null; then
        echo "packages: not root, and no sudo to install: ${missing[*]}; ask your administrator for them" >&2
        exit 2
    fi
    as_root=(sudo)
fi
echo "packages: installing ${missing[*]}"
log=$(mktemp)
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1
}
apt update || echo "packages: apt-get update met errors; going on with the package lists that there are" >&2
if ! apt install --no-install-recommends "${missing[@]}"; then
    tail -n 5 "$log" >&2
    echo "packages: apt-get failed; its whole output is in $log" >&2
    exit 1
fi
rm -f "$log"
