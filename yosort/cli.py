"""The `yosort` command: arguments -> task -> JSON lines."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from yosort import __version__
from yosort.errors import YosortError, one_line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 1 for a failure, 2 for wrong usage."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except YosortError as error:
        if arguments.debug:
            raise
        print(f"yosort: error: {one_line(error)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader went away (`| head`): stop quietly, as other filters do.
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        print("yosort: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="yosort", description="Torch-free inference for YOSO transformers."
    )
    parser.add_argument("--version", action="version", version=f"yosort {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show a traceback on errors")

    fill = commands.add_parser(
        "fill-mask",
        parents=[common],
        help="predict the tokens behind <mask>",
        description="Predict the tokens behind each mask, one JSON line a text.",
        epilog='example: yosort fill-mask "Paris is the <mask> of France."',
    )
    fill.add_argument("text", nargs="*", help="texts; without any, lines of standard input")
    fill.add_argument("--top-k", type=int, default=5, metavar="K", help="answers a mask (5)")
    fill.add_argument("--targets", nargs="+", metavar="WORD", help="choose among these words")
    _add_model_options(fill)
    fill.set_defaults(run=_fill_mask)

    convert = commands.add_parser(
        "convert",
        parents=[common],
        help="turn a checkpoint into a folder that yosort and transformers load",
        description="Convert a checkpoint (safetensors, pytorch_model.bin, or the authors' own) "
        "into a folder with config.json, model.safetensors and the tokenizer.",
    )
    from yosort.checkpoint.convert import add_arguments, run

    add_arguments(convert)
    convert.set_defaults(run=run)
    return parser


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument("--model", metavar="FOLDER|HUB_ID", help="the bundled model by default")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N (auto)")
    group.add_argument("--attention", choices=("expectation", "sampled"), help="config.json's")
    group.add_argument("--num-hash", type=int, metavar="M", help="hashes of sampled attention")
    group.add_argument("--seed", type=int, default=0, help="of the hash functions (0)")
    group.add_argument("--num-threads", type=int, metavar="T", help="CPU threads")


def _model_options(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("device", "attention", "num_hash", "seed", "num_threads")
    return {name: getattr(arguments, name) for name in names}


def _fill_mask(arguments: argparse.Namespace) -> int:
    from yosort.tasks import pipeline

    fill = pipeline("fill-mask", arguments.model, **_model_options(arguments))
    for text in arguments.text or _lines(sys.stdin):
        answers = fill(text, top_k=arguments.top_k, targets=arguments.targets)
        if arguments.text and sys.stdout.isatty():
            _show(answers)
        else:
            print(json.dumps(answers, ensure_ascii=False), flush=True)
    return 0


def _show(answers: list[Any]) -> None:
    """Print answers for a reader: one line each."""
    for mask in answers if isinstance(answers[0], list) else [answers]:
        for answer in mask:
            print(f"{answer['score']:7.2%}  {answer['token_str'].strip():16} {answer['sequence']}")


def _lines(stream: Any) -> Iterator[str]:
    for line in stream:
        text = line.rstrip("\n")
        if text:
            yield text
