"""`yosort calibrate`: what num_hash buys on the user's own texts."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from yosort.cli import reading

#: Keys of the tasks' inputs, whichever of them a file has.
KEYS = ("text", "text_pair", "question", "context", "prompt", "choices")


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "calibrate",
        parents=[common],
        help="measure on your own texts what num_hash buys",
        description="Run a sample of texts with the exact expectation and with each number of hash "
        "functions; print agreement, mean error and time, and name the least number within a "
        "wanted error.",
        epilog="example: yosort calibrate FOLDER mails.jsonl --within 0.005 --plot dial.svg",
    )
    parser.add_argument("model", metavar="MODEL", help="a folder or hub id; bundled: our own")
    parser.add_argument(
        "input", nargs="+", metavar="FILE", help="texts: lines, .jsonl or .csv; - is standard input"
    )
    parser.add_argument(
        "--format", choices=reading.FORMATS, help="by the file's suffix, else lines"
    )
    parser.add_argument("--field", metavar="NAME", help="key of the text; else the task's keys")
    parser.add_argument(
        "--num-hashes", nargs="+", type=int, metavar="M", help="to try (8 16 32 64 128 256)"
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="K", help="draws a setting (5)")
    parser.add_argument(
        "--within", type=float, default=0.01, metavar="SHARE", help="may differ (0.01)"
    )
    parser.add_argument("--limit", type=int, default=64, metavar="N", help="texts to run (64)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N (auto)")
    parser.add_argument("--num-threads", type=int, metavar="T", help="CPU threads")
    parser.add_argument("--plot", type=Path, metavar="FILE", help=".svg, .png or .pdf (matplotlib)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run, text=[])


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    from yosort.calibration import NUM_HASHES, calibrate
    from yosort.tasks import bundled_model

    found = calibrate(
        bundled_model() if arguments.model == "bundled" else arguments.model,
        reading.read(arguments, KEYS),
        num_hashes=arguments.num_hashes or NUM_HASHES,
        seeds=arguments.seeds,
        within=arguments.within,
        limit=arguments.limit,
        device=arguments.device,
        num_threads=arguments.num_threads,
    )
    print(json.dumps(asdict(found)) if arguments.json else found.table())
    if arguments.plot:
        found.plot(arguments.plot)
    return 0
