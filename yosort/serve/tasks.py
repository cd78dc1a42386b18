"""A route for each pipeline: its inputs and its call's options in JSON, its results as they are.

The body is `{"inputs": ..., option: ...}`, or has the keys of one input in place of `inputs`:
`{"question": ..., "context": ...}`. Options may stand under `parameters`, as the hub's own service
has them. One input gets what the pipeline returns for it, a list gets a list.
"""

from __future__ import annotations

from typing import Any

from yosort.errors import InputError, show
from yosort.model.architectures import TASKS, Task
from yosort.serve.bodies import Answer
from yosort.serve.service import Call, Service

#: Routes that are text-embeddings-inference's.
_TAKEN = ("embed", "rerank")
#: Keys of an input beside those of the table.
_MORE = {"token-classification": ("words",), "feature-extraction": ("spans",)}
#: Paths and what answers there.
PATHS = {
    f"/{name}": row.name
    for row in TASKS.values()
    for name in dict.fromkeys((row.name, row.command, *row.aliases))
    if name is not None and name not in _TAKEN
}


async def answer(service: Service, body: dict[str, Any], task: str) -> Answer:
    """Answer a request for a pipeline."""
    pipeline = service.pipeline(task)
    value, given = read(TASKS[task], body)
    words = bool(given.get("is_split_into_words"))  # a list of words is one text
    several = isinstance(value, list) and not (words and all(isinstance(w, str) for w in value))
    if several and not value:
        raise InputError("inputs: wanted at least one, got an empty list")

    def write(results: list[Any], tokens: int) -> Answer:
        return Answer(results if several else pipeline.wrap(results[0], value, given))

    return await service.answer(Call(task, value if several else [value], given), write)


def read(task: Task, body: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return a body's input or inputs, and its options.

    Raises:
        InputError: no input, or options that are no object.
    """
    given = dict(body)
    nested = given.pop("parameters", None)
    if nested is not None and not isinstance(nested, dict):
        raise InputError.wanted("parameters", "an object of options", nested)
    keys = (*task.keys, *_MORE.get(task.name, ()))
    found = {key: part for key in keys if (part := given.pop(key, None)) is not None}
    value = given.pop("inputs", None)
    if value is not None and found:
        raise InputError(f"wanted inputs, or {' and '.join(found)}, got both")
    if value is None and not found:
        raise InputError(f"wanted inputs, or {' and '.join(task.keys)}, got {show(list(body))}")
    if found:
        value = found["text"] if tuple(found) == ("text",) else found
    twice = [name for name in nested or () if given.get(name) is not None]
    if twice:
        raise InputError(f"{twice[0]}: wanted once, got it under parameters, too")
    return value, {**given, **(nested or {})}
