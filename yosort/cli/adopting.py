"""`yosort adopt`: a BERT's or RoBERTa's folder becomes a YOSO model's."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from yosort.cli import reading, terminal
from yosort.cli.messages import Places, note_revision
from yosort.errors import InputError, YosortError, show

_OPTIONS = (
    "positions", "hash_code_len", "encoder_only", "num_threads", "revision", "local_files_only",
)  # fmt: skip


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "adopt",
        parents=[common],
        help="make a YOSO model of a BERT or RoBERTa, without training",
        description="Carry the weights of a BERT, RoBERTa, XLM-RoBERTa, CamemBERT or DistilBERT "
        "over to YOSO, fit its attention to what the original does with your texts, and print "
        "how near it comes. The folder made loads in yosort and transformers.",
        epilog="example: yosort adopt all-MiniLM-L6-v2 OUT --texts sentences.txt",
    )
    parser.add_argument("source", help="the original's folder, or a hub id")
    parser.add_argument("out", help="the folder to make")
    parser.add_argument(
        "--texts",
        dest="input",
        nargs="+",
        metavar="FILE",
        help="what the model will read, some 1,500 texts: lines, .jsonl or .csv; - is standard "
        "input; else 1,200 English sentences and paragraphs",
    )
    parser.add_argument(
        "--format", type=str.lower, choices=reading.FORMATS, help="by the file's suffix, else lines"
    )
    parser.add_argument("--field", metavar="NAME", help="key of the text; else text")
    parser.add_argument(
        "--positions", type=int, default=4096, metavar="N", help="the longest text, tokens (4096)"
    )
    parser.add_argument(
        "--hash-code-len", type=int, metavar="L", help="bits of a hash code; else tried out"
    )
    parser.add_argument(
        "--max-tokens", type=int, metavar="N", help="tokens to read of the texts (65536)"
    )
    parser.add_argument("--encoder-only", action="store_true", help="leave the head aside")
    parser.add_argument("--num-threads", type=int, metavar="T", help="CPU threads")
    parser.add_argument("--revision", help="of a hub id")
    parser.add_argument("--local-files-only", action="store_true", help="do not ask the hub")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run, text=[], delimiter=None, keep=[])


def run(arguments: argparse.Namespace) -> int:
    """Adopt, and print the comparison."""
    from yosort.adoption.adopting import MAX_TOKENS, adopt

    note_revision(arguments.revision, arguments.source)
    if arguments.input:
        reading.check(arguments)
    arguments.places = Places(keep=None)
    arguments.words.places = arguments.places
    texts = None
    if arguments.input:
        entries = reading.read(arguments, ("text",))
        texts = [_text(entry.value, i) for i, entry in enumerate(entries)]
    found = adopt(
        arguments.source,
        arguments.out,
        texts,
        max_tokens=MAX_TOKENS if arguments.max_tokens is None else arguments.max_tokens,
        progress=sys.stderr.isatty(),
        **{name: getattr(arguments, name) for name in _OPTIONS},
    )
    if arguments.json:
        print(json.dumps({**asdict(found), "folder": str(found.folder)}))
    else:
        for line in found.table().splitlines():
            print("\n".join(terminal.wrap(line, terminal.width())))
    return 0


def _text(value: Any, index: int) -> str:
    """Return an input's text, or raise what is wrong with it, with its place."""
    if isinstance(value, str):
        return value
    error = value if isinstance(value, YosortError) else f"wanted a text, got {show(value)}"
    raise InputError(f"inputs[{index}]: {error}")
