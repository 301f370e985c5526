#!/usr/bin/env bash
# The entry point of the images: the commands of tools/, and a few that show that all is well.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python

usage() {
    "$python" "$root/tools/dfcnet.py" --help
    cat <<'END'

in an image, `docker run [OPTION OF DOCKER ...] IMAGE COMMAND [OPTION ...]`, also:
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
*) exec "$python" "$root/tools/dfcnet.py" "$command" "$@" ;;
esac
