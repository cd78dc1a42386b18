"""The pipelines of one model: a request prepared, answered and written; and who may wait."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from yosort.arguments import is_integer
from yosort.elsewhere import PIPELINE_WITHOUT_EFFECT
from yosort.errors import DeviceError, InputError, YosortError, show
from yosort.machine import usable_processors
from yosort.model.architectures import TASKS
from yosort.serve.batcher import Batcher, Job
from yosort.serve.bodies import characters
from yosort.serve.limits import Limits
from yosort.serve.metrics import Metrics
from yosort.serve.refusals import Refusal
from yosort.tasks.base import Pipeline
from yosort.tasks.batch import Prepared, Row
from yosort.tasks.feature_extraction import usual_pooling
from yosort.tasks.options import NESTED
from yosort.tasks.stream import Failure, Item, Stream
from yosort.tasks.text_classification import BEST_ALONE

T = TypeVar("T")
#: The service itself decides these.
_OURS = ("batch_tokens", "batch_size", "progress", "on_error", "return_tensors")
#: Characters of a token, at the very most that is worth looking at.
_CHARACTERS = 8
#: Bytes of a number of a vector, and of a token of a text, in an answer.
_NUMBER, _WORD = 20, 6
#: Bytes of an answer of a few keys: a label with its score, an entity, a token with its place.
ANSWER = 100
#: Letters between two words that were given as such.
_LONGEST_DELIMITER = 16
#: Windows are of so many tokens, at least, unless the model takes fewer.
_WINDOW = 64
_MOST_ANSWERS, _LONGEST_ANSWER = 1000, 512


#: What the library's message of a text that is too long says cuts it.
CUTTING = "overflow='truncate'"


@dataclass(frozen=True)
class Call:
    """What a request asks of a pipeline.

    Attributes:
        task: transformers' name of it.
        inputs: as the pipeline takes them, or token ids for feature-extraction.
        given: options, by name; those that the service decides are refused.
        arrays: answer with arrays: vectors that the protocol itself writes.
        name: what messages call an input, with its number.
        cutting: what a client writes to have texts cut.
    """

    task: str
    inputs: list[Any]
    given: dict[str, Any]
    arrays: bool = False
    name: str = "inputs[{}]: "
    cutting: str = CUTTING


class Service:
    """One model at work for many clients.

    Args:
        pipelines: of one model, by task; feature-extraction among them.
        names: what clients may call the model; the first one answers.
        limits: see there.
        pooling: of embeddings, "mean" or "cls"; None: what the model's files say, else "mean".
        auto_truncate: cut texts that are too long, unless a request says otherwise.
    """

    def __init__(
        self,
        pipelines: dict[str, Pipeline],
        names: tuple[str, ...],
        limits: Limits,
        *,
        pooling: str | None = None,
        auto_truncate: bool = False,
    ) -> None:
        self.pipelines, self.names, self.limits = pipelines, names, limits
        self.pooling = pooling or usual_pooling(self.embedder.model)
        self.auto_truncate = auto_truncate
        self.metrics = Metrics()
        self.stopping = False
        self.in_hand = 0
        self._batcher = Batcher(limits, self.metrics)
        self.workers = min(4, usable_processors() + 1)
        self._workers = ThreadPoolExecutor(self.workers, "yosort-text")

    @property
    def embedder(self) -> Pipeline:
        """The pipeline that every model has."""
        return self.pipelines["feature-extraction"]

    @property
    def is_healthy(self) -> bool:
        """Whether a request that comes now will be answered."""
        return self._batcher.is_alive and not self.stopping

    @contextlib.asynccontextmanager
    async def running(self) -> Any:
        """Serve on this event loop, after a first answer for itself."""
        self._batcher.start()
        with contextlib.suppress(Refusal):  # of a tokenizer that keeps nothing of it
            await self.answer(Call("feature-extraction", ["a"], {"pooling": "mean"}), lambda *_: 0)
        try:
            yield
        finally:
            await self._batcher.stop()
            self._workers.shutdown(wait=True)

    @property
    def max_tokens(self) -> int:
        """Tokens of a text whose vector is asked for."""
        _, options = self.embedder.understand({"overflow": "error"})
        longest: int = self.embedder.read(options).max_length
        return longest

    def cutting(self, cut: bool | None = None) -> str:
        """Return what becomes of a text that is too long, by a request's word or the service's."""
        return "truncate" if (self.auto_truncate if cut is None else cut) else "error"

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places for requests in hand.

        Raises:
            Refusal: all are taken.
        """
        most = self.limits.max_concurrent_requests
        if self.in_hand >= most:
            raise Refusal(
                429,
                f"{most} requests are in hand already",
                code="rate_limit_exceeded",
                retry_after=self._batcher.retry_after(),
            )
        self.in_hand += 1
        self.metrics.in_hand.set(self.in_hand)
        try:
            yield
        finally:
            self.in_hand -= 1
            self.metrics.in_hand.set(self.in_hand)

    async def aside(self, work: Callable[[], T]) -> T:
        """Return what work returns, done in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)

    async def answer(self, call: Call, write: Callable[[list[Any], int], T]) -> T:
        """Return what `write` makes, in a thread, of all inputs' results and their tokens.

        Raises:
            Refusal: an input or option that does not fit, or too much of something.
        """
        job, tokens = await self.aside(lambda: self._prepare(call))
        await self._batcher.run(job)

        def finish() -> T:
            return write([_result(job.stream, item, call) for item in job.items], tokens)

        return await self.aside(finish)

    def pipeline(self, task: str) -> Pipeline:
        """Return the pipeline of a task.

        Raises:
            Refusal: this model has none.
        """
        if task not in self.pipelines:
            model = type(next(iter(self.pipelines.values())).model).__name__
            needed = TASKS[task].model
            if (labels := TASKS[task].num_labels) is not None:
                needed += f" of {labels} label{'s' if labels != 1 else ''}"
            raise Refusal(
                424,
                f"{task} needs a {needed}; {self.names[0]} is a {model}, for "
                f"{' and '.join(self.pipelines)}",
                code="model_not_supported",
            )
        return self.pipelines[task]

    def _prepare(self, call: Call) -> tuple[Job, int]:
        """Return the job of a call, and its tokens."""
        try:
            return self._job(call)
        except RecursionError:  # what the parser of JSON takes may be too deep for what reads it
            raise Refusal(422, "wanted JSON, got one nested too deeply") from None

    def _job(self, call: Call) -> tuple[Job, int]:
        pipeline, limits = self.pipeline(call.task), self.limits
        most = limits.max_client_batch_size
        count = sum(_rows_of(value) for value in call.inputs)
        if count > most:
            raise Refusal(413, f"too many inputs: wanted at most {most:,}, got {count:,}")
        read = sum(map(characters, call.inputs))
        if read > _CHARACTERS * limits.max_waiting_tokens:
            raise Refusal(413, f"too much to read: {read:,} characters; send it in parts")
        try:
            options = self._options(pipeline, call)
        except YosortError as error:
            raise _refused(error, call) from None
        stream = Stream(pipeline, options)
        items: list[Item] = []
        tokens = size = 0
        for index, value in enumerate(call.inputs):
            ids = call.arrays and isinstance(value, list)  # of the protocols of vectors alone
            item = self._of_ids(index, value, options) if ids else stream.prepare(index, value)
            if item.error is not None:
                raise _refused(item.error, call, index)
            items.append(item)
            tokens += sum(len(row.ids) for row in item.prepared.rows)
            size += _size(pipeline, item.prepared, options)
            check_size(size, limits)
            if tokens > limits.max_waiting_tokens:
                break  # which the queue refuses
        # Options that are written alike are alike, and lists cannot be hashed.
        return Job(
            stream, items, (call.task, call.arrays, json.dumps(call.given, sort_keys=True))
        ), tokens

    def _options(self, pipeline: Pipeline, call: Call) -> Any:
        given = _flat(call.given)
        for name in _OURS:
            if given.get(name) is not None:
                raise InputError(f"{name}: the service decides this; leave it out")
        said = {"overflow", "truncation", "max_length", "stride"} & given.keys()
        if self.auto_truncate and not said and pipeline.overflow == "error":
            given["overflow"] = "truncate"
        inputs, options = pipeline.understand(given)
        if inputs:
            raise InputError(f"{next(iter(inputs))}: no option")
        more = {"on_error": "collect", **({"return_tensors": True} if call.arrays else {})}
        options = pipeline.read(options.decided(**more))
        return _bounded(options, pipeline)

    def _of_ids(self, index: int, ids: list[int], options: Any) -> Item:
        """Return an input that is tokens already: they are taken as they are."""
        item, known = Item(index, ""), self.embedder.model.config.vocab_size
        try:
            wrong = next((i for i in ids if not 0 <= i < known), None)
            if wrong is not None:
                raise InputError(f"wanted token ids from 0 to {known - 1}, got {show(wrong)}")
            if len(ids) > options.max_length:
                got = f"wanted at most {options.max_length} tokens, got {len(ids)}"
                raise InputError(f"text too long: {got}; token ids are not cut")
            item.prepared = Prepared([Row(ids, [0] * len(ids))])
            item.outputs = [None]
        except InputError as error:
            item.error = error
        return item


def _flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options, those within dictionaries of them too, without what changes nothing here.

    Of that, a log would tell the values that a client wrote.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in NESTED and isinstance(value, dict):
            found |= _flat(value)
        elif name not in PIPELINE_WITHOUT_EFFECT:
            found[name] = value
    return found


def _result(stream: Stream, item: Item, call: Call) -> Any:
    result = stream.result(item)
    if isinstance(result, Failure):
        raise _refused(result.error, call, item.index)
    return result


def _refused(error: YosortError, call: Call, index: int | None = None) -> Refusal:
    """Return the refusal of an option, or of an input that has no answer."""
    name = "" if index is None or len(call.inputs) == 1 else call.name.format(index)
    if isinstance(error, DeviceError):  # memory, which others may have
        return Refusal(503, f"{name}{error}", retry_after=1)
    param = None if index is None else call.name.partition("[")[0]
    message = str(error).replace(CUTTING, call.cutting)
    return Refusal(422, f"{name}{message}", param=param)


def _rows_of(value: Any) -> int:
    """Return what an input counts for: each of its choices, documents or spans is one."""
    if not isinstance(value, dict):
        return 1
    several = [value.get(name) for name in ("choices", "documents", "spans")]
    return max(1, *(len(each) if isinstance(each, list) else 1 for each in several))


def _bounded(options: Any, pipeline: Pipeline) -> Any:
    """Return a call's options where each asks no more than its text is worth.

    Windows that hardly advance, and answers by the thousand, cost out of all proportion.

    Raises:
        InputError: an option beyond its bound.
    """
    window: int = options.max_length
    stride = getattr(options, "doc_stride", getattr(options, "stride", 0))
    if options.overflow == "stride":
        least, half = min(_WINDOW, pipeline.max_tokens), window // 2
        if window < least:
            raise InputError(f"max_length: wanted at least {least} in this service, got {window}")
        if stride > half:
            raise InputError(f"stride: wanted at most {half} in this service, got {stride}")
    if hasattr(options, "max_question_len"):
        # What a question leaves of a window has to be more than windows share.
        most = (window - stride) // 2
        options = options.decided(max_question_len=min(most, options.max_question_len or most))
    for name, most in (("max_answer_len", _LONGEST_ANSWER), ("top_k", _MOST_ANSWERS)):
        value: Any = getattr(options, name, None)
        if is_integer(value) and value > most:
            raise InputError(f"{name}: wanted at most {most} in this service, got {value}")
    for name, most in (("delimiter", _LONGEST_DELIMITER), ("ignore_labels", _MOST_ANSWERS)):
        length = len(getattr(options, name, None) or ())
        if length > most:
            wanted = f"wanted at most {most} in this service"
            raise InputError(f"{name}: {wanted}, got a length of {length}")
    return options


def check_size(size: int, limits: Limits) -> None:
    """Raise a Refusal of an answer of more bytes than are given."""
    if size > limits.answer_limit:
        raise Refusal(
            413,
            f"too large an answer: wanted at most {limits.answer_limit:,} bytes; send fewer "
            "inputs, or ask for less of each",
        )


def _size(pipeline: Pipeline, prepared: Prepared, options: Any) -> int:
    """Return about how many bytes an input's answer has, where it may have many."""
    tokens = sum(len(row.ids) for row in prepared.rows)
    if pipeline.task == "feature-extraction":
        parts = sum(len(row.parts or ()) for row in prepared.rows)
        rows = parts or (tokens if options.pooling == "none" else 1)
        return rows * int(pipeline.model.config.hidden_size) * _NUMBER
    if pipeline.task == "fill-mask":
        mask = pipeline.tokenizer.id_of("mask_token")
        masks = sum(row.ids.count(mask) for row in prepared.rows)
        return masks * int(options.top_k) * tokens * _WORD
    if pipeline.task == "text-classification":
        labels = int(pipeline.model.config.num_labels)
        answers = 1 if options.top_k == BEST_ALONE else min(options.top_k or labels, labels)
        return len(prepared.rows) * answers * ANSWER
    return tokens * (ANSWER if pipeline.task == "token-classification" else _NUMBER)
