#!/usr/bin/env bash
# Makes the checkout's .venv of the packages in locked.txt, each with the checksum that stands there:
#
#   requirements/venv.sh
#
# It is kept while the list stays as it is; one whose making was cut short is made again. Its command `dfcnet` runs those of
# tools/.
#
#   PYTHON3  the distribution's own Python (default /usr/bin/python3), for which Boost.Python is built
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$(dirname "$here")/.venv
needs=1500    # MB

die() { echo "venv: $1" >&2; exit "${2:-1}"; }

list=$(sha256sum <"$here/locked.txt")
is_made() { [[ $(cat "$venv/.ready" 2>/dev/null) == "$list" ]] && add_command; }
add_command() {
    [[ -x $venv/bin/dfcnet ]] || install -m 755 /dev/stdin "$venv/bin/dfcnet" <<'END'
#!/bin/sh
# A command of tools/ in this environment:  dfcnet COMMAND [OPTION ...]
bin=$(dirname "$(readlink -f "$0")")
exec "$bin/python" "$bin/../../tools/dfcnet.py" "$@"
END
}
is_made && exit 0

"$here/../native/packages.sh" "$here/../native/packages/python.txt"
# Where lscpu cannot say (no /sys is mounted), NumPy will.
[[ $(uname -m) != x86_64 ]] || ! flags=$(lscpu 2>/dev/null) || grep -q -w sse4_2 <<<"$flags" ||
    die "this CPU has no SSE 4.2, which NumPy's wheels are compiled for (x86-64-v2); a newer one is needed" 2
python3=${PYTHON3:-/usr/bin/python3}
read -r interpreter version < <("$python3" -c 'import os, sys
print(os.path.realpath(sys._base_executable), "%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    die "PYTHON3='$python3': does not run; leave PYTHON3 unset" 2
dpkg-query --search "$interpreter" >/dev/null 2>&1 ||
    die "PYTHON3='$python3': $interpreter is not the distribution's own Python, for which Boost.Python is built; leave PYTHON3 unset" 2
[[ ${version#3.} -ge 11 ]] || die "$interpreter: is Python $version; 3.11 or newer is needed (Debian 12, Ubuntu 24.04)" 2

mkdir -p "$venv"
exec 9<"$venv"
flock 9    # another call may be at it
is_made && exit 0
free=$(df --output=avail --block-size=MB "$venv" | tail -n 1 | tr -dc 0-9)
[[ $free -ge $needs ]] || die "$venv: $free MB are free there, $needs are needed"

echo "venv: installing requirements/locked.txt into .venv, some minutes"
"$interpreter" -m venv --clear "$venv" || die "$interpreter: cannot make an environment in $venv"
log=$venv/pip.log
"$venv/bin/python" -m pip install --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    -r "$here/locked.txt" >"$log" 2>&1 ||
    die "pip: $(grep '^ERROR' "$log" | tail -n 1 || tail -n 1 "$log") (its whole output: $log)"
rm "$log"
add_command
echo "$list" >"$venv/.ready"
