"""Print the files of an installed package, relative to site-packages, without tests and compiled bytes."""

import sys
from importlib.metadata import files

OUT = {"..", "tests", "__pycache__", "include", "f2py"}

for path in files(sys.argv[1]) or ():
    if not OUT & set(path.parts) and path.suffix not in {".pyi", ".a"}:
        print(path)
