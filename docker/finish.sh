#!/usr/bin/env bash
# The last step of an image: what a user who may not write here cannot do later.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find . -type d ! -perm -a=rx -exec chmod a+rx {} +    # whatever the umask of who checked it out
find . -type f ! -perm -a=r -exec chmod a+r {} +
.venv/bin/python -m compileall -q benchmarks common data_prep evaluation gpu_check inference prototxt_gen studies tools training
install -d -o dfcnet -g dfcnet runs data experiments
chown -R dfcnet:dfcnet runs
