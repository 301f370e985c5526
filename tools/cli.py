"""What the commands share: the checkout on sys.path, common arguments, errors in one line."""

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def add_overwrite(parser) -> None:
    """Add `--overwrite`: without it, an output that exists is an error."""
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")


def run(main: Callable[[], None]) -> None:
    """Call `main`; a user's mistake ends in one line on stderr and exit code 2, Ctrl-C in 130."""
    from prototxt_gen.errors import DFCNetError

    try:
        main()
    except DFCNetError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
