"""Every error that yosort raises on purpose, and how values look in their messages."""

from __future__ import annotations

import contextlib
import re
import reprlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlong = 4, 60
_SHORT.maxstring = _SHORT.maxother = 120
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = _SHORT.maxdict = 12


class YosortError(Exception):
    """Base of all of them: `except yosort.YosortError` catches whatever yosort rejects."""

    @classmethod
    def wanted(
        cls,
        name: object,
        what: object,
        value: object = None,
        *,
        got: object = None,
        hint: str | None = None,
    ) -> Self:
        """Return the error "name: wanted what, got value; hint".

        Args:
            name: of the argument, the field or the file.
            what: it has to be.
            value: what came, as `show` shows it.
            got: what came in words, in place of a value.
            hint: what to do.
        """
        came = show(value) if got is None else got
        return cls(f"{name}: wanted {what}, got {came}" + (f"; {hint}" if hint else ""))


class ConfigError(YosortError):
    """A config.json or a load option that no YOSO model can have."""


class CheckpointError(YosortError):
    """Weights that are missing, damaged, hostile, or of another model."""


class DeviceError(YosortError):
    """A device that was asked for and cannot be used."""


class InputError(YosortError, ValueError):
    """Arguments of a call that the model cannot take: shapes, ranges, types."""


@contextlib.contextmanager
def naming_memory() -> Iterator[None]:
    """Raise DeviceError in the place of a MemoryError, which is the host's."""
    try:
        yield
    except MemoryError as error:
        raise DeviceError(
            f"cpu: out of memory: {error}; smaller batches or shorter texts need less"
        ) from error


def one_line(error: Exception) -> str:
    """Return an error's message on one line, as a command line prints it."""
    lines = [line.strip() for line in str(error).splitlines()]
    return "; ".join(line for line in lines if line).replace(":;", ":")


def install_hint(extra: str) -> str:
    """Return how to install one of the extras, as the README says it."""
    return f"pip install '.[{extra}]' (in yosort's own folder)"


def show(value: object) -> str:
    """Return a value as a message shows it: on one line, of bounded length, whatever it is."""
    try:
        return re.sub(r"\s*\n\s*", " ", _SHORT.repr(value))
    # An object's own repr may raise anything, a number of 5,000 digits ValueError.
    except Exception:
        return f"an object of type {type(value).__name__}"


def quote(name: object) -> str:
    """Show text from a file in a message: on one line, printable, of bounded length."""
    text = ascii(name) if isinstance(name, str) else show(name)
    text = text.encode("ascii", "backslashreplace").decode()
    return text if len(text) <= 120 else f"{text[:117]}..."
