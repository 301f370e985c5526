#!/usr/bin/env bash
# The entry point of the images: the commands of tools/, and a few that show that all is well.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python

usage() {
    cat <<'END'
usage: docker run [OPTIONS OF DOCKER] IMAGE COMMAND [OPTIONS]

  COMMAND --help tells a command's options.
END
    for tool in "$root"/tools/*.py; do    # a tool's docstring is its first line
        grep -q __main__ "$tool" || continue
        name=$(basename "$tool" .py)
        printf '  %-16s %s\n' "${name//_/-}" "$(grep -m 1 '^"""' "$tool" | tr -d '"')"
    done
    cat <<'END'
  demo             synthetic scenes -> databases -> nets -> training -> maps -> score, on the CPU
  test             all tests; options go to pytest
  smoke            does Caffe start; a few seconds

The working folder is /opt/dfcnet; mount data, runs and experiments there.
END
}

takes_no_options() {    # COMMAND WHAT IT DOES [OPTION...]
    [[ $# -gt 2 ]] || return 0
    [[ $3 != -h && $3 != --help ]] || { echo "usage: $1 (no options): $2"; exit 0; }
    echo "$1: takes no options; it $2" >&2
    exit 2
}

command=${1:---help}
shift || true
case $command in
-h | --help | help) usage ;;
smoke)
    takes_no_options smoke "runs a small net in Caffe on the CPU" "$@"
    exec "$python" "$root/docker/smoke.py"
    ;;
demo)
    takes_no_options demo "makes runs/demo: scenes, databases, nets, training, maps, score, report" "$@"
    exec make --no-print-directory -C "$root" demo
    ;;
test) cd "$root" && exec "$python" -m pytest "$@" ;;
*)
    tool=$root/tools/${command//-/_}.py
    if [[ ! $command =~ ^[a-z_-]+$ || ! -f $tool ]] || ! grep -q __main__ "$tool"; then
        echo "dfcnet: no command $command; --help lists them" >&2
        exit 2
    fi
    exec "$python" "$tool" "$@"
    ;;
esac
