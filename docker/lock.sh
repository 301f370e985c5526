#!/usr/bin/env bash
# Writes docker/requirements.lock: pyproject.toml's packages and theirs, pinned with checksums.
#
#   PYTHON3  the distribution's own Python (default /usr/bin/python3), whose packages are pinned
set -euo pipefail
python3=${PYTHON3:-/usr/bin/python3}
cd "$(dirname "${BASH_SOURCE[0]}")"

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"$python3" -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9
"$python3" requirements.py | "$tools/bin/uv" pip compile --quiet --system-certs --generate-hashes --no-annotate --no-header \
    --python-version 3.11 --python-platform x86_64-manylinux_2_28 - >"$tools/lock"
{
    echo "# Emitted by \`make lock\` from pyproject.toml; change that, not this."
    cat "$tools/lock"
} >requirements.lock
