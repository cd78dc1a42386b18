"""Text -> ids and back, called as transformers' fast tokenizers are; the work is the library's."""

from __future__ import annotations

import inspect
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import fields as dataclass_fields
from typing import Any

from yosort.arguments import (
    check_flag,
    check_path,
    checks_calls,
    drop_idle,
    drop_unset,
    with_names,
)
from yosort.checkpoint.hub import resolve
from yosort.elsewhere import TOKENIZER_CALLS, TOKENIZER_LOADING, TOKENIZER_WITHOUT_EFFECT
from yosort.errors import CheckpointError, ConfigError, InputError
from yosort.replacing import replace_files
from yosort.saving import check_saving, make_folder
from yosort.tokenizer.arguments import (
    check_tensors,
    read_lengths,
    read_samples,
    refuse_unknown,
)
from yosort.tokenizer.backend import encode, pad
from yosort.tokenizer.encodings import BatchEncoding, Encoding, as_arrays
from yosort.tokenizer.files import FLAGS, read_tokenizer
from yosort.tokenizer.one_text import OneText
from yosort.tokenizer.padding import pad_rows
from yosort.tokenizer.settings import FIELDS
from yosort.tokenizer.vocabulary import ROLES

_log = logging.getLogger("yosort")
_LIMIT = "model_max_length"


@checks_calls(InputError)
class Tokenizer(OneText):
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
            use_fast: as in transformers; False changes nothing, for there is no slow tokenizer.
            fields: in the place of what the files say: `padding_side`, `truncation_side`,
                `model_max_length`, `model_input_names`, `split_special_tokens`,
                `clean_up_tokenization_spaces`, or a special token such as `pad_token`; None: as
                the files say, but `model_max_length=None` is no limit.

        Raises:
            CheckpointError: the folder holds no tokenizer, or one that cannot be read.
            ConfigError: a field that is none.
            InputError: a field's value that it cannot have.
        """
        fields["use_fast"] = check_flag("use_fast", use_fast, ConfigError, unset=True)
        fields = drop_idle(fields, TOKENIZER_WITHOUT_EFFECT)
        fields = drop_unset(fields, TOKENIZER_LOADING, ConfigError)
        # None is "not given", but of model_max_length, of which it is "no limit".
        for name in [n for n, value in fields.items() if value is None]:
            if name in TOKENIZER_CALLS or (name in (*FIELDS, *ROLES) and name != _LIMIT):
                del fields[name]
        refuse_unknown(fields, (*FIELDS, *ROLES, "use_fast"), ConfigError)
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
        facts |= {name: value for name, value in fields.items() if name in FIELDS}
        made = cls(**facts, name_or_path=os.fspath(source))
        if files.model_max_length is not None:
            made._length_of_files = files.model_max_length
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
            **{name: getattr(self, name) for name in FIELDS},
            "extra_special_tokens": self.extra_special_tokens,
            # Where it is there, nobody reads what an older tokenizer has left in the folder:
            # special_tokens_map.json and added_tokens.json.
            "added_tokens_decoder": {
                str(index): {name: getattr(token, name) for name in ("content", *FLAGS)}
                for index, token in self.backend.get_added_tokens_decoder().items()
            },
            "tokenizer_class": "PreTrainedTokenizerFast",
        }
        files = {
            "tokenizer.json": self.backend.to_str(pretty=True),
            "tokenizer_config.json": json.dumps(facts, indent=2, ensure_ascii=False) + "\n",
        }
        make_folder(target, CheckpointError)
        try:
            with replace_files(target) as new:
                for name, text in files.items():
                    (new / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CheckpointError(f"{target}: cannot be written: {error}") from error
        return tuple(str(target / name) for name in files)

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
