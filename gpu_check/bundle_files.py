"""Print the files of an installed package, relative to site-packages, without tests and compiled bytes."""

import sys
from importlib.metadata import files

OUT = {"..", "tests", "__pycache__", "include", "f2py"}
# By folder, how names begin of what no command needs: of Pillow, formats and features, and what they are
# linked to; of NumPy, modules for its tests.
UNUSED = {
    "PIL": ("_avif", "_webp", "_imagingft", "_imagingcms", "_imagingtk", "_imagingmath", "_imagingmorph"),
    "pillow.libs": ("libavif", "libfreetype", "libharfbuzz", "libbrotli", "liblcms", "libsharp", "libwebp"),
    "_core": ("_simd", "_multiarray_tests", "_operand_flag", "_rational", "_struct_ufunc", "_umath_tests"),
}

for path in files(sys.argv[1]) or ():
    unused = path.name.startswith(UNUSED.get(path.parent.name, ()))
    if not OUT & set(path.parts) and path.suffix not in {".pyi", ".a"} and not unused:
        print(path)
