"""`yosort --print-completion SHELL`: a script by which a shell completes commands and options."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

#: Arguments that name files or folders.
_PATHS = (
    "input", "output", "context_file", "documents_file", "model", "files", "plot", "source", "out",
    "config",
)  # fmt: skip


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--print-completion",
        action=_Print,
        metavar="SHELL",
        help="print a completion script: bash, zsh, tcsh, ... (extra `completion`)",
    )


class _Print(argparse.Action):
    """Print the script of the whole parser and exit; shtab is imported here alone."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        try:
            import shtab
        except ImportError:
            parser.exit(
                1,
                "yosort: error: --print-completion: wanted shtab, which is not installed; "
                "`pip install '.[completion]'` brings it\n",
            )
        if values not in shtab.SUPPORTED_SHELLS:
            known = ", ".join(shtab.SUPPORTED_SHELLS)
            parser.error(f"--print-completion: wanted one of {known}, got {values!r}")
        for action in actions_of(parser):
            if action.dest in _PATHS:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, values))
        parser.exit(0)


def actions_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from actions_of(command)
