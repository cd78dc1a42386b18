"""Text -> ids and back, called as transformers' fast tokenizers are; the work is the library's."""

from __future__ import annotations

import inspect
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import fields as dataclass_fields
from typing import Any

import tokenizers

from yosort.arguments import (
    are_texts,
    check_choice,
    check_count,
    check_flag,
    check_path,
    checks_calls,
    drop_unset,
    with_names,
)
from yosort.checkpoint.hub import resolve
from yosort.elsewhere import TOKENIZER_CALLS, TOKENIZER_LOADING
from yosort.errors import CheckpointError, ConfigError, InputError, show
from yosort.files import replace_files
from yosort.saving import check_saving
from yosort.tokenizer.arguments import (
    SIDES,
    STRATEGIES,
    UNLIMITED,
    Cut,
    Sample,
    check_tensors,
    read_lengths,
    read_samples,
    refuse_unknown,
)
from yosort.tokenizer.backend import configured, encode, enough, pad, refusals
from yosort.tokenizer.encodings import BatchEncoding, Encoding, as_arrays
from yosort.tokenizer.files import read_tokenizer
from yosort.tokenizer.padding import pad_rows
from yosort.tokenizer.vocabulary import ROLES, Vocabulary

_log = logging.getLogger("yosort")
# What from_pretrained may say otherwise than the files.
_FIELDS = (
    "clean_up_tokenization_spaces",
    "model_input_names",
    "model_max_length",
    "padding_side",
    "split_special_tokens",
    "truncation_side",
)
#: What transformers' from_pretrained takes and nothing here depends on: a checkpoint's code is
#: never run, a folder's tokenizer needs no model's config, and `legacy` is SentencePiece's.
_WITHOUT_EFFECT = ("config", "legacy", "resume_download", "trust_remote_code")


def _setting(name: str, check: Callable[[str, Any], Any], doc: str) -> Any:
    """Return an attribute whose value is checked wherever it is set."""

    def get(self: Tokenizer) -> Any:
        return vars(self)[name]

    def put(self: Tokenizer, value: Any) -> None:
        vars(self)[name] = check(name, value)

    return property(get, put, doc=doc)


def _check_side(name: str, value: Any) -> str:
    return check_choice(name, value, SIDES)


def _check_names(name: str, value: Any) -> list[str]:
    if not are_texts(value):
        raise InputError.wanted(name, "a list of texts", value)
    return list(value)


def _check_most(name: str, value: Any) -> int:
    return check_count(name, UNLIMITED if value is None else value)


