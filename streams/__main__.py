"""`python -m streams` is the console script `heardback`."""

from __future__ import annotations

import sys
from typing import Final

INTERRUPTED: Final = 130


def main() -> None:
    """Run `streams.cli`. Ctrl-C ends without a traceback, also in the moment in which modules are still read."""
    try:
        from streams.cli import main as commands

        commands()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
