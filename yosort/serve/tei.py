"""The protocol of text-embeddings-inference: its bodies, its answers, its errors.

Where it and this service differ is said in docs/serving.md: a text that is too long is 422, not
413, and a field that nobody knows is an error.
"""

from __future__ import annotations

from typing import Any

from yosort import __version__
from yosort.errors import InputError
from yosort.serve.bodies import Answer, Fields, check_texts, read_ids, read_texts
from yosort.serve.refusals import Refusal
from yosort.serve.service import ANSWER, Call, Service, check_size

#: The status of a body that is JSON but not what was wanted.
MALFORMED = 422
_CUTTING = '"truncate": true'
_TYPES = {401: "Unauthorized", 429: "Overloaded", 424: "Backend", 500: "Backend", 503: "Unhealthy"}


def refuse(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal's body."""
    return {"error": refusal.message, "error_type": _TYPES.get(refusal.status, "Validation")}


def _options(service: Service, fields: Fields) -> dict[str, Any]:
    """Return the options that the fields about length mean; refuse what there is no choice of."""
    cut = fields.flag("truncate", default=service.auto_truncate)
    side = service.embedder.tokenizer.truncation_side
    fields.refuse(
        "truncation_direction",
        lambda value: isinstance(value, str) and value.lower() == side,
        f"this model's tokenizer cuts on the {side}",
    )
    return {"overflow": service.cutting(cut)}


def _embedding(service: Service, fields: Fields) -> dict[str, Any]:
    given = _options(service, fields)
    fields.refuse("prompt_name", lambda value: False, "prompts are not chosen here")
    width = service.embedder.model.config.hidden_size
    wanted = f"this model's vectors have {width} numbers"
    fields.refuse("dimensions", lambda value: value is not True and value == width, wanted)
    return given


async def embed(service: Service, body: dict[str, Any]) -> Answer:
    """`/embed`: a vector for each text."""
    fields = Fields(body)
    texts = read_texts("inputs", fields.need("inputs"))
    given = _embedding(service, fields)
    given |= {"pooling": service.pooling, "normalize": fields.flag("normalize", default=True)}
    fields.end()
    call = Call("feature-extraction", texts, given, arrays=True, cutting=_CUTTING)
    return await service.answer(call, lambda found, _: Answer([v.tolist() for v in found]))


async def embed_all(service: Service, body: dict[str, Any]) -> Answer:
    """`/embed_all`: a vector for each token of each text."""
    fields = Fields(body)
    texts = read_texts("inputs", fields.need("inputs"))
    given = _embedding(service, fields) | {"pooling": "none"}
    fields.end()
    call = Call("feature-extraction", texts, given, arrays=True, cutting=_CUTTING)
    return await service.answer(call, lambda found, _: Answer([v[0].tolist() for v in found]))


async def predict(service: Service, body: dict[str, Any]) -> Answer:
    """`/predict`: a score for each label, best first, of a text, a pair, or a list of either."""
    service.pipeline("text-classification")
    fields = Fields(body)
    inputs, several = _pairs(fields.need("inputs"))
    given: dict[str, Any] = {**_options(service, fields), "top_k": None}
    if fields.flag("raw_scores", default=False):
        given["function_to_apply"] = "none"
    fields.end()

    def write(results: list[Any], tokens: int) -> Answer:
        return Answer(results if several else results[0])

    call = Call("text-classification", inputs, given, cutting=_CUTTING)
    return await service.answer(call, write)


def _pairs(value: Any) -> tuple[list[Any], bool]:
    """Return the texts and pairs of `/predict`, and whether there may be several."""
    if isinstance(value, str):
        return [value], False
    if isinstance(value, list) and value and isinstance(value[0], str):
        return [_pair("inputs", value)], False
    if isinstance(value, list) and value:
        return [_pair(f"inputs[{i}]", each) for i, each in enumerate(value)], True
    raise InputError.wanted(
        "inputs", "a text, a pair of texts, or a list of lists of either", value
    )


def _pair(name: str, value: Any) -> dict[str, str] | str:
    texts = check_texts(name, value)
    if len(texts) > 2:
        raise InputError.wanted(name, "one text or two; several inputs are lists in a list", value)
    return texts[0] if len(texts) == 1 else {"text": texts[0], "text_pair": texts[1]}


async def rerank(service: Service, body: dict[str, Any]) -> Answer:
    """`/rerank`: texts by how well they answer a query, best first."""
    service.pipeline("text-ranking")
    fields = Fields(body)
    value = {"query": fields.text("query"), "documents": check_texts("texts", fields.need("texts"))}
    given = _options(service, fields)
    if fields.flag("raw_scores", default=False):
        given["function_to_apply"] = "none"
    names = ["index", "score", *(["text"] if fields.flag("return_text", default=False) else [])]
    fields.end()

    def write(results: list[Any], tokens: int) -> Answer:
        return Answer([{name: ranked[name] for name in names} for ranked in results[0]])

    return await service.answer(Call("text-ranking", [value], given, cutting=_CUTTING), write)


async def tokenize(service: Service, body: dict[str, Any]) -> Answer:
    """`/tokenize`: the tokens of each text, with the characters that they stand for."""
    fields = Fields(body)
    value = fields.need("inputs")
    texts = [value] if isinstance(value, str) else check_texts("inputs", value)
    special = fields.flag("add_special_tokens", default=True)
    fields.refuse("prompt_name", lambda value: False, "prompts are not chosen here")
    fields.end()
    _check_count(service, texts)

    def work() -> Answer:
        encode, size, found = service.embedder.tokenizer.encoding, 0, []
        for text in texts:
            encoding = encode(text, add_special_tokens=special)
            size += len(encoding) * ANSWER
            check_size(size, service.limits)
            found.append(_tokens(text, encoding))
        return Answer(found)

    return await service.aside(work)


def _tokens(text: str, found: Any) -> list[dict[str, Any]]:
    rows = zip(found.ids, found.tokens, found.special_tokens_mask, found.offsets, strict=True)
    return [
        {
            "id": id,
            "text": token if is_special else text[start:stop],
            "special": bool(is_special),
            "start": None if is_special else start,
            "stop": None if is_special else stop,
        }
        for id, token, is_special, (start, stop) in rows
    ]


async def decode(service: Service, body: dict[str, Any]) -> Answer:
    """`/decode`: the texts of token ids."""
    fields = Fields(body)
    rows = read_ids("ids", fields.need("ids"))
    skip = fields.flag("skip_special_tokens", default=True)
    fields.end()
    _check_count(service, rows)
    tokenizer = service.embedder.tokenizer
    known = len(tokenizer)  # which counts the vocabulary
    for i, row in enumerate(rows):
        unknown = next((id for id in row if not 0 <= id < known), None)
        if unknown is not None:
            raise InputError.wanted(f"ids[{i}]", f"ids from 0 to {known - 1}", unknown)
    return await service.aside(
        lambda: Answer([tokenizer.decode(row, skip_special_tokens=skip) for row in rows])
    )


def _check_count(service: Service, values: list[Any]) -> None:
    most = service.limits.max_client_batch_size
    if len(values) > most:
        raise Refusal(413, f"too many inputs: wanted at most {most:,}, got {len(values):,}")


def info(service: Service) -> dict[str, Any]:
    """`/info`: what is served, and within which bounds."""
    model, limits = service.embedder.model, service.limits
    kind: dict[str, Any] = {"embedding": {"pooling": service.pooling}}
    if "text-classification" in service.pipelines:
        config = service.pipelines["text-classification"].model.config
        labels = {str(i): label for i, label in config.id2label.items()}
        role = "reranker" if "text-ranking" in service.pipelines else "classifier"
        kind = {role: {"id2label": labels, "label2id": config.label2id}}
    return {
        "model_id": service.names[0],
        "model_sha": None,
        "model_dtype": str(model.dtype),
        "model_type": kind,
        "tasks": list(service.pipelines),
        "attention": model.attention,
        "device": model.device,
        "max_concurrent_requests": limits.max_concurrent_requests,
        "max_input_length": service.max_tokens,
        "max_batch_tokens": limits.max_batch_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": limits.max_client_batch_size,
        "max_waiting_tokens": limits.max_waiting_tokens,
        "auto_truncate": service.auto_truncate,
        "tokenization_workers": service.workers,
        "version": __version__,
    }
