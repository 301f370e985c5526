#!/usr/bin/env bash
# The last step of an image's builder: leaves of Caffe, CUDA and the Python environment what running needs, and lists
# in caffe/packages.txt the Debian packages whose libraries Caffe is linked to.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find caffe -type f \( -name '*.so*' -o -path '*/bin/*' \) -exec objdump -p {} + 2>/dev/null |
    awk '$1 == "NEEDED" { print $2 }' | sort -u |
    while read -r library; do
        path=$(ldconfig -p | awk -v name="$library" '$1 == name && !found { print $NF; found = 1 }')
        [[ -n $path ]] || continue    # Caffe's own, or CUDA's
        { dpkg -S "$path" || dpkg -S "$(realpath "$path")" || true; } 2>/dev/null | cut -d : -f 1
    done | sort -u >caffe/packages.txt
find caffe -type f \( -name '*.so*' -o -path '*/bin/*' \) -exec strip --strip-unneeded {} +
rm -rf caffe/include caffe/lib/*.a caffe/lib/cmake caffe/share/Caffe

if [[ -d cuda ]]; then    # libraries alone, and not those that Caffe does not use
    find cuda -mindepth 1 -maxdepth 1 ! -name lib ! -name .list -exec rm -rf {} +
    find cuda/lib \( -name '*.a' -o -name '*.so' -o -name '*.alt.so*' -o -name 'libnvblas*' -o -name 'libnvvm*' \) -delete
fi

.venv/bin/python -m pip uninstall --quiet --yes pip setuptools
find .venv -name tests -type d -prune -exec rm -rf {} +
cd .venv/lib/python3*/site-packages
rm -rf onnx/backend/test selenium/webdriver/common/{linux,macos,windows}*    # test data; programs that fetch browsers
find scipy sklearn -name __pycache__ -prune -exec rm -rf {} +    # only tests import them
find rasterio -name '*.so' -exec strip --strip-unneeded {} +    # two thirds are for debuggers
