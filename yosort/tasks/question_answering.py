"""question-answering: the span of a context that answers a question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, overload

import numpy as np
import numpy.typing as npt

from yosort.arguments import check_count, check_flag, check_inputs, inputs_or_fields, pick_fields
from yosort.errors import InputError, show
from yosort.model.heads import YosoForQuestionAnswering
from yosort.tasks.base import NO_TOKENS, Pipeline
from yosort.tasks.batch import Batch, Prepared
from yosort.tasks.options import CallOptions, StreamOptions, check_upto, option, with_options
from yosort.tasks.results import Answer, Answers, Question
from yosort.tasks.spans import trimmed
from yosort.tasks.uncertainty import describe, softmax

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Keywords(StreamOptions, total=False):
    """Keywords of a call as a type checker sees them, beside those that the overloads name."""

    doc_stride: int | None
    max_answer_len: int
    max_seq_len: int | None
    max_question_len: int | None
    handle_impossible_answer: bool | None
    align_to_words: bool | None


@dataclass(frozen=True, kw_only=True)
class Options(CallOptions):
    """The options of a call; a window's size and stride are the model's where `read` finds none."""

    top_k: int = option(1, check_count)
    doc_stride: int = option(None, check_upto)
    max_answer_len: int = option(15, check_count)
    max_seq_len: int = option(None, check_count)
    max_question_len: int | None = option(None, check_count)
    handle_impossible_answer: bool = option(False, check_flag)
    align_to_words: bool = option(True, check_flag)


class QuestionAnsweringPipeline(Pipeline[Options], Generic[Answers]):
    """Answers from a context; results are those of transformers 5.2's pipeline."""

    model: YosoForQuestionAnswering
    task = "question-answering"
    options = Options
    windows = True
    inputs = ("inputs", "question", "context")
    overflow = "stride"
    instead: ClassVar[dict[str, str]] = {"max_length": "max_seq_len is the size of a window"}
    model_class = YosoForQuestionAnswering

    @overload
    def __call__(self, inputs: Question, **options: Unpack[Keywords]) -> Answers: ...

    @overload
    def __call__(
        self, inputs: None = ..., *, question: str, context: str, **options: Unpack[Keywords]
    ) -> Answers: ...

    @overload
    def __call__(self, question: str, context: str, /, **options: Unpack[Keywords]) -> Answers: ...

    @overload
    def __call__(
        self, inputs: Sequence[Question], **options: Unpack[Keywords]
    ) -> Answers | list[Answers]: ...

    @overload
    def __call__(
        self,
        inputs: None = ...,
        *,
        question: str | Sequence[str],
        context: str | Sequence[str],
        **options: Unpack[Keywords],
    ) -> Answers | list[Answers]: ...

    @overload
    def __call__(
        self, inputs: Iterator[Question], **options: Unpack[Keywords]
    ) -> Iterator[Answers]: ...

    @overload
    def __call__(
        self, inputs: Question, *, top_k: int | None, **options: Unpack[Keywords]
    ) -> Answer | list[Answer]: ...

    @overload
    def __call__(
        self,
        inputs: None = ...,
        *,
        question: str,
        context: str,
        top_k: int | None,
        **options: Unpack[Keywords],
    ) -> Answer | list[Answer]: ...

    @overload
    def __call__(
        self, question: str, context: str, /, *, top_k: int | None, **options: Unpack[Keywords]
    ) -> Answer | list[Answer]: ...

    @overload
    def __call__(
        self, inputs: list[Question], *, top_k: int | None, **options: Unpack[Keywords]
    ) -> Answer | list[Answer] | list[Answer | list[Answer]]: ...

    @overload
    def __call__(
        self,
        inputs: Any = ...,
        *,
        question: Any = ...,
        context: Any = ...,
        top_k: int | None = ...,
        on_error: str = ...,
        **options: Unpack[Keywords],
    ) -> Any: ...

    @with_options(Options)
    def __call__(
        self, inputs: Any = None, *, question: Any = None, context: Any = None, options: Options
    ) -> Any:
        """Answer one question, a list, or any iterable.

        Args:
            inputs: a dictionary of `question` and `context`; or several.
            question: a question, or several, in place of inputs; one for several contexts is put
                to them all.
            context: its context, or several; one for several questions serves them all.
            top_k: how many answers, best first.
            doc_stride: tokens by which windows of a long context overlap; None: 128, or half a
                window.
            max_answer_len: tokens of an answer, at most.
            max_seq_len: tokens of a window, question included, of which the model takes at most
                max_position_embeddings; None: so many (where transformers says 384).
            max_question_len: tokens of a question; a longer one is an error. None: no limit.
            handle_impossible_answer: allow the empty answer.
            align_to_words: widen an answer to whole words.
            on_error: "raise", or "collect" a `Failure` in the input's place.
            options: see `StreamOptions`; overflow="stride", which is usual here, reads a long
                context in windows, "truncate" its beginning only.

        Returns:
            Per question `{"score", "start", "end", "answer"}`, or a list of them if there are
            several; `start` and `end` count characters of the context.

        Raises:
            InputError: an input or option that does not fit.
        """
        by_name = inputs is None
        inputs = inputs_or_fields(inputs, question=question, context=context)
        if by_name:
            inputs = _pairs(**inputs)
        result = self.answer(inputs, options)
        # A list of one question gives its answer unwrapped, as in transformers.
        return result[0] if isinstance(inputs, (list, tuple)) and len(result) == 1 else result

    def read(self, options: Options) -> Options:
        """See `Pipeline.read`."""
        usual = self.tokenizer.chosen_max_length or self.max_tokens
        window = min(options.max_seq_len or usual, self.max_tokens)
        given: int | None = options.doc_stride
        stride = min(window // 2, 128) if given is None else given
        check_upto("doc_stride", stride, window)
        return super().read(options).decided(max_length=window, doc_stride=stride)

    def read_positional(self, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """Return what a call was given without names; two texts are a question and its context."""
        if len(inputs) == 2:
            return dict(zip(("question", "context"), inputs, strict=True))
        return super().read_positional(inputs)

    def prepare(self, value: Any, options: Options) -> Prepared:
        """See `Pipeline.prepare`."""
        fields = pick_fields(value, ("question", "context")) if isinstance(value, dict) else None
        if fields is None:
            got = show(list(value)) if isinstance(value, dict) else type(value).__name__
            raise InputError(f"wanted a dictionary of question and context, got {got}")
        value = fields
        question, context = value["question"], value["context"]
        for name, text in value.items():
            if not isinstance(text, str):
                hint = "several are question=[...] and context=" if isinstance(text, list) else None
                raise InputError.wanted(name, "a text", text, hint=hint)
            if not text.strip():
                raise InputError(f"{name}: wanted a text that is not empty, got {show(text)}")
        count = len(self.tokenizer.encoding(question, add_special_tokens=False).ids)
        if not count:
            raise InputError(f"question: {NO_TOKENS} {show(question)}")
        limit = options.max_question_len
        if limit is not None and count > limit:
            raise InputError(f"question: wanted at most {limit} tokens, got {count}")
        specials = len(self.tokenizer.encoding("", "").ids)
        room = options.max_length - count - specials
        if room < 1:
            raise InputError(
                f"question: its {count} tokens leave no room in a window of {options.max_length}"
            )
        encoded = self.encode(
            question,
            context,
            options,
            stride=min(options.doc_stride, room - 1),
            strategy="only_second",
        )
        # Only the context may answer, and token 0 stands for "no answer".
        rows = [
            replace(row, scored=(0, *np.flatnonzero([s == 1 for s in e.sequence_ids]).tolist()))
            for row, e in zip(encoded.rows, encoded.encodings, strict=True)
        ]
        if not any(len(row.scored or ()) > 1 for row in rows):
            raise InputError(f"context: {NO_TOKENS} {show(context)}")
        return Prepared(rows, (context, encoded.encodings), encoded.truncated)

    def run(self, batch: Batch, options: Options) -> list[Any]:
        """See `Pipeline.run`."""
        scored = batch.scored()
        found = self.ask(batch, scored)
        scores = np.zeros((len(found), len(batch.ids), 2), found.dtype)
        scores[:, scored] = found
        return [(draws[..., 0], draws[..., 1]) for draws in batch.split(scores)]

    def finish(self, prepared: Prepared, outputs: list[Any], options: Options) -> Any:
        """See `Pipeline.finish`."""
        context, encodings = prepared.kept
        wanted = options.top_k
        # Candidates that align to the same words become one answer: look at some more.
        count = 2 * wanted + 10 if options.align_to_words else wanted
        answers: dict[str, tuple[tuple[int, int, str], Any]] = {}
        impossible: npt.NDArray[np.float64] | None = None
        for encoding, (start_logits, end_logits) in zip(encodings, outputs, strict=True):
            inside = np.array([s == 1 for s in encoding.sequence_ids])
            readable = inside.copy()
            readable[0] = True  # token 0 stands for "no answer"
            start, end = (_masked_softmax(x, readable) for x in (start_logits, end_logits))
            nothing = start[:, 0] * end[:, 0]
            if impossible is None or nothing.mean() < impossible.mean():
                impossible = nothing
            start[:, 0] = end[:, 0] = 0.0
            # Candidates by the mean of each end over the draws; scores by the mean of the product.
            means = start.mean(axis=0), end.mean(axis=0)
            for first, last in _best_spans(*means, count, options.max_answer_len):
                if not (inside[first] and inside[last]):
                    continue
                spans = _characters(encoding, first, last, align=options.align_to_words)
                begin, stop = trimmed(context, *spans[0])[0], trimmed(context, *spans[1])[1]
                text = context[begin:stop]
                draws = start[:, first] * end[:, last]
                before = answers.get(text.lower(), ((begin, stop, text), 0.0))
                answers[text.lower()] = (before[0], before[1] + draws)
        found = list(answers.values())
        if options.handle_impossible_answer and impossible is not None:
            found.append(((0, 0, ""), impossible))
        found.sort(key=lambda answer: float(answer[1].mean()), reverse=True)
        ranked = [
            {**describe(draws), "start": begin, "end": stop, "answer": text}
            for (begin, stop, text), draws in found[:wanted]
        ]
        return ranked[0] if len(ranked) == 1 else ranked


def _pairs(question: Any, context: Any) -> Any:
    """Return question and context arguments as dictionaries."""
    if isinstance(question, str) and isinstance(context, str):
        return {"question": question, "context": context}
    questions, contexts = (
        [value] if isinstance(value, str) else _several(name, value)
        for name, value in (("question", question), ("context", context))
    )
    if isinstance(question, str):
        questions *= len(contexts)
    if isinstance(context, str):
        contexts *= len(questions)
    if len(questions) != len(contexts):
        raise InputError(
            f"wanted as many contexts as questions, got {len(contexts)} for {len(questions)}"
        )
    return [{"question": q, "context": c} for q, c in zip(questions, contexts, strict=True)]


def _several(name: str, value: Any) -> list[Any]:
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise InputError(f"{name}: wanted a text or a list of them, got {type(value).__name__}")
    return list(check_inputs(value))


def _masked_softmax(
    logits: npt.NDArray[Any], readable: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return the softmax of each draw [draws, n] over the readable tokens [n]."""
    return softmax(np.where(readable, logits.astype(np.float64), -np.inf))


def _best_spans(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], count: int, longest: int
) -> list[tuple[int, int]]:
    """Return the likeliest spans (first, last) of at most `longest` tokens.

    Only that band of the n x n table of spans is made: [n, longest].
    """
    n = len(start)
    longest = min(longest, n)
    padded = np.concatenate([end, np.zeros(longest - 1)])
    band = start[:, None] * np.lib.stride_tricks.sliding_window_view(padded, longest)
    scores = band.reshape(-1)
    count = min(count, len(scores))
    chosen = np.argpartition(-scores, count - 1)[:count]
    chosen = chosen[np.lexsort((chosen, -scores[chosen]))]
    spans = [(int(i // longest), int(i // longest + i % longest)) for i in chosen]
    return [(first, last) for first, last in spans if last < n]


def _characters(
    encoding: Any, first: int, last: int, *, align: bool
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the characters of the context that the two ends of a span of tokens cover."""
    if align:
        begin_word, end_word = encoding.token_to_word(first), encoding.token_to_word(last)
        if begin_word is not None and end_word is not None:
            begin = encoding.word_to_chars(begin_word, 1)
            stop = encoding.word_to_chars(end_word, 1)
            if begin is not None and stop is not None:
                return begin, stop
    return encoding.offsets[first], encoding.offsets[last]
