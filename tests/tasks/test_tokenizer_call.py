"""The tokenizer's call: expected values, refusals, threads, and what of a long text is read."""

from __future__ import annotations

import copy
import json
import pickle
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples
from tokenizers import AddedToken

import yosort
from tasks.models import save_unigram, save_word_piece
from yosort import CheckpointError, ConfigError, InputError, Tokenizer
from yosort.tasks import bundled_model
from yosort.tokenizer.backend import refusals
from yosort.tokenizer.leading import leading

KINDS = ("byte_level", "word_piece", "unigram")


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    """One of each kind."""
    root = tmp_path_factory.mktemp("tokenizers")
    save_word_piece(root / "word_piece")
    save_unigram(root / "unigram")
    return {
        "byte_level": Tokenizer.from_pretrained(bundled_model()),
        **{kind: Tokenizer.from_pretrained(root / kind) for kind in ("word_piece", "unigram")},
    }


def test_a_call_and_what_a_model_makes_of_it() -> None:
    tokenizer = Tokenizer.from_pretrained(bundled_model())
    model = yosort.load(bundled_model(), device="cpu")
    inputs = tokenizer("A <mask> barks.", return_tensors="np")
    assert list(inputs) == ["input_ids", "attention_mask"]
    assert inputs.input_ids.dtype == np.int64
    assert inputs["input_ids"].tolist() == [tokenizer.encode("A <mask> barks.")]
    logits: Any = model(**inputs).logits
    place = int(np.flatnonzero(inputs.input_ids[0] == tokenizer.mask_token_id)[0])
    assert (
        tokenizer.decode(logits[0, place].argmax())
        == yosort.pipeline("fill-mask")("A <mask> barks.", top_k=1)[0]["token_str"]
    )
    assert type(model.tokenizer) is yosort.AutoTokenizer