@checks_calls(InputError)
class Tokenizer(Vocabulary):
    """A model's tokenizer, with the special tokens that its files name.

    A call changes nothing of it: several threads may share one. Padding and truncation stored in
    tokenizer.json are switched off; the call says what is wanted.

    Args:
        backend: the `tokenizers.Tokenizer` underneath.
        special_tokens: content by role ("mask_token", "pad_token", ...).
        token_types: whether the model is given the token types of a pair.
        model_input_names: what a call returns unasked, besides input_ids; it says token_types too.
        padding_side: "right" or "left".
        truncation_side: where tokens are dropped, "right" or "left".
        model_max_length: the limit of truncation=True without max_length; None: there is none.
        clean_up_tokenization_spaces: whether `decode` drops spaces before punctuation.
        split_special_tokens: whether `<s>` in a text is text, not the special token.
        extra_special_tokens: special tokens without a role.
        name_or_path: where it came from.

    The arguments are attributes of the same names; so are "mask_token" and "mask_token_id" and
    those of the other roles.

    Raises:
        InputError: no backend of `tokenizers`, or an argument of another type.
    """

    model_input_names = _setting("model_input_names", _check_names, "What a call returns unasked.")
    padding_side = _setting("padding_side", _check_side, 'Where padding stands: "right" or "left".')
    truncation_side = _setting(
        "truncation_side", _check_side, 'Where tokens are dropped: "right" or "left".'
    )
    model_max_length = _setting(
        "model_max_length", _check_most, "The limit of truncation=True; int(1e30) for none."
    )
    clean_up_tokenization_spaces = _setting(
        "clean_up_tokenization_spaces", check_flag, "Whether `decode` drops spaces."
    )
    split_special_tokens = _setting(
        "split_special_tokens", check_flag, "Whether `<s>` in a text is text."
    )

    @with_names(InputError)
    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        special_tokens: dict[str, str],
        *,
        token_types: bool = True,
        model_input_names: Sequence[str] | None = None,
        padding_side: str = "right",
        truncation_side: str = "right",
        model_max_length: int | None = None,
        clean_up_tokenization_spaces: bool = False,
        split_special_tokens: bool = False,
        extra_special_tokens: Sequence[str] = (),
        name_or_path: str = "",
    ) -> None:
        if not isinstance(backend, tokenizers.Tokenizer):
            raise InputError.wanted("backend", "a tokenizers.Tokenizer", backend)
        if not isinstance(special_tokens, dict) or not are_texts(list(special_tokens.values())):
            raise InputError.wanted("special_tokens", "tokens by role", special_tokens)
        types = ["token_type_ids"] if check_flag("token_types", token_types) else []
        names = model_input_names
        if names is None:
            names = ["input_ids", *types, "attention_mask"]
        backend.no_padding()
        backend.no_truncation()
        self.backend = backend
        self.special_tokens = special_tokens
        self.model_input_names = names
        self.padding_side = padding_side
        self.truncation_side = truncation_side
        self.model_max_length = model_max_length
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.split_special_tokens = split_special_tokens
        self.extra_special_tokens = _check_names("extra_special_tokens", extra_special_tokens)
        if not isinstance(name_or_path, str):
            raise InputError.wanted("name_or_path", "a text", name_or_path)
        self.name_or_path = name_or_path
        self._warned = False

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """What the tokenizer was made with: special tokens by role, settings and `name_or_path`."""
        settings = {name: getattr(self, name) for name in (*_FIELDS, "name_or_path")}
        return {**self.special_tokens_map, **settings}

    @property
    def token_types(self) -> bool:
        """Whether the model is given the token types of a pair."""
        return "token_type_ids" in self.model_input_names

    @classmethod
    @with_names(ConfigError, pretrained_model_name_or_path="source", use_auth_token="token")
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        cache_dir: str | os.PathLike[str] | None = None,
        token: str | bool | None = None,
        use_fast: bool = True,
        **fields: Any,
    ) -> Tokenizer:
        """Read a folder's tokenizer, or a hub repository's, without its weights.

        Args:
            source: a folder with tokenizer.json, vocab.json and merges.txt, or vocab.txt; or a hub
                id. What its files mean: `yosort.tokenizer.files`.
            revision: a branch, tag or commit of the hub repository.
            local_files_only: use only what the hub's cache holds.
            cache_dir: a cache other than huggingface_hub's own.
            token: an access token of the hub.
            use_fast: as in transformers; there is no slow tokenizer.
            fields: in the place of what the files say: `padding_side`, `truncation_side`,
                `model_max_length`, `model_input_names`, `split_special_tokens`,
                `clean_up_tokenization_spaces`, or a special token such as `pad_token`.

        Raises:
            CheckpointError: the folder holds no tokenizer, or one that cannot be read.
            ConfigError: a field that is none.
            InputError: a field's value that it cannot have.
        """
        if not check_flag("use_fast", use_fast, ConfigError):
            raise ConfigError("use_fast: wanted True, for there is no slow tokenizer here")
        for name in _WITHOUT_EFFECT:
            fields.pop(name, None)
        fields = drop_unset(fields, TOKENIZER_LOADING, ConfigError)
        refuse_unknown(fields, (*_FIELDS, *ROLES, "use_fast"), ConfigError)
        where = resolve(
            source,
            revision=revision,
            local_files_only=local_files_only,
            cache_dir=cache_dir,
            token=token,
            weights=False,
        )
        files = read_tokenizer(where)
        facts = {f.name: getattr(files, f.name) for f in dataclass_fields(files)}
        facts |= {name: value for name, value in fields.items() if name in _FIELDS}
        made = cls(**facts, name_or_path=os.fspath(source))
        for role in ROLES:
            if role in fields:
                setattr(made, role, fields[role])
        return made

    def __call__(
        self,
        text: Any,
        text_pair: Any = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        split_special_tokens: bool | None = None,
        verbose: bool = True,
        **unknown: Any,
    ) -> BatchEncoding:
        """Tokenize a text, a pair, or a list of them, for a model's call.

        Args:
            text: a text or a list of texts, of which each may be a pair; with
                `is_split_into_words` a list of words or a list of such lists.
            text_pair: the second text of a pair, or the list of them.
            add_special_tokens: whether `<s>`, `[CLS]` and their kind are put around.
            padding: True or "longest": to the longest of these texts; "max_length": to
                `max_length`; False or "do_not_pad".
            truncation: True or "longest_first", "only_first", "only_second": what of a pair is cut
                to `max_length`; False or "do_not_truncate". None: whether `max_length` is given
                without padding.
            max_length: in tokens, special ones included; None: `model_max_length`.
            stride: the tokens that windows share, with `return_overflowing_tokens`.
            is_split_into_words: whether texts are lists of words.
            pad_to_multiple_of: rounds up the length that texts are padded to.
            padding_side: "right" or "left"; None: the tokenizer's.
            truncation_side: "right" or "left"; None: the tokenizer's.
            return_tensors: "np" or "cp": arrays of NumPy or CuPy, int64 [texts, n] (offsets
                [texts, n, 2]); None: lists, of one text its own.
            return_token_type_ids: None: where `model_input_names` has them.
            return_attention_mask: None: where `model_input_names` has it.
            return_overflowing_tokens: whether what is cut off follows as further windows;
                `overflow_to_sample_mapping` says of which text a window is.
            return_special_tokens_mask: whether to say which tokens were added.
            return_offsets_mapping: whether to say which characters a token stands for.
            return_length: whether to say how many tokens a text has.
            split_special_tokens: whether `<s>` in a text is text; None: the tokenizer's.
            verbose: whether to warn, once, of a text longer than `model_max_length`.
            unknown: refused, with the nearest name that is known.

        Returns:
            `input_ids` and what else was asked for, by key and by attribute.

        Raises:
            InputError: texts, options or combinations that cannot be; a text of lone surrogates;
                return_tensors of texts that differ in length, without padding.
            DeviceError: return_tensors="cp" where there is no GPU.
        """
        refuse_unknown(drop_unset(unknown, TOKENIZER_CALLS, InputError), _OPTIONS)
        flags = {
            "add_special_tokens": add_special_tokens,
            "is_split_into_words": is_split_into_words,
            "return_overflowing_tokens": return_overflowing_tokens,
            "return_special_tokens_mask": return_special_tokens_mask,
            "return_offsets_mapping": return_offsets_mapping,
            "return_length": return_length,
            "verbose": verbose,
        }
        asked = {name: check_flag(name, value) for name, value in flags.items()}
        names = self.model_input_names
        types, mask, split = (
            check_flag(name, value, unset=unset)
            for name, value, unset in (
                ("return_token_type_ids", return_token_type_ids, "token_type_ids" in names),
                ("return_attention_mask", return_attention_mask, "attention_mask" in names),
                ("split_special_tokens", split_special_tokens, self.split_special_tokens),
            )
        )
        kind = check_tensors(return_tensors)
        filled, cut, limit = read_lengths(
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            stride=stride,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=self.padding_side if padding_side is None else padding_side,
            truncation_side=self.truncation_side if truncation_side is None else truncation_side,
            model_max_length=self.model_max_length,
        )
        samples, several = read_samples(text, text_pair, words=asked["is_split_into_words"])
        special, rest = asked["add_special_tokens"], asked["return_overflowing_tokens"]
        encodings = encode(self.backend, samples, cut, special=special, split=split, rest=rest)
        if filled is not None:
            pad(encodings, filled, self.id_of("pad_token"), self.special_tokens["pad_token"])
        rows = [(i, Encoding(encoding)) for i, encoding in enumerate(encodings)]
        if rest:
            rows = [(i, each) for i, first in rows for each in (first, *first.overflowing)]
        windows = [encoding for _, encoding in rows]
        if limit is None and asked["verbose"]:
            self._warn_of_long(windows)
        data: dict[str, list[Any]] = {"input_ids": [e.ids for e in windows]}
        if types:
            data["token_type_ids"] = [e.type_ids for e in windows]
        if mask:
            data["attention_mask"] = [e.attention_mask for e in windows]
        if asked["return_special_tokens_mask"]:
            data["special_tokens_mask"] = [e.special_tokens_mask for e in windows]
        if asked["return_offsets_mapping"]:
            data["offset_mapping"] = [e.offsets for e in windows]
        if asked["return_length"]:
            data["length"] = [len(e.ids) for e in windows]
        if rest:
            data["overflow_to_sample_mapping"] = [i for i, _ in rows]
        elif kind is None and not several:
            data = {k: v[0] if isinstance(v[0], list) else v for k, v in data.items()}
        if kind is not None:
            return BatchEncoding(as_arrays(data, kind), windows)
        return BatchEncoding(data, windows)

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Fill encoded texts up to one length, as a data collator does.

        Args:
            encoded_inputs: what calls returned: a list of them, or one of a text or of several;
                anything by key will do that has lists or arrays of ids, [n] or [texts, n], under
                "input_ids". What is no property of tokens, such as labels, stays as it is.
            padding: as in a call, like max_length, pad_to_multiple_of and padding_side.
            max_length: see above.
            pad_to_multiple_of: see above.
            padding_side: see above.
            return_attention_mask: None: where `model_input_names` has it.
            return_tensors: "np" or "cp"; None: lists, or NumPy's arrays if such came.
            verbose: taken, and without effect.

        Raises:
            InputError: no ids, texts that differ in their keys, or options that cannot be; with
                return_tensors, other things than numbers or of several lengths.
            DeviceError: return_tensors="cp" where there is no GPU.
        """
        check_flag("verbose", verbose)
        mask = check_flag(
            "return_attention_mask",
            return_attention_mask,
            unset="attention_mask" in self.model_input_names,
        )
        how, _, _ = read_lengths(
            padding=padding,
            truncation=False,
            max_length=max_length,
            stride=0,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=self.padding_side if padding_side is None else padding_side,
            truncation_side=self.truncation_side,
            model_max_length=self.model_max_length,
        )
        kind = check_tensors(return_tensors)
        pad_id = 0 if how is None else self.id_of("pad_token")
        return BatchEncoding(pad_rows(encoded_inputs, how, pad_id, mask=mask, kind=kind))

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> Any:
        """Return the `input_ids` of a call with these options.

        Args:
            text: as in a call.
            text_pair: as in a call.
            options: of a call.

        Returns:
            A list of ids, for several texts one each; with return_tensors int64 [texts, n].

        Raises:
            InputError: as a call, like DeviceError.
        """
        return self(text, text_pair, **options)["input_ids"]

    def tokenize(
        self, text: Any, pair: Any = None, add_special_tokens: bool = False, **options: Any
    ) -> list[str]:
        """Return the tokens of a text, or of the first of a list, as the vocabulary spells them.

        Args:
            text: as in a call.
            pair: the second text.
            add_special_tokens: whether `<s>`, `[CLS]` and their kind are put around.
            options: of a call.

        Raises:
            InputError: as a call, like DeviceError.
        """
        return self(text, pair, add_special_tokens=add_special_tokens, **options).tokens()

    def encoding(
        self,
        text: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        *,
        add_special_tokens: bool = True,
        max_tokens: int | None = None,
        stride: int = 0,
        strategy: str = "longest_first",
    ) -> Encoding:
        """Tokenize one text, a pair of texts, or a list of words.

        Args:
            text: a text or a list of words.
            pair: the second text; "" is one.
            add_special_tokens: whether `<s>`, `[CLS]` and their kind are put around.
            max_tokens: where to cut, special tokens included; `overflowing` are the windows that
                follow, which overlap by `stride` tokens.
            stride: how many tokens windows share.
            strategy: what of a pair is cut: "longest_first", "only_first" or "only_second".

        Raises:
            InputError: no text, or one that is no Unicode, as bytes read in a wrong encoding leave
                it; windows of max_tokens that would not advance, since they overlap by stride.
        """
        sample = _one(text, pair)
        special = check_flag("add_special_tokens", add_special_tokens)
        cut = None
        check_count("stride", stride, least=0)
        check_choice("strategy", strategy, STRATEGIES)
        if max_tokens is not None:
            length = check_count("max_tokens", max_tokens)
            cut = Cut(length, int(stride), strategy, self.truncation_side)
        split = self.split_special_tokens
        (encoding,) = encode(self.backend, [sample], cut, special=special, split=split, rest=True)
        return Encoding(encoding)

    def leading(
        self,
        text: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        *,
        max_tokens: int,
        strategy: str = "longest_first",
    ) -> tuple[Any, Any]:
        """Return as much of a text, or pair, as cutting it to `max_tokens` needs.

        A part that comes back shorter has more tokens than `max_tokens`, and what `encoding` keeps
        of it is what it keeps of the whole. With truncation_side "left" the whole comes back.

        Args:
            text: a text or a list of words.
            pair: the second text.
            max_tokens: where it is cut, special tokens included.
            strategy: what of a pair is cut.

        Raises:
            InputError: as `encoding`.
        """
        sample = _one(text, pair)
        check_choice("strategy", strategy, STRATEGIES)
        cut = Cut(check_count("max_tokens", max_tokens), 0, strategy, self.truncation_side)
        backend = configured(self.backend, None, split=self.split_special_tokens)
        with refusals():
            short = enough(backend, sample, cut, special=True)
        return short.text, short.pair

    @property
    def is_fast(self) -> bool:
        """True: the work is the tokenizers library's."""
        return True

    @property
    def backend_tokenizer(self) -> tokenizers.Tokenizer:
        """The `tokenizers.Tokenizer` underneath: transformers' name of `backend`."""
        return self.backend

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return how many special tokens are put around a text, or a pair.

        Raises:
            InputError: pair is neither True nor False.
        """
        return int(self.backend.num_special_tokens_to_add(check_flag("pair", pair)))

    @property
    def max_len_single_sentence(self) -> int:
        """How many tokens of a text `model_max_length` leaves room for."""
        return int(self.model_max_length) - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """How many tokens of a pair `model_max_length` leaves room for."""
        return int(self.model_max_length) - self.num_special_tokens_to_add(pair=True)

    @with_names(ConfigError, save_directory="folder")
    def save_pretrained(self, folder: str | os.PathLike[str], **options: Any) -> tuple[str, ...]:
        """Write tokenizer.json and tokenizer_config.json, which transformers reads too.

        Args:
            folder: where to; it is made if need be.
            options: of transformers' that ask for nothing else, such as `push_to_hub=False`.

        Returns:
            The paths of the files.

        Raises:
            CheckpointError: the folder cannot be made or written.
            ConfigError: an option that asks for something else.
        """
        check_saving(options, ("folder",), ConfigError)
        target = check_path("folder", folder)
        facts = {
            **self.special_tokens_map,
            **{name: getattr(self, name) for name in _FIELDS},
            "extra_special_tokens": self.extra_special_tokens,
            "tokenizer_class": "PreTrainedTokenizerFast",
        }
        files = {
            "tokenizer.json": self.backend.to_str(pretty=True),
            "tokenizer_config.json": json.dumps(facts, indent=2, ensure_ascii=False) + "\n",
        }
        try:
            target.mkdir(parents=True, exist_ok=True)
            with replace_files(target) as new:
                for name, text in files.items():
                    (new / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CheckpointError(f"{target}: cannot be written: {error}") from error
        return tuple(str(target / name) for name in files)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, "
            f"vocab_size={self.vocab_size}, model_max_length={self.model_max_length}, "
            f"padding_side={self.padding_side!r}, truncation_side={self.truncation_side!r}, "
            f"special_tokens={self.special_tokens_map})"
        )

    def _warn_of_long(self, encodings: Sequence[Encoding]) -> None:
        longest = max(len(encoding) for encoding in encodings)
        if longest > self.model_max_length and not self._warned:
            self._warned = True
            _log.warning(
                "a text of %d tokens is longer than model_max_length, %d; truncation=True cuts it",
                longest,
                self.model_max_length,
            )


#: Calls also understand what only they are given.
_OPTIONS = tuple(
    name
    for name, p in inspect.signature(Tokenizer.__call__).parameters.items()
    if p.kind is p.KEYWORD_ONLY
)


def _one(text: Any, pair: Any) -> Sample:
    words = isinstance(text, (list, tuple))
    for part in (text,) if pair is None else (text, pair):
        if not (are_texts(part) if words else isinstance(part, str)):
            raise InputError(f"wanted a text, or a list of words, got {show(part)}")
    return Sample(text, pair)
