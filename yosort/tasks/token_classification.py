"""token-classification: labels of tokens, of words, or of groups of words (entities)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from yosort.arguments import are_texts, check_choice, check_flag, check_several
from yosort.errors import InputError, show
from yosort.model.heads import YosoForTokenClassification
from yosort.tasks.base import Pipeline, no_text
from yosort.tasks.batch import Batch, Prepared
from yosort.tasks.options import CallOptions, StreamOptions, check_upto, option, with_options
from yosort.tasks.results import Entity, Listed
from yosort.tasks.spans import trimmed
from yosort.tasks.uncertainty import describe_each, softmax

if TYPE_CHECKING:
    from typing_extensions import Unpack

STRATEGIES = ("none", "simple", "first", "average", "max")
#: One token on the way: its label scores, and where it stands.
Token = dict[str, Any]
#: Several texts, or the words of one.
Words: TypeAlias = "list[str] | tuple[str, ...]"


class Keywords(StreamOptions, total=False):
    """Keywords of a call as a type checker sees them, beside `on_error`."""

    aggregation_strategy: str | None
    ignore_labels: list[str] | None
    stride: int | None
    delimiter: str | None


def check_labels(name: str, values: Any) -> list[str]:
    """Return labels."""
    labels = check_several(name, values, "labels")
    if not are_texts(labels):
        raise InputError(f"{name}: wanted a list of labels, got {show(labels)}")
    return labels


def check_text(name: str, value: Any) -> str:
    """Return a text, which may be empty."""
    if not isinstance(value, str):
        raise InputError.wanted(name, "text", value)
    return value


@dataclass(frozen=True, kw_only=True)
class Options(CallOptions):
    """The options of a call; `stride` is the model's where `read` finds none."""

    aggregation_strategy: str = option("none", check_choice, STRATEGIES)
    ignore_labels: list[str] = option(None, check_labels, unset=("O",))
    stride: int = option(None, check_upto)
    is_split_into_words: bool = option(False, check_flag)
    delimiter: str = option(" ", check_text)


