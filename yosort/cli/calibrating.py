"""`yosort calibrate`: what num_hash buys on the user's own texts."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from yosort.cli import reading, terminal
from yosort.cli.messages import Places
from yosort.cli.tasks import named
from yosort.errors import InputError
from yosort.model.architectures import tasks_of


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "calibrate",
        parents=[common],
        help="measure on your own texts what num_hash buys",
        description="Run a sample of texts with the exact expectation and with each number of hash "
        "functions; print agreement, mean error and time, and name the least number within a "
        "wanted error.",
        epilog="example: yosort calibrate --model FOLDER mails.jsonl --within 0.005",
    )
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="texts: lines, .jsonl or .csv; - is standard input; without --model and --input the "
        "first is the model (`bundled`: our own)",
    )
    parser.add_argument("--model", metavar="FOLDER|NAME|HUB_ID", help="the bundled one by default")
    parser.add_argument(
        "--input", action="extend", nargs="+", metavar="FILE", help="the same as FILE"
    )
    parser.add_argument(
        "--format", type=str.lower, choices=reading.FORMATS, help="by the file's suffix, else lines"
    )
    parser.add_argument("--field", metavar="NAME", help="key of the text; else the task's keys")
    parser.add_argument("--delimiter", metavar="C", help="between the cells of a row")
    parser.add_argument(
        "--num-hashes",
        action="extend",
        nargs="+",
        type=int,
        metavar="M",
        help="to try (8 16 32 64 128 256)",
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="K", help="draws a setting (5)")
    parser.add_argument(
        "--within", type=float, default=0.01, metavar="SHARE", help="may differ (0.01)"
    )
    parser.add_argument("--limit", type=int, default=64, metavar="N", help="texts to run (64)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N (auto)")
    parser.add_argument("--num-threads", type=int, metavar="T", help="CPU threads")
    parser.add_argument(
        "--overflow",
        type=str.lower,
        choices=("error", "truncate"),
        default="error",
        help="texts that are too long: refuse, or cut (error)",
    )
    parser.add_argument("--revision", help="of a hub id")
    parser.add_argument("--local-files-only", action="store_true", help="do not ask the hub")
    parser.add_argument("--plot", type=Path, metavar="FILE", help=".svg, .png or .pdf (matplotlib)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run, text=[], keep=[])


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    from yosort.model.loading import load
    from yosort.tasks import bundled_model
    from yosort.tuning.calibration import NUM_HASHES, calibrate, check_plot

    files = [*arguments.files, *(arguments.input or ())]
    model = arguments.model
    several = len(files) > 1 or any(map(os.path.isdir, files))
    if several and model is None and arguments.input is None:
        model, *files = files
    if not files:
        raise InputError.wanted("FILE", "a file of texts", got="none", hint="- is standard input")
    if arguments.plot:
        check_plot(arguments.plot)  # now, not after minutes
    arguments.input = files
    reading.check(arguments)
    arguments.places = Places(keep=None)
    arguments.words.places = arguments.places
    loaded = load(
        bundled_model() if model is None or named(model) is None else model,
        device=arguments.device,
        num_threads=arguments.num_threads,
        revision=arguments.revision,
        local_files_only=arguments.local_files_only,
    )
    keys = tasks_of(type(loaded).__name__)[0].keys
    found = calibrate(
        loaded,
        [entry.value for entry in reading.read(arguments, keys)],
        num_hashes=NUM_HASHES if arguments.num_hashes is None else arguments.num_hashes,
        seeds=arguments.seeds,
        within=arguments.within,
        limit=arguments.limit,
        overflow=arguments.overflow,
    )
    if arguments.json:
        print(json.dumps(asdict(found)))
    else:
        for line in found.table().splitlines():
            print("\n".join(terminal.wrap(line, terminal.width())))
    if arguments.plot:
        found.plot(arguments.plot)
    return 0
