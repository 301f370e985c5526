# A bare Debian beside the machine's own, on which native/verify.sh and docker/verify.sh prove the recipe. Sourced by them,
# not run by itself; they set $root (the checkout), $work (a folder) and $log (a file).
#
#   PIP_CERT  certificates of a private authority before the package index: into the bare Debian, and only there

die() { echo "verify: $1" >&2; exit "${2:-1}"; }
say() { printf 'verify: %5d s  %s\n' "$SECONDS" "$*"; }

step() {  # WORDS... -- COMMAND...: run, keep the output, say how it ended and how long it took
    local words=() start=$SECONDS
    while [[ $1 != -- ]]; do words+=("$1"); shift; done
    shift
    echo "== ${words[*]}: $*" >>"$log"
    "$@" >>"$log" 2>&1 || { tail -n 20 "$log" >&2; die "failed at: ${words[*]} (log: $log)"; }
    say "${words[*]} ($((SECONDS - start)) s)"
}

base() {  # SUITE: $work/base-SUITE, without manuals, as Debian's slim images: whole, or not there
    local suite=$1 part=$work/base-$1.part script=()
    [[ -d $work/base-$suite ]] && return
    # debootstrap has one script for all suites; a suite that it does not know yet is made as unstable is.
    [[ -e /usr/share/debootstrap/scripts/$suite ]] || script=("" /usr/share/debootstrap/scripts/sid)
    # Joined by &&, since within step set -e is off; force-unsafe-io is what Docker's own images of Debian have.
    rm -rf --one-file-system "$part" \
        && debootstrap --variant=minbase "$suite" "$part" "${script[@]}" \
        && sed -i "p; s/ $suite / $suite-updates /" "$part/etc/apt/sources.list" \
        && echo force-unsafe-io >"$part/etc/dpkg/dpkg.cfg.d/speed" \
        && rm -rf "$part"/var/{cache/apt/archives/*.deb,lib/apt/lists/*} \
        && rm -rf "$part"/usr/share/{doc,info,locale,man}/* \
        && as_here "$part" \
        && mv "$part" "$work/base-$suite"
}

as_here() {  # FOLDER: reaches mirror and package index as this machine does
    local valid=
    eval "$(apt-config shell valid Acquire::Check-Valid-Until)"
    [[ -z $valid ]] || echo "Acquire::Check-Valid-Until \"$valid\";" >"$1/etc/apt/apt.conf.d/valid-until"
    [[ -n ${PIP_CERT:-} ]] || return 0
    install -D -m 644 "$PIP_CERT" "$1/etc/ssl/local.pem" \
        && printf '[global]\ncert = /etc/ssl/local.pem\n' >"$1/etc/pip.conf"
}

begin() {  # NAME [FOLDER]: sets $work and $log
    [[ $(id -u) -eq 0 ]] || die "needs root, for debootstrap and chroot" 2
    work=$(realpath -m "${2:-${XDG_CACHE_HOME:-$HOME/.cache}/dfcnet/verify}")
    mkdir -p "$work"
    log=$work/$1.log
    : >"$log"
}
