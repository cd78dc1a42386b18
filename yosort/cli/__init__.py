"""The `yosort` command: arguments -> inputs -> task -> results, one file for each.

A command imports what it needs when it runs: --help and --version load neither numpy nor a model.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import logging
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from yosort import __version__
from yosort.cli import (
    calibrating,
    completion,
    converting,
    doctor,
    inspecting,
    messages,
    stopping,
    tasks,
    terminal,
    timing,
)
from yosort.errors import YosortError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 1 for a failure, 2 for wrong usage.

    Of a signal it is 128 and its number: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """
    terminal.prepare_streams()
    parser = build_parser()
    arguments = parser.parse_args(argv)
    arguments.places = messages.Places()
    arguments.words = messages.Words(arguments.parser, arguments.places)
    handler = logging.StreamHandler()
    handler.setFormatter(messages.Formatter(arguments.words))
    logger = logging.getLogger()
    logger.addHandler(handler)
    try:
        with stopping.heeding_signals():
            status = int(arguments.run(arguments) or 0)
        sys.stdout.flush()  # a reader that went away is noticed here, not at the interpreter's end
        return status
    except BrokenPipeError:
        # The reader went away (`| head`): stop quietly, as other filters do.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (YosortError, OSError, MemoryError) as error:
        if arguments.debug:
            raise
        if isinstance(error, MemoryError):
            error = MemoryError("out of memory; smaller files, or shorter lines, need less")
        elif isinstance(error, OSError) and error.errno and not error.filename:
            error = OSError(f"standard output: cannot be written: {error.strerror}")
        print(f"yosort: error: {arguments.words(error)}", file=sys.stderr)
        return 1
    except stopping.Terminated as error:
        with contextlib.suppress(OSError):  # where the terminal went away there is none to tell
            print(f"yosort: terminated{error}", file=sys.stderr)
        return 128 + error.number
    except KeyboardInterrupt as error:
        print(f"yosort: interrupted{error}", file=sys.stderr)
        return 130
    finally:
        logger.removeHandler(handler)


class _Parser(argparse.ArgumentParser):
    """Says of a word that it does not know which one is nearest."""

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`."""
        unknown = re.search(
            r"unrecognized arguments: (--[\w-]+)|invalid choice: '([^']*)'", message
        )
        if unknown:
            actions = list(completion.actions_of(self))
            known = [flag for action in actions for flag in action.option_strings]
            if unknown[2] is not None:
                known = re.findall(r"'([^']+)'", message.partition("choose from")[2])
                known = known or re.findall(r"[\w-]+", message.partition("choose from")[2])
            word = (unknown[1] or unknown[2]).replace("_", "-")
            if nearest := difflib.get_close_matches(word, known, n=1):
                message += f"; did you mean {nearest[0]}?"
        super().error(message)


def build_parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    parser = _Parser(
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
    for module in (converting, inspecting, calibrating, timing, doctor):
        module.add_command(commands, common)
    for command in commands.choices.values():
        command.set_defaults(parser=command)
    return parser
