"""OpenAI's protocol of embeddings: its body, its answer, its errors."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from yosort.arguments import check_choice
from yosort.serve.bodies import Answer, Fields, read_texts
from yosort.serve.refusals import Refusal
from yosort.serve.service import Call, Service

#: The status of a body that is JSON but not what was wanted.
MALFORMED = 400
FORMATS = ("float", "base64")
#: The protocol has no word for it.
_CUTTING = "the service's --auto-truncate"


def refuse(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal's body."""
    kind = "invalid_request_error" if refusal.status < 500 else "server_error"
    if refusal.status == 429:
        kind = "rate_limit_error"
    said = {"message": refusal.message, "type": kind, "param": refusal.param, "code": refusal.code}
    return {"error": said}


async def embeddings(service: Service, body: dict[str, Any]) -> Answer:
    """`/v1/embeddings`: unit vectors, as OpenAI's are."""
    fields = Fields(body)
    name = fields.take("model", service.names[0])
    _check_model(service, name)
    texts = read_texts("input", fields.need("input"))
    form = check_choice("encoding_format", fields.take("encoding_format", "float"), FORMATS)
    width = service.embedder.model.config.hidden_size
    wanted = f"this model's vectors have {width} numbers and no shorter form"
    fields.refuse("dimensions", lambda value: value is not True and value == width, wanted)
    fields.refuse("user", lambda value: isinstance(value, str), "wanted a text")
    fields.end()

    def write(vectors: list[Any], tokens: int) -> Answer:
        data = [
            {"object": "embedding", "index": i, "embedding": _written(vector, form)}
            for i, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return Answer({"object": "list", "data": data, "model": name, "usage": usage})

    given = {"overflow": service.cutting(), "pooling": service.pooling, "normalize": True}
    call = Call(
        "feature-extraction", texts, given, arrays=True, name="input[{}]: ", cutting=_CUTTING
    )
    return await service.answer(call, write)


def _written(vector: Any, form: str) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(vector.astype(np.dtype("<f4")).tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers


def models(service: Service) -> dict[str, Any]:
    """`/v1/models`: the model, by all its names."""
    return {"object": "list", "data": [_model(name) for name in service.names]}


def model(service: Service, name: str) -> dict[str, Any]:
    """`/v1/models/NAME`."""
    _check_model(service, name)
    return _model(name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "yosort"}


def _check_model(service: Service, name: Any) -> None:
    if not isinstance(name, str) or name not in service.names:
        there = " and ".join(service.names)
        raise Refusal(
            404,
            f"model: there is no {name!r:.100} here; there is {there}",
            param="model",
            code="model_not_found",
        )
