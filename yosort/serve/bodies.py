"""Bodies: read within bounds, parsed, and taken apart field by field; answers as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.responses import Response

from yosort.arguments import check_flag, is_integer, no_such_option
from yosort.errors import InputError, show
from yosort.serve.limits import Limits
from yosort.serve.refusals import Refusal

#: A body of so many times the limit is still read, and dropped: a client that writes reads nothing.
_DRAINED = 8
#: A text, or the ids of its tokens.
Text = str | list[int]


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return a request's body.

    Raises:
        Refusal: it is not said to be JSON, is too large, or does not arrive in time.
        starlette.requests.ClientDisconnect: the client went away.
    """
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said != "application/json" and not said.endswith("+json"):
        wanted = "content-type: wanted application/json"
        raise Refusal(415, f"{wanted}, got {show(said) if said else 'none'}")
    said = request.headers.get("content-encoding", "identity").strip().lower()
    if said != "identity":
        raise Refusal(415, f"content-encoding: wanted a plain body, got {show(said)}")
    most = limits.payload_limit
    refusal = Refusal(413, f"body too large: wanted at most {most:,} bytes")
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said[:20]) > _DRAINED * most:
        raise refusal

    async def read() -> bytes:
        body, count = bytearray(), 0
        async for part in request.stream():  # whatever content-length says
            count += len(part)
            if count > _DRAINED * most:
                raise refusal
            if count <= most:
                body += part
            else:
                body.clear()
        if count > most:
            raise refusal
        return bytes(body)

    try:
        return await asyncio.wait_for(read(), limits.body_timeout)
    except asyncio.TimeoutError:
        wanted = f"the whole body within {limits.body_timeout} s"
        raise Refusal(408, f"wanted {wanted}, got a part of it") from None


def parse(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is.

    Raises:
        Refusal: 400, it is none.
    """
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except RecursionError:
        raise Refusal(400, "body: wanted JSON, got brackets nested too deep") from None
    except ValueError as error:  # no UTF-8, no JSON, numbers of thousands of digits
        why = str(error).partition("; use sys.")[0]  # Python's advice to whoever wrote this
        raise Refusal(400, f"body: wanted JSON: {why}") from None
    if not isinstance(value, dict):
        raise Refusal(400, f"body: wanted a JSON object, got {show(value)}")
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON's")


class Answer(Response):
    """An answer in JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body; floats have all their digits."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


class Fields:
    """The fields of an object, each of which is taken once; null is a field that is not there.

    Raises:
        InputError: a field that is wrong or missing; at the end, one that nobody took.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._left = {name: value for name, value in body.items() if value is not None}
        self._known: list[str] = []

    def take(self, name: str, default: Any = None) -> Any:
        """Return a field, or the default where there is none."""
        self._known.append(name)
        return self._left.pop(name, default)

    def need(self, name: str) -> Any:
        """Return a field that must be there."""
        value = self.take(name)
        if value is None:
            raise InputError(f"{name}: wanted, got none")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a field that is true or false."""
        value = self.take(name, default)
        return check_flag(name, value)

    def text(self, name: str) -> str:
        """Return a field that must be there and is a text."""
        value = self.need(name)
        if not isinstance(value, str):
            raise InputError.wanted(name, "a text", value)
        return value

    def refuse(self, name: str, allowed: Callable[[Any], bool], why: str) -> None:
        """Take a field that has nothing to choose here: what is not `allowed` is an error."""
        value = self.take(name)
        if value is not None and not allowed(value):
            raise InputError(f"{name}: {why}, got {show(value)}")

    def end(self) -> None:
        """Refuse what nobody took, with the nearest name."""
        for name in self._left:
            raise no_such_option(name, self._known, InputError)


def read_texts(name: str, value: Any) -> list[Text]:
    """Return the texts of a field: one or several, each a text or the ids of its tokens.

    Raises:
        InputError: none of these.
    """
    if _is_text(value):
        return [value]
    if not isinstance(value, list) or not value:
        raise InputError.wanted(name, "a text, token ids, or a list of either, not empty", value)
    ids = is_integer(value[0])
    for i, each in enumerate(value):
        if not (is_integer(each) if ids else _is_text(each)):
            what = "a token id, as before it" if ids else "a text or token ids, not empty"
            raise InputError.wanted(f"{name}[{i}]", what, each)
    return value


def read_ids(name: str, value: Any) -> list[list[int]]:
    """Return the token ids of a field: of one text or several.

    Raises:
        InputError: none of these.
    """
    rows = [value] if _are_ids(value) else value
    if not isinstance(rows, list) or not rows or not all(map(_are_ids, rows)):
        raise InputError.wanted(name, "token ids, or lists of them, not empty", value)
    return rows


def _is_text(value: Any) -> bool:
    return bool(value) if isinstance(value, str) else _are_ids(value)


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_integer, value))


def check_texts(name: str, values: Any) -> list[str]:
    """Return a field that is a list of texts, not empty."""
    if not isinstance(values, list) or not values:
        raise InputError.wanted(name, "a list of texts, not empty", values)
    for i, each in enumerate(values):
        if not isinstance(each, str):
            raise InputError.wanted(f"{name}[{i}]", "a text", each)
    return values


#: What is read once for each of a list beside it.
_REPEATED = {"choices": "prompt", "documents": "query"}


def characters(value: Any) -> int:
    """Return the characters that the model reads of an input, a repeated prompt each time."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        found = {name: characters(part) for name, part in value.items()}
        for several, once in _REPEATED.items():
            if isinstance(value.get(several), list):
                found[once] = found.get(once, 0) * max(1, len(value[several]))
        return sum(found.values())
    return sum(map(characters, value)) if isinstance(value, list) else 1