def test_padding_and_truncation(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["word_piece"]
    fox = tokenizer("the fox").input_ids
    assert fox == [2, *tokenizer.convert_tokens_to_ids(["the", "fox"]), 3]
    padded = tokenizer(["the fox", "the"], padding=True)
    assert padded.input_ids == [fox, [fox[0], fox[1], 3, 0]]
    assert padded.attention_mask == [[1, 1, 1, 1], [1, 1, 1, 0]]
    left = tokenizer(["the fox", "the"], padding=True, padding_side="left")
    assert left.attention_mask == [[1, 1, 1, 1], [0, 1, 1, 1]]
    assert tokenizer(["the fox", "the"], padding=True, padding_side="LEFT") == left
    cut = {"max_length": 4, "truncation": True}
    sides = [tokenizer("the quick fox", **cut, truncation_side=side) for side in ("left", "LEFT")]
    assert sides[0] == sides[1]
    assert tokenizer("the quick fox", max_length=4, truncation=True).input_ids == [
        2, *tokenizer.convert_tokens_to_ids(["the", "quick"]), 3,
    ]  # fmt: skip
    assert tokenizer("the quick fox", max_length=4, truncation_side="left").input_ids == [
        2, *tokenizer.convert_tokens_to_ids(["quick", "fox"]), 3,
    ]  # fmt: skip
    pair = tokenizer("the fox", "the dog", return_offsets_mapping=True)
    assert pair.token_type_ids == [0, 0, 0, 0, 1, 1, 1]
    assert pair.offset_mapping == [(0, 0), (0, 3), (4, 7), (0, 0), (0, 3), (4, 7), (0, 0)]
    assert pair.sequence_ids() == [None, 0, 0, None, 1, 1, None]
    windows = tokenizer(
        ["the quick brown fox"], max_length=4, truncation=True, stride=1,
        return_overflowing_tokens=True,
    )  # fmt: skip
    assert windows.overflow_to_sample_mapping == [0, 0, 0]
    assert [tokenizer.decode(row, skip_special_tokens=True) for row in windows.input_ids] == [
        "the quick", "quick brown", "brown fox",
    ]  # fmt: skip


def test_special_tokens_in_a_text() -> None:
    tokenizer = Tokenizer.from_pretrained(bundled_model())
    assert tokenizer.eos_token_id in tokenizer("a </s> b", add_special_tokens=False).input_ids
    split = tokenizer("a </s> b", add_special_tokens=False, split_special_tokens=True)
    assert tokenizer.eos_token_id not in split.input_ids
    assert tokenizer.decode(split.input_ids) == "a </s> b"
    always = Tokenizer.from_pretrained(bundled_model(), split_special_tokens=True)
    assert always.encode("a </s> b", add_special_tokens=False) == split.input_ids


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ((b"bytes",), {}, "text: wanted a text or a list of texts, got b'bytes'.*decode it"),
        (([b"bytes"],), {}, r"text\[0\]: wanted a text, got b'bytes'"),
        ((np.array(["a"]),), {}, r"text: wanted a text or a list of texts, .*list\(\.\.\.\) makes"),
        ((), {}, "wanted text, got nothing"),
        (("a", "b", "c"), {}, r"wanted at most 2 arguments without a name \(text, text_pair\)"),
        ((3,), {}, "text: wanted a text or a list of texts, got 3"),
        (([],), {}, "wanted at least one text"),
        ((["a", "b"], ["c"]), {}, "text_pair: wanted a list of 2 texts"),
        ((["a", 3],), {}, r"text\[1\]: wanted a text, got 3"),
        (("\ud800",), {}, "lone surrogates"),
        (("a",), {"return_tensors": "pt"}, "return_tensors: wanted .*torch.from_numpy"),
        (("a",), {"return_tensors": "xy"}, "return_tensors: wanted None, 'np' or 'cp'"),
        (("a",), {"max_len": 3}, r"max_len: no such option; did you mean max_length\?"),
        (("a",), {"padding": "long"}, "padding: wanted True, False or one of longest"),
        (("a",), {"truncation": "first"}, "truncation: wanted True, False or one of"),
        (("a",), {"max_length": -1}, "max_length: wanted an integer of at least 0"),
        (("a",), {"padding": 1}, "padding: wanted True, False"),
        (("a",), {"text_target": "b"}, "text_target: no such option; yosort's models are enc"),
        ((["a b c", "d"],), {"return_tensors": "np"}, "padding=True fills the short ones up"),
        (("a b",), {"is_split_into_words": True}, "wanted a list of words"),
    ],
)
def test_what_a_call_refuses(inputs: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Tokenizer.from_pretrained(bundled_model())(*inputs, **options)


def test_what_loading_refuses(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="wanted tokenizer"):
        Tokenizer.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="paddng_side: no such option; did you mean padding_side"):
        Tokenizer.from_pretrained(bundled_model(), paddng_side="left")


