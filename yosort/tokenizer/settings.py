"""A tokenizer's settings: attributes whose values are checked wherever they are set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tokenizers

from yosort.arguments import (
    are_texts,
    check_choice,
    check_count,
    check_flag,
    checks_calls,
    with_names,
)
from yosort.errors import InputError
from yosort.tokenizer.arguments import SIDES, UNLIMITED
from yosort.tokenizer.vocabulary import Vocabulary

#: What from_pretrained may say otherwise than the files.
FIELDS = (
    "clean_up_tokenization_spaces",
    "model_input_names",
    "model_max_length",
    "padding_side",
    "split_special_tokens",
    "truncation_side",
)


def _setting(name: str, check: Callable[[str, Any], Any], doc: str) -> Any:
    """Return an attribute whose value is checked wherever it is set."""

    def get(self: Settings) -> Any:
        return vars(self)[name]

    def put(self: Settings, value: Any) -> None:
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
class Settings(Vocabulary):
    """What a tokenizer was made with; see `Tokenizer`."""

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
        self._length_of_files = UNLIMITED
        self._warned = False

    @property
    def chosen_max_length(self) -> int | None:
        """`model_max_length` where it was set, and is not only what the files say; else None."""
        return None if self.model_max_length == self._length_of_files else self.model_max_length

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """What the tokenizer was made with: special tokens by role, settings and `name_or_path`."""
        settings = {name: getattr(self, name) for name in (*FIELDS, "name_or_path")}
        return {**self.special_tokens_map, **settings}

    @property
    def token_types(self) -> bool:
        """Whether the model is given the token types of a pair."""
        return "token_type_ids" in self.model_input_names

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

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, "
            f"vocab_size={self.vocab_size}, model_max_length={self.model_max_length}, "
            f"padding_side={self.padding_side!r}, truncation_side={self.truncation_side!r}, "
            f"special_tokens={self.special_tokens_map})"
        )
