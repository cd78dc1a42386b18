"""Read folders as a user would, within bounds of memory and time; print what came of each.

    python tests/checkpoint/bounded.py FOLDER ...

The bounds are what the process has once yosort is loaded, and MEMORY more; and CPU_SECONDS of
processor time, WALL_SECONDS in all, for all folders together. Prints one line of JSON a folder:
the error's class and message, or null.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path

MEMORY = 96 << 20
CPU_SECONDS = 30
WALL_SECONDS = 300


def main() -> None:
    """Read each folder: weights, config, tokenizer; and convert it."""
    import yosort
    from yosort.conversion import convert
    from yosort.tasks import bundled_model

    yosort.pipeline("fill-mask", bundled_model(), device="cpu", num_threads=1)("<mask>")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    bound = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    signal.alarm(WALL_SECONDS)
    for folder in sys.argv[1:]:
        outcome = None
        try:
            model = yosort.load(folder, device="cpu", num_threads=1)
            model([[0, 5, 2]])
            assert model.tokenizer is not None
        except Exception as error:  # the test looks at which
            outcome = [type(error).__name__, str(error)]
        # It reads weights and config alone: a tokenizer, of ten gigabytes too, is only copied.
        if outcome is not None and "tokenizer" not in outcome[1]:
            try:
                convert(folder, f"{folder}-converted")
            except yosort.YosortError:
                pass
            except Exception as error:
                outcome = [f"convert: {type(error).__name__}", str(error)]
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
