"""The `yosort` command: arguments -> inputs -> task -> results, one file for each."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from yosort import __version__
from yosort.cli import calibrating, completion, doctor, inspecting, tasks, timing
from yosort.errors import YosortError, one_line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 1 for a failure, 2 for wrong usage."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(format="yosort: %(message)s")
    try:
        return int(arguments.run(arguments) or 0)
    except BrokenPipeError:
        # The reader went away (`| head`): stop quietly, as other filters do.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (YosortError, OSError) as error:
        if arguments.debug:
            raise
        print(f"yosort: error: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("yosort: interrupted", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    parser = argparse.ArgumentParser(
        prog="yosort",
        description="Torch-free inference for YOSO transformers.",
        epilog='try: yosort fill-mask "Paris is the <mask> of France."',
    )
    parser.add_argument("--version", action="version", version=f"yosort {__version__}")
    completion.add_argument(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show a traceback on errors")
    tasks.add_commands(commands, common)

    convert = commands.add_parser(
        "convert",
        parents=[common],
        help="turn a checkpoint into a folder that yosort and transformers load",
        description="Convert a checkpoint (safetensors, pytorch_model.bin, or the authors' own) "
        "into a folder with config.json, model.safetensors and the tokenizer.",
        epilog="example: yosort convert pytorch_model.bin OUT --config config.json",
    )
    from yosort.checkpoint.convert import add_arguments, run

    add_arguments(convert)
    convert.set_defaults(run=run)
    inspecting.add_command(commands, common)
    calibrating.add_command(commands, common)
    timing.add_command(commands, common)
    doctor.add_command(commands, common)
    return parser
