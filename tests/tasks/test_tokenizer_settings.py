"""A tokenizer's settings, and what it gives for one text: by value."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizers

import yosort
from tasks.models import save_word_piece
from yosort import InputError, Tokenizer
from yosort.tasks import bundled_model

ROLES = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "mask_token": "<mask>"}


def backend() -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(bundled_model() / "tokenizer.json"))


def test_what_nobody_has_set() -> None:
    plain = Tokenizer(backend(), ROLES)
    assert plain.model_input_names == ["input_ids", "token_type_ids", "attention_mask"]
    assert (plain.padding_side, plain.truncation_side) == ("right", "right")
    assert plain.model_max_length == int(1e30)
    assert plain.clean_up_tokenization_spaces is plain.split_special_tokens is False
    assert plain.chosen_max_length is None
    assert plain.name_or_path == ""
    assert plain.token_types is plain.is_fast is True
    assert Tokenizer(backend(), ROLES, token_types=False).model_input_names == [
        "input_ids", "attention_mask",
    ]  # fmt: skip
    named = Tokenizer(backend(), ROLES, model_input_names=("input_ids",))
    assert (named.model_input_names, named.token_types) == (["input_ids"], False)


def test_settings_are_given_back() -> None:
    settings: dict[str, Any] = {
        "model_input_names": ["input_ids", "attention_mask"], "padding_side": "left",
        "truncation_side": "left", "model_max_length": 17, "clean_up_tokenization_spaces": True,
        "split_special_tokens": True, "name_or_path": "mine",
    }  # fmt: skip
    made = Tokenizer(backend(), ROLES, extra_special_tokens=["<x>"], **settings)
    assert {name: made.init_kwargs[name] for name in settings} == settings
    assert made.init_kwargs.items() >= ROLES.items()
    assert made.extra_special_tokens == ["<x>"]
    assert made.chosen_max_length == 17
    assert made.backend_tokenizer is made.backend
    assert (made.max_len_single_sentence, made.max_len_sentences_pair) == (15, 13)
    assert (made.num_special_tokens_to_add(), made.num_special_tokens_to_add(True)) == (2, 4)
    for part in ("name_or_path='mine'", f"vocab_size={made.vocab_size}", "model_max_length=17",
                 "padding_side='left'", "truncation_side='left'"):  # fmt: skip
        assert part in repr(made)
    made.model_max_length = None
    assert made.model_max_length == int(1e30)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("model_input_names", "input_ids", "a list of texts"),
        ("model_input_names", [1], "a list of texts"), ("padding_side", "middle", "one of right"),
        ("truncation_side", 1, "one of right"), ("model_max_length", 0, "an integer of at least 1"),
        ("model_max_length", 1.5, "an integer"), ("split_special_tokens", 1, "True or False"),
        ("clean_up_tokenization_spaces", "no", "True or False"),
    ],
)  # fmt: skip
def test_settings_are_checked_wherever_they_are_set(name: str, value: Any, wanted: str) -> None:
    made = Tokenizer(backend(), ROLES)
    before = getattr(made, name)
    with pytest.raises(InputError, match=f"{name}: wanted .*{wanted}"):
        Tokenizer(backend(), ROLES, **{name: value})
    with pytest.raises(InputError, match=f"{name}: wanted .*{wanted}"):
        setattr(made, name, value)
    assert getattr(made, name) == before


@pytest.mark.parametrize(
    ("arguments", "options", "name"),
    [
        ((None, ROLES), {}, "backend"), ((backend(), "<s>"), {}, "special_tokens"),
        ((backend(), {"cls_token": 1}), {}, "special_tokens"),
        ((backend(), ROLES), {"token_types": 1}, "token_types"),
        ((backend(), ROLES), {"extra_special_tokens": "<x>"}, "extra_special_tokens"),
        ((backend(), ROLES), {"name_or_path": 3}, "name_or_path"),
    ],
)  # fmt: skip
def test_what_makes_no_tokenizer(arguments: Any, options: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=rf"^{name}: wanted"):
        Tokenizer(*arguments, **options)


def test_stored_padding_and_truncation_of_a_backend_are_off() -> None:
    stored = backend()
    stored.enable_padding(length=9)
    stored.enable_truncation(4)
    assert len(Tokenizer(stored, ROLES)("a dog barks at a cat")["input_ids"]) > 4
    assert stored.padding is stored.truncation is None


def test_stored_padding_and_truncation_of_a_folder_are_off(tmp_path: Path) -> None:
    save_word_piece(tmp_path)
    stored = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert stored["padding"]
    assert stored["truncation"]
    backend = Tokenizer.from_pretrained(tmp_path).backend
    assert backend.padding is backend.truncation is None


def test_padding_and_truncation_that_are_set_on_a_backend_do_not_count() -> None:
    """As in transformers, where every call sets its own."""
    made = Tokenizer(backend(), ROLES)
    wanted = made(["a dog", "a dog barks at a cat"])["input_ids"]
    made.backend_tokenizer.enable_padding(length=9)
    made.backend_tokenizer.enable_truncation(4)
    assert made(["a dog", "a dog barks at a cat"])["input_ids"] == wanted
    assert made.encoding("a dog barks at a cat").ids == wanted[1]
    assert made.backend.truncation["max_length"] == 4  # it stays as it is


def test_a_text_a_pair_its_windows_and_its_words() -> None:
    made = yosort.Tokenizer.from_pretrained(bundled_model())
    ids = made.encoding("the dog barks at the cat", add_special_tokens=False).ids
    begin, end = made.cls_token_id, made.sep_token_id
    n = len(ids)
    assert made.encoding("the dog barks at the cat").ids == [begin, *ids, end]
    assert made.encoding(["the", "dog"]).ids[0] == begin
    cut = made.encoding("the dog barks at the cat", max_tokens=5, stride=1)
    assert cut.ids == [begin, *ids[:3], end]
    assert [w.ids for w in cut.overflowing] == [
        [begin, *ids[i : i + 3], end] for i in range(2, n - 1, 2)
    ]
    pair = made.encoding("the dog", "a cat barks", max_tokens=8, strategy="only_second")
    assert pair.ids[: 1 + len(made.encode("the dog", add_special_tokens=False))] == [
        begin, *made.encode("the dog", add_special_tokens=False),
    ]  # fmt: skip
    assert len(pair.ids) == 8
    made.truncation_side = "left"
    assert made.encoding("the dog barks at the cat", max_tokens=5).ids == [begin, *ids[-3:], end]
    long = "dog " * 5000
    assert made.leading(long, max_tokens=5) == (long, None)
    made.truncation_side = "right"
    assert made.leading("the dog", "a cat", max_tokens=99) == ("the dog", "a cat")
    short, none = made.leading(long, max_tokens=5)
    assert none is None
    assert long.startswith(short)
    assert 5 < len(short) < 500
    assert made.encoding(short, max_tokens=5).ids == made.encoding(long, max_tokens=5).ids


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3,), {}, "wanted a text, or a list of words, got 3"),
        ((["a", 3],), {}, "wanted a text, or a list of words"),
        (("a", 3), {}, "wanted a text, or a list of words, got 3"),
        (("a", ["b"]), {}, "wanted a text, or a list of words"),
        ((["a"], "b"), {}, "wanted a text, or a list of words"),
        (("a",), {"stride": -1}, "stride: wanted"), (("a",), {"max_tokens": 0}, "max_tokens: want"),
        (("a",), {"strategy": "longest"}, "strategy: wanted"),
        (("a",), {"add_special_tokens": 1}, "add_special_tokens: wanted True or False"),
    ],
)  # fmt: skip
def test_what_is_no_text_or_option(arguments: Any, options: dict[str, Any], message: str) -> None:
    made = yosort.Tokenizer.from_pretrained(bundled_model())
    with pytest.raises(InputError, match=message):
        made.encoding(*arguments, **options)
    if not {"stride", "add_special_tokens"} & options.keys():
        with pytest.raises(InputError, match=message):
            made.leading(*arguments, **{"max_tokens": 5, **options})


def test_what_is_saved_is_read_back_whatever_lies_there(tmp_path: Path) -> None:
    """Older files of special and added tokens do not come back over what was written."""
    shutil.copytree(bundled_model(), tmp_path / "copy")
    changed = Tokenizer.from_pretrained(tmp_path / "copy")
    changed.pad_token, changed.mask_token = "</s>", None
    changed.save_pretrained(tmp_path / "copy")
    save_word_piece(tmp_path / "small")
    small = Tokenizer.from_pretrained(tmp_path / "small")
    (tmp_path / "other").mkdir()
    roles = {**ROLES, "additional_special_tokens": ["<odd>"]}
    (tmp_path / "other/special_tokens_map.json").write_text(json.dumps(roles))
    (tmp_path / "other/added_tokens.json").write_text(json.dumps({"<new>": len(small)}))
    small.save_pretrained(tmp_path / "other")
    for saved, folder in ((changed, "copy"), (small, "other")):
        again = Tokenizer.from_pretrained(tmp_path / folder)
        assert again.special_tokens_map == saved.special_tokens_map
        assert (len(again), again.pad_token_id) == (len(saved), saved.pad_token_id)
        text = "Paris <mask> [MASK] <pad> [PAD] <odd> <new> the fox"
        assert again(text).input_ids == saved(text).input_ids
        assert again.backend.to_str() == saved.backend.to_str()
