#!/usr/bin/env bash
# The last step of an image: what a user who may not write here cannot do later.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find . -type d ! -perm -a=rx -exec chmod a+rx {} +    # whatever the umask of who checked it out
find . -type f ! -perm -a=r -exec chmod a+r {} +
.venv/bin/python docker/sbom.py >sbom.json
# By checksum, not by time: two builds have the same bytes.
find .venv -name __pycache__ -prune -exec rm -rf {} +
.venv/bin/python -m compileall -q --invalidation-mode checked-hash .venv benchmarks common data_prep evaluation gpu_check inference prototxt_gen studies tools training
install -d -o dfcnet -g dfcnet runs data experiments
chown -R dfcnet:dfcnet runs
