"""What a tokenizer's call returns, token by token; and what loading may say otherwise."""

from __future__ import annotations

import copy
import logging
import pickle
from pathlib import Path

import pytest

import yosort
from tasks.models import save_unigram, save_word_piece
from yosort.tokenizer.encodings import BatchEncoding

# In save_word_piece's vocabulary: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4.


@pytest.fixture
def piece(tmp_path: Path) -> yosort.Tokenizer:
    save_word_piece(tmp_path)
    return yosort.Tokenizer.from_pretrained(tmp_path)


def ids(tokenizer: yosort.Tokenizer, *tokens: str) -> list[int]:
    found: list[int] = tokenizer.convert_tokens_to_ids(tokens)
    assert 1 not in found
    return found


def test_one_text_gives_lists_of_its_own(piece: yosort.Tokenizer) -> None:
    batch = piece("the fox", "the dog")
    wanted = ids(piece, "[CLS]", "the", "fox", "[SEP]", "the", "dog", "[SEP]")
    assert list(batch) == ["input_ids", "token_type_ids", "attention_mask"]
    assert batch["input_ids"] == batch.input_ids == wanted
    assert batch["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
    assert batch["attention_mask"] == [1] * 7
    assert batch.tokens() == ["[CLS]", "the", "fox", "[SEP]", "the", "dog", "[SEP]"]
    assert batch.sequence_ids() == [None, 0, 0, None, 1, 1, None]
    assert batch.word_ids() == [None, 0, 1, None, 0, 1, None]
    assert batch.char_to_token(4) == 2
    assert batch.char_to_token(0, 4, sequence_index=1) == 5
    assert batch.token_to_chars(2) == (4, 7)
    assert batch.token_to_chars(-2).start == 4
    assert batch.word_to_chars(1) == (4, 7)
    assert batch.word_to_tokens(1) == (2, 3)
    assert batch.token_to_sequence(5) == 1
    assert batch.token_to_word(0) is None
    assert (batch.n_sequences, batch.is_fast, batch.to("cpu") is batch) == (2, True, True)
    assert piece.decode(batch.input_ids) == "[CLS] the fox [SEP] the dog [SEP]"
    assert piece.decode(batch.input_ids, skip_special_tokens=True) == "the fox the dog"


def test_windows_say_of_which_text_they_are(piece: yosort.Tokenizer) -> None:
    batch = piece(
        ["the fox the dog", "the"], max_length=4, stride=1, return_overflowing_tokens=True,
        return_offsets_mapping=True, return_length=True, return_special_tokens_mask=True,
    )  # fmt: skip
    assert batch.overflow_to_sample_mapping == [0, 0, 0, 1]
    assert batch.offset_mapping[1] == [(0, 0), (4, 7), (8, 11), (0, 0)]
    assert batch.length == [4, 4, 4, 3]
    assert batch.special_tokens_mask[0] == [1, 0, 0, 1]
    assert batch.tokens(2) == ["[CLS]", "the", "dog", "[SEP]"]


def test_words_keep_their_numbers(piece: yosort.Tokenizer) -> None:
    one = piece(["the", "foxfox"], is_split_into_words=True)
    assert one.word_ids()[:2] == [None, 0]
    assert set(one.word_ids()[2:-1]) == {1}
    both = piece([["the"], ["a", "dog"]], [["fox"], ["b"]], is_split_into_words=True)
    assert len(both.input_ids) == 2
    assert both.n_sequences == 2


def test_padding_needs_a_token_for_it(piece: yosort.Tokenizer) -> None:
    piece.pad_token = None
    with pytest.raises(yosort.InputError, match="no 'pad_token'"):
        piece(["a", "the fox"], padding=True)
    with pytest.raises(yosort.InputError, match="wanted a token of the vocabulary"):
        piece.pad_token = "[NOT THERE]"
    piece.pad_token = piece.sep_token
    assert piece("the", padding="max_length", max_length=4).input_ids[-1] == piece.sep_token_id == 3


def test_a_text_past_the_limit_is_warned_of_once(
    piece: yosort.Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    assert piece.model_max_length == 64
    with caplog.at_level(logging.WARNING, logger="yosort"):
        for _ in range(2):
            assert len(piece("the fox " * 40).input_ids) == 82
    assert [record.getMessage().startswith("a text of 82 tokens") for record in caplog.records] == [
        True
    ]
    assert len(piece("the fox " * 40, truncation=True).input_ids) == 64


def test_tokenizers_and_batches_pickle(piece: yosort.Tokenizer) -> None:
    batch = piece(["the fox", "dog"], max_length=3)
    for tokenizer in (pickle.loads(pickle.dumps(piece)), copy.deepcopy(piece)):
        assert tokenizer(["the fox", "dog"], max_length=3) == batch
        assert repr(tokenizer) == repr(piece)
    again = pickle.loads(pickle.dumps(batch))
    assert again == batch
    assert again.word_ids(1) == batch.word_ids(1)
    with pytest.raises(AttributeError, match="labels"):
        _ = again.labels
    with pytest.raises(yosort.InputError, match="without encodings"):
        BatchEncoding({"input_ids": [1]}).tokens()


def test_options_of_loading_replace_the_files(tmp_path: Path) -> None:
    save_unigram(tmp_path)
    assert yosort.Tokenizer.from_pretrained(tmp_path).padding_side == "right"
    changed = yosort.Tokenizer.from_pretrained(
        tmp_path, padding_side="left", model_max_length=5, pad_token="</s>"
    )
    assert (changed.padding_side, changed.pad_token_id) == ("left", 2)
    assert len(changed("the quick fox", truncation=True).input_ids) == 5
    with pytest.raises(yosort.ConfigError, match=r"model_max_lenght.*model_max_length"):
        yosort.Tokenizer.from_pretrained(tmp_path, model_max_lenght=5)
    assert repr(changed).startswith(f"Tokenizer(name_or_path={str(tmp_path)!r}, ")


def test_an_encoding_makes_its_lists_once(piece: yosort.Tokenizer) -> None:
    encoding = piece.encoding("the fox", "dog")
    for name in ("ids", "tokens", "offsets", "word_ids", "sequence_ids", "special_tokens_mask"):
        assert getattr(encoding, name) is getattr(encoding, name)


def test_settings_are_checked_when_they_are_set(piece: yosort.Tokenizer) -> None:
    piece.padding_side = "LEFT"
    assert piece(["a", "the fox"], padding=True).input_ids[0][0] == piece.pad_token_id
    for name, value in (
        ("padding_side", "up"), ("truncation_side", None), ("model_max_length", "long"),
        ("model_input_names", "input_ids"), ("split_special_tokens", 1),
    ):  # fmt: skip
        with pytest.raises(yosort.InputError, match=f"{name}: wanted"):
            setattr(piece, name, value)
    assert pickle.loads(pickle.dumps(piece)).padding_side == "left"
    piece.model_max_length = None
    assert piece.model_max_length == int(1e30)
    assert piece.init_kwargs["padding_side"] == "left"
    assert piece.init_kwargs["mask_token"] == "[MASK]"


def test_special_tokens_by_their_ids(piece: yosort.Tokenizer) -> None:
    piece.pad_token_id = 3
    assert (piece.pad_token, piece.pad_token_id) == ("[SEP]", 3)
    assert piece(["a", "the fox"], padding=True).input_ids[0][-1] == 3
    piece.pad_token_id = None
    assert piece.pad_token is None
    for wrong in (10**6, "[PAD]", -1):
        with pytest.raises(yosort.InputError, match="pad_token_id: wanted the id of a token, got"):
            piece.pad_token_id = wrong
    assert piece.get_special_tokens_mask([2, 7, 3], already_has_special_tokens=True) == [1, 0, 1]
    with pytest.raises(yosort.InputError, match="return_special_tokens_mask=True"):
        piece.get_special_tokens_mask([7])


def test_a_text_that_is_not_there_is_no_other_one(piece: yosort.Tokenizer) -> None:
    batch = piece(["the fox", "the dog"])
    assert batch.word_to_tokens(0, 1) == (2, 3)
    assert batch.word_to_tokens(0, 99) is None
    assert batch.char_to_token(0, 99) is None
    assert batch.token_to_chars(0, 99) is None
    for name in ("word_to_tokens", "word_to_chars", "char_to_token", "char_to_word"):
        with pytest.raises(
            yosort.InputError, match=r"sequence_index: wanted .* from 0 to 0, got 1"
        ):
            getattr(batch, name)(0, 0, 1)
        with pytest.raises(yosort.InputError, match=r"batch_index: wanted .* from 0 to 1, got 2"):
            getattr(batch, name)(2, 0)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("add_prefix_space", "save the tokenizer so with transformers"),
        ("do_lower_case", "save the tokenizer so with transformers"),
        ("additional_special_tokens", "save the tokenizer so with transformers"),
        ("from_slow", "there is no slow tokenizer here"),
        ("use_slow", r"no such option; did you mean use_fast\?"),
    ],
)
def test_what_loading_does_not_take(tmp_path: Path, field: str, message: str) -> None:
    save_word_piece(tmp_path)
    with pytest.raises(yosort.ConfigError, match=f"^{field}: .*{message}"):
        yosort.AutoTokenizer.from_pretrained(tmp_path, **{field: True})
    usual = {"from_slow": False, "legacy": False, "trust_remote_code": True, "use_fast": True}
    assert yosort.AutoTokenizer.from_pretrained(tmp_path, **usual).vocab_size


def test_what_decode_does_not_take(piece: yosort.Tokenizer) -> None:
    with pytest.raises(yosort.InputError, match="the tokenizer's decoder says where spaces stand"):
        piece.decode([7], spaces_between_special_tokens=True)  # type: ignore[call-arg]