class TokenClassificationPipeline(Pipeline[Options], Generic[Listed]):
    """Labels tokens; results have transformers' keys, order and grouping.

    One difference: with "first", "average" and "max" a word is what the tokenizer took for one,
    where transformers guesses from white space.
    """

    model: YosoForTokenClassification
    task = "token-classification"
    options = Options
    windows = True
    instead: ClassVar[dict[str, str]] = {"offset_mapping": "the tokenizer says where tokens stand"}
    model_class = YosoForTokenClassification

    @overload
    def __call__(self, inputs: str, **options: Unpack[Keywords]) -> list[Entity]: ...

    @overload
    def __call__(self, inputs: Words, **options: Unpack[Keywords]) -> Listed: ...

    @overload
    def __call__(
        self, inputs: Words, *, is_split_into_words: Literal[True], **options: Unpack[Keywords]
    ) -> list[Entity]: ...

    @overload
    def __call__(
        self,
        inputs: list[list[str]] | list[tuple[str, ...]],
        *,
        is_split_into_words: Literal[True] = ...,
        **options: Unpack[Keywords],
    ) -> list[list[Entity]]: ...

    @overload
    def __call__(
        self,
        inputs: Iterator[Any],
        *,
        is_split_into_words: bool = ...,
        **options: Unpack[Keywords],
    ) -> Iterator[list[Entity]]: ...

    @overload
    def __call__(
        self,
        inputs: Iterable[Any],
        *,
        is_split_into_words: bool = ...,
        on_error: str = ...,
        **options: Unpack[Keywords],
    ) -> Any: ...

    @with_options(Options)
    def __call__(self, inputs: Any, options: Options) -> Any:
        """Label one text, a list, or any iterable.

        Args:
            inputs: a text, or a list of words with is_split_into_words; or several.
            aggregation_strategy: "none" labels tokens; "simple" joins neighbours of one label;
                "first", "average" and "max" label words first, by their first token, the mean of
                their tokens' scores, or their surest token.
            ignore_labels: labels to leave out, of the model's; None for ["O"].
            stride: tokens by which windows overlap where a text is too long; implies
                overflow="stride".
            is_split_into_words: inputs are lists of words.
            delimiter: what stands between such words in `start` and `end`.
            on_error: "raise", or "collect" a `Failure` in the input's place.
            options: see `StreamOptions`; overflow="stride" reads a long text in windows.

        Returns:
            Per text a list of dictionaries: `entity`, `score`, `index`, `word`, `start`, `end` for
            tokens; `entity_group`, `score`, `word`, `start`, `end` for groups. text[start:end] is
            the entity, without spaces around it: of a token that is a space alone, nothing, and a
            group of such tokens is none.

        Raises:
            InputError: an input or option that does not fit.
        """
        one_list = options.is_split_into_words and isinstance(inputs, (list, tuple)) and inputs
        if one_list and all(isinstance(word, str) for word in inputs):
            inputs = {"words": list(inputs)}  # one text, as a list of words
        return self.answer(inputs, options)

    def read(self, options: Options) -> Options:
        """See `Pipeline.read`."""
        stride: int | None = options.stride
        if stride is not None and not options.overflow:
            options = options.decided(overflow="stride")
        options = super().read(options)
        self._check_labels(options.ignore_labels, options.aggregation_strategy)
        if stride is not None:
            if options.overflow != "stride":
                raise InputError(
                    f"stride: wanted none beside overflow={options.overflow!r}, got {show(stride)}"
                )
            check_upto("stride", stride, options.max_length - 3)
        if options.overflow == "stride" and options.aggregation_strategy == "none":
            raise InputError(
                "aggregation_strategy: wanted one that joins tokens, for windows overlap"
            )
        usual = min(options.max_length // 4, 128)
        return options.decided(stride=usual if stride is None else stride)

    def _check_labels(self, ignored: Sequence[str], strategy: str) -> None:
        """Raise InputError of a label that no answer has; warn of one of another strategy."""
        names = [*self.model.config.id2label.values()]
        tags = [name.split("-", 1)[-1] for name in names]  # as groups are called
        for label in ignored:
            if label not in ("O", *names, *tags):
                known = show(list(dict.fromkeys((*names, *tags))))
                raise InputError.wanted("ignore_labels", f"labels of this model, {known}", label)
            answers = names if strategy == "none" else tags
            if label not in ("O", *answers):
                self.say_once(
                    f"ignore_labels: {show(label)} leaves nothing out, for aggregation_strategy="
                    f"{strategy!r} answers {show(list(dict.fromkeys(answers)))}"
                )

    def prepare(self, value: Any, options: Options) -> Prepared:
        """See `Pipeline.prepare`."""
        if isinstance(value, dict) and options.is_split_into_words:
            if "words" not in value:
                raise InputError(f"wanted a dictionary of words, got {show(list(value))}")
            value = value["words"]
        words = (
            list(value)
            if options.is_split_into_words and isinstance(value, (list, tuple))
            else None
        )
        if options.is_split_into_words and (words is None or not are_texts(words)):
            raise InputError(f"wanted a list of words, got {type(value).__name__}")
        if not options.is_split_into_words and isinstance(value, dict) and "words" in value:
            raise InputError("wanted a text, got words; is_split_into_words=True reads them")
        if not options.is_split_into_words and not isinstance(value, str):
            raise no_text(value)
        starts, at = [], 0
        for word in words or []:
            starts.append(at)
            at += len(word) + len(options.delimiter)
        encoded = self.encode(words or value, None, options, stride=options.stride)
        text = options.delimiter.join(words) if words is not None else value
        return encoded.prepared((text, starts, encoded.encodings))

    def run(self, batch: Batch, options: Options) -> list[Any]:
        """See `Pipeline.run`."""
        return [softmax(draws) for draws in batch.split(self.ask(batch))]

    def finish(self, prepared: Prepared, outputs: list[Any], options: Options) -> Any:
        """See `Pipeline.finish`."""
        text, starts, encodings = prepared.kept
        entities: list[dict[str, Any]] = []
        for encoding, scores in zip(encodings, outputs, strict=True):
            tokens = self._tokens(text, starts, encoding, scores)
            if options.aggregation_strategy not in ("none", "simple"):
                tokens = [self._word(word, options.aggregation_strategy) for word in _words(tokens)]
            found = self._label(tokens)
            if options.aggregation_strategy != "none":
                found = [group for group in self._groups(found) if group["start"] < group["end"]]
            name = "entity" if options.aggregation_strategy == "none" else "entity_group"
            entities += [entity for entity in found if entity[name] not in options.ignore_labels]
        for entity in entities:
            entity.pop("draws", None)
        return _without_overlaps(entities) if len(encodings) > 1 else entities

    def _tokens(self, text: str, starts: list[int], encoding: Any, scores: Any) -> list[Token]:
        tokens = []
        unknown = self.tokenizer.special_tokens.get("unk_token")
        # Each of these is made anew, for all tokens, whenever the encoding is asked for it.
        columns = encoding.special_tokens_mask, encoding.offsets, encoding.word_ids, encoding.tokens
        for i, (special, (begin, end), word, token) in enumerate(zip(*columns, strict=True)):
            if special:
                continue
            if starts and word is not None:
                begin, end = begin + starts[word], end + starts[word]
            begin, end = trimmed(text, begin, end)
            tokens.append(
                {
                    "scores": scores[:, i],  # [draws, labels]
                    "index": i,
                    "word": text[begin:end] if token == unknown else token,
                    "start": begin,
                    "end": end,
                    "word_id": word,
                }
            )
        return tokens

    def _label(self, tokens: list[Token]) -> list[dict[str, Any]]:
        """Return the best label of each token or word, with its scores over the draws."""
        if not tokens:
            return []
        scores = np.stack([token["scores"] for token in tokens])  # [n, draws, labels]
        best = scores.mean(axis=1).argmax(axis=1)
        draws = np.take_along_axis(scores, best[:, None, None], axis=2)[:, :, 0]
        names = self.model.config.id2label
        rows = zip(tokens, best.tolist(), describe_each(draws.T), draws, strict=True)
        return [
            {
                "entity": names[label],
                **score,
                "index": token["index"],
                "word": token["word"],
                "start": token["start"],
                "end": token["end"],
                "draws": drawn,
            }
            for token, label, score, drawn in rows
        ]

    def _word(self, tokens: list[Token], strategy: str) -> Token:
        """Return a word as one token, with the scores that the strategy takes from its tokens."""
        solid = _solid(tokens)
        if strategy == "first":
            scores = solid[0]["scores"]
        elif strategy == "max":
            scores = max((token["scores"] for token in solid), key=_surest)
        else:
            scores = np.mean([token["scores"] for token in solid], axis=0)
        word = self.tokenizer.join([token["word"] for token in tokens])
        return {**tokens[0], "scores": scores, "word": word, **_span(tokens)}

    def _groups(self, entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Join neighbours of one label; "B-" starts a new group."""
        groups: list[list[dict[str, Any]]] = []
        for entity in entities:
            name = entity["entity"]
            goes_on = groups and not name.startswith("B-")
            if goes_on and _tag(groups[-1][-1]["entity"]) == _tag(name):
                groups[-1].append(entity)
            else:
                groups.append([entity])
        if not groups:
            return []
        sizes = np.array([len(group) for group in groups])
        draws = np.stack([entity["draws"] for entity in entities])  # [n, draws]
        means = np.add.reduceat(draws, np.cumsum(sizes) - sizes) / sizes[:, None]
        return [
            {
                "entity_group": group[0]["entity"].split("-", 1)[-1],
                **score,
                "word": self.tokenizer.join([entity["word"] for entity in group]),
                **_span(group),
            }
            for group, score in zip(groups, describe_each(means.T), strict=True)
        ]


def _solid(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tokens or words of which something remains; all, where none is.

    Of a space alone nothing does, as of Unigram's "▁" before what it does not know: such ones
    begin and end nothing, and no word's label is theirs.
    """
    return [part for part in parts if part["start"] < part["end"]] or parts


def _span(parts: list[dict[str, Any]]) -> dict[str, int]:
    """Return where tokens or words stand together."""
    solid = _solid(parts)
    return {"start": solid[0]["start"], "end": solid[-1]["end"]}


def _surest(scores: npt.NDArray[np.float64]) -> float:
    """Return the best score of a token's [draws, labels]."""
    return float(scores.mean(axis=0).max())


def _tag(name: str) -> str:
    """Return a label without its "B-" or "I-"."""
    return name[2:] if name.startswith(("B-", "I-")) else name


def _words(tokens: list[Token]) -> list[list[Token]]:
    words: list[list[Token]] = []
    for token in tokens:
        known = token["word_id"] is not None
        if words and known and words[-1][-1]["word_id"] == token["word_id"]:
            words[-1].append(token)
        else:
            words.append([token])
    return words


def _without_overlaps(entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of entities that windows found twice, keep the longer, or the surer of equal ones."""
    kept: list[dict[str, Any]] = []
    for entity in sorted(entities, key=lambda e: int(e["start"])):
        if not kept or not kept[-1]["start"] <= entity["start"] < kept[-1]["end"]:
            kept.append(entity)
            continue
        longer = (entity["end"] - entity["start"]) - (kept[-1]["end"] - kept[-1]["start"])
        if longer > 0 or (longer == 0 and entity["score"] > kept[-1]["score"]):
            kept[-1] = entity
    return kept