PIECES = st.lists(
    st.sampled_from(
        ["the", "quick", "fox", "a", " ", "  ", "\n", "é", "e\u0301", "<mask>", " <mask>",
         "😀", "-", "'s", "\u3000", "\t", "n't", "12", "x" * 30, "ｶ\uff9e", "\u200d", "</s> "]
    ) | st.text(max_size=3).filter(lambda s: not any("\ud800" <= c <= "\udfff" for c in s)),
    max_size=120,
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@examples(40, 150)
def test_the_beginning_that_is_read_has_the_tokens_that_are_kept(
    tokenizers: dict[str, Tokenizer], kind: str, examples: int
) -> None:
    backend = tokenizers[kind].backend

    @settings(max_examples=examples)
    @given(pieces=PIECES, spaced=st.booleans(), room=st.integers(1, 12))
    def holds(pieces: list[str], spaced: bool, room: int) -> None:
        text = (" " if spaced else "").join(pieces)
        part = _shortened(backend, text, room)
        whole = backend.encode(text, add_special_tokens=False)
        found = backend.encode(part, add_special_tokens=False)
        assert text.startswith(part)
        assert found.ids[:room] == whole.ids[:room]
        assert found.offsets[:room] == whole.offsets[:room]
        assert found.word_ids[:room] == whole.word_ids[:room]
        assert len(part) == len(text) or len(found.ids) > room

    holds()


def _shortened(backend: Any, text: str, room: int) -> str:
    """Call `leading` as on a long text, with a first try of a few letters."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("yosort.tokenizer.leading._LETTERS", 1)
        patched.setattr("yosort.tokenizer.leading._MORE", 2)
        return str(leading(backend, text, room))


def test_most_of_a_long_text_is_not_read(tokenizers: dict[str, Tokenizer]) -> None:
    text = "the quick brown fox " * 100_000
    for kind in KINDS:
        part, _ = tokenizers[kind].leading(text, max_tokens=512)
        assert len(part) < 20_000
        assert len(tokenizers[kind].encoding(part)) > 512
    strange = copy.deepcopy(tokenizers["byte_level"])
    strange.backend.add_tokens([AddedToken("fox the", normalized=False)])
    text = text[:100_000]
    part, _ = strange.leading(text, max_tokens=512)
    assert not part.endswith("fox")  # a token reaches across the place of a cut
    assert len(part) < 20_000
    assert strange.encode(part, max_length=512) == strange.encoding(text, max_tokens=512).ids


@pytest.mark.skipif(not hasattr(resource, "RUSAGE_SELF"), reason="no rusage")
def test_long_words_leave_memory_flat(tokenizers: dict[str, Tokenizer]) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc")
    tokenizer = tokenizers["byte_level"]
    for i in range(3):
        tokenizer.encode(f"{i}" + "q" * 50_000)
    before = resident()
    for i in range(60):
        tokenizer.encode(f"{i}" + "q" * 50_000)
    assert resident() - before < 30 << 20


def test_threads_do_not_see_each_other_s_settings(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["word_piece"]
    text = "the quick brown fox"
    lengths = [3, 4, 5, 6] * 50
    wanted = {n: tokenizer(text, truncation=True, max_length=n).input_ids for n in lengths}
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(
            lambda n: tokenizer(text, truncation=True, max_length=n).input_ids, lengths
        )
        assert list(found) == [wanted[n] for n in lengths]


@pytest.mark.parametrize("kind", KINDS)
def test_copies(tokenizers: dict[str, Tokenizer], kind: str, tmp_path: Path) -> None:
    tokenizer = tokenizers[kind]
    tokenizer.save_pretrained(tmp_path)
    for again in (
        copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer)),
        Tokenizer.from_pretrained(tmp_path),
    ):  # fmt: skip
        batch = again("the fox", "the dog", return_offsets_mapping=True)
        assert batch.data == tokenizer("the fox", "the dog", return_offsets_mapping=True).data
        assert again.special_tokens_map == tokenizer.special_tokens_map
        assert again.model_max_length == tokenizer.model_max_length
        assert pickle.loads(pickle.dumps(batch)).tokens() == batch.tokens()
    assert "vocab_size=" in repr(tokenizer)


def test_encodings_by_index_and_name(tokenizers: dict[str, Tokenizer]) -> None:
    batch = tokenizers["word_piece"](["the fox", "the dog"])
    assert len(batch) == len(batch.data) == 3
    assert batch[1].tokens == batch.tokens(1)
    assert batch.char_to_token(1, 4) == 2
    assert batch.token_to_chars(0, 2) == (4, 7)
    assert batch.word_to_tokens(0, 1) == (2, 3)
    assert batch.to("cpu") is batch
    assert {**batch}.keys() == batch.keys()
    for wrong in (lambda: batch["nothing"], lambda: batch[{}]):
        with pytest.raises(KeyError):
            wrong()
    with pytest.raises(AttributeError, match="nothing"):
        batch.nothing  # noqa: B018
    with pytest.raises(InputError, match="batch_index: wanted an integer from 0 to 1, got 2"):
        batch.tokens(2)


def test_what_stops_a_program_is_no_error_of_a_text() -> None:
    """Ctrl-C passes through; what the library raises, panics included, is an InputError."""
    panic = type("PanicException", (BaseException,), {})
    for error, wanted in [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (SystemExit(3), SystemExit),
        (MemoryError(), MemoryError),
        (TimeoutError("late"), TimeoutError),  # of a signal's handler, as task queues have them
        (Exception("no\nroom"), yosort.InputError),
        (ValueError("no\nroom"), yosort.InputError),
        (panic("no\nroom"), yosort.InputError),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "no"), yosort.InputError),
    ]:
        with pytest.raises(wanted) as caught, refusals():
            raise error
        assert (caught.value is error) == (wanted is not yosort.InputError)
        if str(error) == "no\nroom":
            assert str(caught.value) == "these texts cannot be cut so: no room"


@pytest.mark.parametrize("option", ["text_target", "text_pair_target", "max_target_length"])
def test_an_encoder_has_no_targets(tokenizers: dict[str, Tokenizer], option: str) -> None:
    tokenizer = next(iter(tokenizers.values()))
    with pytest.raises(yosort.InputError, match=f"{option}.*encoders, which have no target texts"):
        tokenizer("a", **{option: "b"})
    with pytest.raises(yosort.InputError, match="no_such_word"):
        tokenizer("a", no_such_word=1)


def test_what_is_cut_and_padded_is_a_multiple(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["word_piece"]
    both: dict[str, Any] = {"truncation": True, "padding": True, "pad_to_multiple_of": 4}
    assert [len(row) for row in tokenizer(["the fox", "the"], **both).input_ids] == [4, 4]
    assert len(tokenizer("the quick brown fox " * 9, max_length=8, **both).input_ids) == 8
    with pytest.raises(InputError, match=r"max_length: wanted a multiple of .* \(4\) .*, got 9"):
        tokenizer("the", max_length=9, **both)
    # Without one of the two there is nothing to agree.
    assert len(tokenizer("the", max_length=9, truncation=True, pad_to_multiple_of=4).input_ids) == 3
    padded = tokenizer("the", max_length=9, padding="max_length", pad_to_multiple_of=4).input_ids
    assert len(padded) == 12
    unlimited = Tokenizer(tokenizer.backend, dict(tokenizer.special_tokens))
    assert len(unlimited("the fox", **both).input_ids) == 4


@pytest.mark.parametrize(
    ("pair", "options", "least"),
    [
        (None, {"max_length": 1, "stride": 1, "add_special_tokens": False}, 1),
        ("d e", {"max_length": 7, "stride": 1}, 1),
        ("d e f g h", {"max_length": 8, "stride": 3}, 2),
        ("d", {"max_length": 7, "stride": 2}, 2),
        ("d e f g h", {"max_length": 8, "stride": 1, "truncation": "only_second"}, 1),
        ("d", {"max_length": 7, "stride": 2, "truncation": "only_first"}, 2),
    ],
)
def test_windows_that_would_not_advance(
    pair: str | None, options: dict[str, Any], least: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """The library panics of these, and prints so."""
    tokenizer = yosort.Tokenizer.from_pretrained(bundled_model())
    options = {"truncation": True, "return_overflowing_tokens": True, **options}
    with pytest.raises(InputError, match=f"stride: wanted less than the {least} tokens"):
        tokenizer("a b c", pair, **options)
    assert tokenizer("a b c", pair, **{**options, "stride": least - 1})["input_ids"]
    assert capfd.readouterr().err == ""


def test_an_encoding_travels_as_a_dictionary_does() -> None:
    encoding = yosort.Tokenizer.from_pretrained(bundled_model())("a b")
    wanted = {"input_ids": encoding.input_ids, "attention_mask": [1, 1, 1, 1]}
    for same in (
        encoding, copy.copy(encoding), copy.deepcopy(encoding), encoding.copy(),
        pickle.loads(pickle.dumps(encoding)), encoding.to("cpu"),
    ):  # fmt: skip
        assert same.data == dict(same.items()) == json.loads(json.dumps(dict(same))) == wanted
        assert same.tokens() == ["<s>", "a", "Ġb", "</s>"]
    with pytest.raises(TypeError, match="BatchEncoding is not JSON serializable"):
        json.dumps(encoding)  # as transformers' are not
