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
  gpu-check        does everything work on this machine's GPUs, and how fast
  smoke            does Caffe start; a few seconds

The working folder is /opt/dfcnet; mount data, runs and experiments there.
END
}

command=${1:---help}
shift || true
case $command in
-h | --help | help) usage ;;
smoke) exec "$python" "$root/docker/smoke.py" "$@" ;;
demo)
    [[ $# -eq 0 ]] || { echo "demo: takes no options; it makes runs/demo" >&2; [[ $1 == --help ]] && exit 0 || exit 2; }
    exec make --no-print-directory -C "$root" demo
    ;;
test) cd "$root" && exec "$python" -m pytest "$@" ;;
gpu-check) cd "$root" && exec "$python" -m benchmarks.gpu_check "$@" ;;
*)
    tool=$root/tools/${command//-/_}.py
    if [[ ! $command =~ ^[a-z_-]+$ || ! -f $tool ]] || ! grep -q __main__ "$tool"; then
        echo "dfcnet: no command $command; --help lists them" >&2
        exit 2
    fi
    exec "$python" "$tool" "$@"
    ;;
esac
