"""`yosort convert`, and the same as a script."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yosort.cli.messages import Places, Words, note_revision
from yosort.errors import YosortError

_OPTIONS = (
    "config",
    "dtype",
    "max_shard_size",
    "overwrite",
    "num_attention_heads",
    "hash_code_len",
    "num_hash",
    "revision",
    "local_files_only",
)


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "convert",
        parents=[common],
        help="turn a checkpoint into a folder that yosort and transformers load",
        description="Convert a checkpoint (safetensors, pytorch_model.bin, or the authors' own) "
        "into a folder with config.json, model.safetensors and the tokenizer.",
        epilog="example: yosort convert pytorch_model.bin OUT --config config.json",
    )
    add_arguments(parser)
    parser.set_defaults(run=run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the converter's arguments."""
    parser.add_argument("source", help="a model folder, a file of weights, or a hub id")
    parser.add_argument("out", help="the folder to make")
    parser.add_argument("--config", help="transformers' config.json, or the authors' own")
    parser.add_argument(
        "--dtype",
        type=str.lower,
        choices=("float32", "float16", "bfloat16", "int8"),
        help="default: as the weights are",
    )
    parser.add_argument(
        "--max-shard-size", type=_size_argument, metavar="SIZE", help="such as 200MB"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a model folder")
    for name in ("--num-attention-heads", "--hash-code-len", "--num-hash"):
        parser.add_argument(
            name, type=int, metavar="N", help="where no config says it: weights do not tell"
        )
    parser.add_argument("--revision", help="of a hub id: a branch, tag or commit")
    parser.add_argument("--local-files-only", action="store_true", help="do not use the network")


def run(arguments: argparse.Namespace) -> int:
    """Convert as parsed arguments say, and print the folder made."""
    from yosort.conversion import convert

    options = {name: getattr(arguments, name) for name in _OPTIONS}
    note_revision(arguments.revision, arguments.source)
    _print_path(convert(arguments.source, arguments.out, **options))
    return 0


def _print_path(path: Path) -> None:
    """Print a path in its own bytes where the terminal's encoding lacks them: scripts read it."""
    try:
        str(path).encode(sys.stdout.encoding or "utf-8")
        print(path)
    except UnicodeEncodeError:
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")


def convert_main(argv: Sequence[str] | None = None) -> int:
    """Run the converter from a command line; return the exit status (0, or 1 on an error)."""
    parser = argparse.ArgumentParser(
        prog="convert_weights",
        description="Turn a YOSO checkpoint (safetensors, pytorch_model.bin, or one of the "
        "authors' repository) into a folder that yosort and transformers load.",
    )
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except YosortError as error:
        print(f"error: {Words(parser, Places())(error)}", file=sys.stderr)
        return 1


def _size_argument(text: str) -> int:
    from yosort.conversion import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
