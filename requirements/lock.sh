#!/usr/bin/env bash
# Writes locked.txt and openvino.txt beside it: pyproject.toml's packages and theirs, pinned with checksums, for
# all Pythons that the project supports.
#
#   PYTHON3  the distribution's own Python (default /usr/bin/python3)
set -euo pipefail
python3=${PYTHON3:-/usr/bin/python3}
cd "$(dirname "${BASH_SOURCE[0]}")"

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"$python3" -m venv "$tools"
# uv resolves for other Pythons than its own, which pip does not.
"$tools/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r /dev/stdin <<'END'
uv==0.13.9 --hash=sha256:d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19
END
lock() {  # FILE [OPTION...]: of the packages that stdin names
    local file=$1
    shift
    "$tools/bin/uv" pip compile --quiet --system-certs --universal --python-version 3.11 \
        --generate-hashes --no-annotate --no-header "$@" - >"$tools/lock"
    {
        echo "# Emitted by \`make lock\` from pyproject.toml; change that, not this."
        cat "$tools/lock"
    } >"$tools/file"
    mv "$tools/file" "$file"
}
"$python3" declared.py | lock locked.txt
"$python3" declared.py openvino | lock openvino.txt --constraints locked.txt
