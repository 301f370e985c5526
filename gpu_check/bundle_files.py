"""Print the files of an installed package, relative to site-packages, without tests and compiled bytes."""

import sys
from importlib.metadata import files

OUT = {"..", "tests", "__pycache__", "include", "f2py"}
# Of Pillow, formats and features that no scene needs, and what they are linked to.
PILLOW = ("_avif", "_webp", "_imagingft", "_imagingcms", "_imagingtk", "_imagingmath", "_imagingmorph")
PILLOW_LIBRARIES = ("libavif", "libfreetype", "libharfbuzz", "libbrotli", "liblcms", "libsharpyuv", "libwebp")

for path in files(sys.argv[1]) or ():
    unused = path.name.startswith(PILLOW if "PIL" in path.parts else PILLOW_LIBRARIES)
    if not OUT & set(path.parts) and path.suffix not in {".pyi", ".a"} and not unused:
        print(path)
