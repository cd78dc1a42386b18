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
from itertools import takewhile
from typing import Any, NoReturn

from yosort import __version__
from yosort.cli import (
    adopting,
    calibrating,
    completion,
    converting,
    doctor,
    inspecting,
    messages,
    serving,
    stopping,
    tasks,
    terminal,
    timing,
)
from yosort.errors import YosortError
from yosort.model.architectures import TASKS


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
            status: int = arguments.run(arguments)
        sys.stdout.flush()  # a reader that went away is noticed here, not at the interpreter's end
        return status
    except BrokenPipeError:
        # The reader went away (`| head`): stop quietly, as other filters do.
        _drop_output()
        return 1
    except (YosortError, OSError, MemoryError) as error:
        if arguments.debug:
            raise
        print(f"yosort: error: {messages.explain(error, arguments)}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:  # the interpreter's end would try, and say so, once more
            _drop_output()
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


def _drop_output() -> None:
    """Let what cannot be written to standard output go where it can."""
    with contextlib.suppress(OSError):  # of a stream that is none
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """Takes texts wherever they stand; says of a word that it does not know which one is nearest.

    Each parser judges its own words: an error shows the command's usage and names its options.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """See `argparse.ArgumentParser.parse_known_args`; what it does not know is an error."""
        args = sys.argv[1:] if args is None else args
        if self._subparsers is None:
            # With a blank in its value argparse would take an unknown option for a text.
            for word in takewhile(lambda word: word != "--", args):
                option = re.match(r"(--[A-Za-z][\w-]*)=", word)
                if option and not any(flag.startswith(option[1]) for flag in self._flags()):
                    self.error(f"unrecognized arguments: {option[1]}")
        found, rest = super().parse_known_args(args, namespace)
        # argparse takes texts from one place, between two options; here are the others.
        several = next((a for a in self._actions if not a.option_strings and a.nargs == "*"), None)
        end = rest.index("--") if "--" in rest else len(rest)
        if rest and (several is None or any(map(_is_option, rest[:end]))):
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        if several is not None and rest:
            texts = [
                several.type(word) if callable(several.type) else word
                for word in (*rest[:end], *rest[end + 1 :])
            ]
            setattr(found, several.dest, [*getattr(found, several.dest), *texts])
        return found, []

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`."""
        flag = re.match(r"argument (--[\w-]+)", message)
        several = flag and self._option_string_actions[flag[1]].nargs in ("+", "*")
        if message.startswith("unrecognized"):
            unknown = re.search(r" --([\w-]+)", message)
            names = [name[2:] for name in self._flags()]
            if unknown and unknown[1] in self._inputs():
                message += f"; a {unknown[1]} stands without an option"
            elif unknown and (nearest := _nearest(unknown[1], names, "--")):
                message += nearest
            elif any(action.dest == "text" for action in self._actions):
                message += "; a text that begins with - goes behind --"
        elif unknown := re.search(r"invalid choice: '([^']*)'(.*)", message):
            known = re.findall(r"'([^']+)'", unknown[2]) or re.findall(r"[\w-]+", unknown[2])
            other = "; options go behind the command" if self._subparsers else ""
            task = TASKS.get(unknown[1].lower())  # as pipelines call it
            if self._subparsers and task:
                in_python = f'in Python it is yosort.pipeline("{task.name}")'
                message += f"; did you mean {task.command}?" if task.command else f"; {in_python}"
            else:
                message += _nearest(unknown[1], known) or other
        elif flag and message.endswith("expected one argument"):
            message += f"; one that begins with - is written {flag[1]}=VALUE"
        elif flag and several and ": invalid " in message:
            hint = messages.belongs(flag[1], "other arguments")
            message += f"; {'blanks part them' if ',' in message else hint}"
        super().error(message)

    def _inputs(self) -> list[str]:
        """Return what stands without an option on a task's command line."""
        return [task.keys[0] for task in TASKS.values() if self.prog.endswith(f" {task.command}")]

    def _flags(self) -> list[str]:
        return [flag for flag in self._option_string_actions if flag.startswith("--")]


def _is_option(word: str) -> bool:
    """Whether argparse takes a word for an option: it begins with - and is no text or number."""
    return bool(re.fullmatch(r"-\S+", word) and not re.fullmatch(r"-\.?\d+(\.\d*)?", word))


def _nearest(word: str, known: Sequence[str], dashes: str = "") -> str:
    nearest = difflib.get_close_matches(word.replace("_", "-"), known, n=1)
    return f"; did you mean {dashes}{nearest[0]}?" if nearest else ""


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
    for module in (converting, adopting, inspecting, calibrating, timing, serving, doctor):
        module.add_command(commands, common)
    for command in commands.choices.values():
        command.set_defaults(parser=command)
        command.usage = f"%(prog)s [OPTION ...]{_positionals(command)}"  # --help lists them below
    return parser


def _positionals(command: argparse.ArgumentParser) -> str:
    shapes = {"*": " [{} ...]", "?": " [{}]", None: " {}"}
    positional = (action for action in command._actions if not action.option_strings)
    return "".join(shapes[a.nargs].format(a.metavar or a.dest) for a in positional)  # type: ignore
