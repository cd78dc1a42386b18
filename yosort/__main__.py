"""`python -m yosort` and the `yosort` command, which are the same."""

from __future__ import annotations

import sys


def run() -> int:
    """Run the command; Ctrl-C while it is being imported is no traceback, either."""
    try:
        from yosort.cli import main

        return main()
    except KeyboardInterrupt:
        print("yosort: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
