#!/usr/bin/env bash
# Installs the Debian packages that are missing:  native/packages.sh FILE...
# Each FILE lists one package a line, the reason behind '#'. Where releases name it differently, the names stand with
# '|' between them: the first that the release has is installed. Says nothing if all are there.
set -euo pipefail

die() { echo "packages: $1" >&2; exit "${2:-1}"; }

command -v dpkg-query >/dev/null || die "no dpkg here: Debian, Ubuntu or a system derived from them is needed" 2
for list in "$@"; do
    [[ -r $list ]] || die "$list: cannot be read; give a list of packages" 2
done
is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }
missing=()    # the names of each, with spaces between
while read -r line || [[ -n $line ]]; do
    names=${line%%#*}
    for name in ${names//|/ }; do
        ! is_installed "$name" || continue 2
    done
    [[ -z ${names// /} ]] || missing+=("${names//|/ }")
done < <(cat "$@")
[[ ${#missing[@]} -eq 0 ]] && exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null ||
        die "not root, and no sudo to install: $(echo "${missing[@]}"); ask your administrator for them" 2
    as_root=(sudo)
fi
log=$(mktemp)
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300 \
        -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 "$@" >>"$log" 2>&1
}
stale=
apt update || stale="; nor could it update its lists"    # older ones may do
chosen=()
for names in "${missing[@]}"; do
    for name in $names; do
        apt-cache show "$name" >/dev/null 2>&1 && break
    done
    chosen+=("$name")
done
echo "packages: installing ${chosen[*]}"
apt install --no-install-recommends "${chosen[@]}" ||
    die "apt-get: $(grep '^E: ' "$log" | tail -n 1 | cut -c 4- | grep . || tail -n 1 "$log")$stale (its whole output: $log)"
rm -f "$log"
