"""Wrong calls: each message says what was wanted and what came."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from yosort import (
    CheckpointError,
    ConfigError,
    DeviceError,
    InputError,
    YosoConfig,
    YosortError,
)
from yosort.checkpoint import read_state, write_state
from yosort.conversion import convert
from yosort.errors import quote, show
from yosort.tokenizer import Tokenizer

CONFIG = YosoConfig(
    vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=16, max_position_embeddings=12, num_labels=3,
)  # fmt: skip
MODEL = yosort.YosoModel(CONFIG, device="cpu")
IDS = np.array([[1, 2, 3], [4, 5, 6]])


def test_one_constructor_writes_what_was_wanted_and_what_came() -> None:
    error = InputError.wanted("top_k", "an integer", "5\n6", hint="int(...) makes one")
    assert type(error) is InputError
    assert str(error) == r"top_k: wanted an integer, got '5\n6'; int(...) makes one"
    assert str(ConfigError.wanted(Path("a"), "a file", got="a folder")) == (
        "a: wanted a file, got a folder"
    )
    assert str(CheckpointError.wanted("x", "a text")) == "x: wanted a text, got None"
    assert len(str(InputError.wanted("x", "a text", [1] * 10**6))) < 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "wanted input_ids or inputs_embeds, got neither"),
        ({"input_ids": IDS, "inputs_embeds": IDS}, "got both"),
        ({"input_ids": [1, 2, 3]}, r"input_ids: wanted shape \[batch, n\], got \[3\]"),
        ({"input_ids": [[1, 2], [3]]}, "input_ids: wanted an array or nested lists of equal"),
        ({"input_ids": np.full((1, 1), 2**64 - 1)}, r"input_ids: wanted integers below 2 \*\* 63"),
        ({"input_ids": [["a", "b"]]}, "input_ids: wanted integers"),
        ({"input_ids": [[1.0, 2.0]]}, "input_ids: wanted integers, got dtype float64"),
        ({"input_ids": [[1, 30]]}, r"input_ids\[0, 1\]: wanted a token id from 0 to 29, got 30"),
        ({"input_ids": [[1], [-1]]}, r"input_ids\[1, 0\]: .* got -1"),
        ({"input_ids": np.ones((1, 13), int)}, "at most 12 tokens .* got 13"),
        (
            {"input_ids": IDS, "attention_mask": [[1, 1, 1]]},
            r"attention_mask: wanted shape \[2, 3\]",
        ),
        ({"input_ids": IDS, "attention_mask": IDS}, r"wanted only 0 \(.*\) and 1 \(.*\), got 2"),
        ({"input_ids": IDS, "attention_mask": IDS * np.nan}, "attention_mask: .*, got nan"),
        ({"input_ids": IDS, "attention_mask": [["a"] * 3] * 2}, "attention_mask: wanted numbers"),
        (
            {"input_ids": IDS, "token_type_ids": IDS},
            r"token_type_ids\[0, 0\]: wanted 0 to 0, got 1",
        ),
        ({"input_ids": IDS, "token_type_ids": IDS[:1] * 0}, "token_type_ids: wanted shape"),
        ({"input_ids": IDS, "position_ids": [0, 1]}, r"position_ids: wanted shape \[3\]"),
        ({"input_ids": IDS, "position_ids": [0, 1, 14]}, r"position_ids\[2\]: wanted 0 to 13"),
        ({"inputs_embeds": np.zeros((1, 2, 15))}, r"inputs_embeds: wanted shape \[batch, n, 16\]"),
        ({"inputs_embeds": np.full((1, 2, 16), np.nan)}, r"inputs_embeds\[0, 0\]: .* NaN"),
        ({"inputs_embeds": np.full((1, 2, 16), 1e300)}, r"\[0, 0\]: wanted .* in float32"),
        ({"inputs_embeds": np.full((1, 2, 16), 1j)}, "inputs_embeds: wanted numbers"),
        # Squares of more overflow: layer normalisation would make zeros of it.
        ({"inputs_embeds": np.full((1, 2, 16), 1e19)}, r"at most 2\.3e\+18, whose squares"),
        ({"input_ids": np.ma.masked_array(IDS, IDS > 2)}, "input_ids: wanted a plain array"),
        ({"input_ids": IDS, "head_mask": [1, 1, 1]}, r"head_mask: wanted numbers of shape \[2\]"),
        ({"input_ids": IDS, "head_mask": [1, np.inf]}, "head_mask: wanted finite"),
        ({"input_ids": IDS, "head_mask": [1, 1e300]}, "head_mask: wanted finite values in float32"),
        ({"input_ids": IDS, "return_dict": "no"}, "return_dict: wanted True or False, got 'no'"),
        ({"input_ids": IDS, "output_attentions": IDS}, r"output_attentions: .*, got array\(\[\["),
        ({"input_ids": IDS, "output_hidden_states": 1}, "output_hidden_states: wanted True or"),
        ({"input_ids": IDS, "seed": np.array(1)}, r"seed: wanted a non-.*, got array\(1\)"),
        ({"input_ids": IDS, "num_hash": 0}, "num_hash: wanted None or an integer of at least 1"),
        ({"input_ids": IDS, "seed": -1}, "seed: wanted a non-negative integer, got -1"),
    ],
)
def test_calls(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        MODEL(**arguments)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, YosortError)


def test_masked_tokens_may_hold_anything() -> None:
    got = MODEL([[1, 2, 999]], [[1, 1, 0]]).last_hidden_state
    np.testing.assert_array_equal(got[:, :2], MODEL([[1, 2]]).last_hidden_state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, 'device: wanted "auto", "cpu"'),
        ({"device": 1.5}, "device: wanted"),
        ({"device": -2}, "device: wanted"),
        ({"device": "cuda:x"}, "device: wanted"),
        ({"dtype": "float16"}, 'dtype: wanted "float32"'),
        ({"attention": "exact"}, 'attention: wanted None, "expectation", "sampled", "auto"'),
        ({"padding": "none"}, "padding: wanted one of masked, attended"),
        ({"num_hash": 0}, "num_hash: wanted"),
        ({"seed": 1.5}, "seed: wanted"),
        ({"num_threads": 0}, "num_threads: wanted None or an integer from 1 to 4096, got 0"),
        ({"num_threads": 10**12}, "num_threads: wanted"),
    ],
)
def test_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, InputError), match=message):
        yosort.YosoModel(CONFIG, **{"device": "cpu", **options})


def test_a_gpu_that_is_not_there_is_an_error_that_says_why() -> None:
    for device in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match=f"device='{device}': ."):
            yosort.YosoModel(CONFIG, device=device)


def test_auto_says_what_it_chose(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "yosort"):
        model = yosort.YosoModel(CONFIG, device="auto")
    assert model.device == "cpu"
    assert "using the CPU" in caplog.text


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("YosoForMaskedLM", {"labels": [[1, 2, 3]]}, r"labels: wanted shape \[2, 3\]"),
        ("YosoForMaskedLM", {"labels": IDS + 25}, "labels: wanted -100 .* to 29, got 30"),
        ("YosoForMaskedLM", {"positions": [0, 1]}, r"positions: wanted shape \[k, 2\]"),
        ("YosoForMaskedLM", {"positions": [[0, 3]]}, r"within \[2, 3\], got \(0, 3\)"),
        (
            "YosoForMaskedLM",
            {"positions": [[1, 2]], "attention_mask": [[1, 1, 1], [1, 1, 0]]},
            "positions: wanted tokens that attention_mask keeps",
        ),
        ("YosoForQuestionAnswering", {"positions": [[0, 3]]}, r"within \[2, 3\], got \(0, 3\)"),
        (
            "YosoForQuestionAnswering",
            {"positions": [[0, 1]], "start_positions": [0, 1], "end_positions": [0, 1]},
            "positions: wanted none beside labels",
        ),
        ("YosoForSequenceClassification", {"labels": [1]}, r"labels: wanted shape \[2\]"),
        ("YosoForSequenceClassification", {"labels": 1}, r"labels: wanted shape \[2\], got \[\]"),
        (
            "YosoForSequenceClassification",
            {"labels": [1.0, 0.0]},
            r"wanted shape \[2, 3\], got \[2\]; floats mean several labels a text: .* an integer",
        ),
        (
            "YosoForSequenceClassification",
            {"labels": [[1, 0, 0], [0, 1, 0]]},
            r"got \[2, 3\]; integers name one class .*problem_type=\"multi_label_classification\"",
        ),
        ("YosoForSequenceClassification", {"labels": [1, 3]}, "labels: wanted .* to 2, got 3"),
        ("YosoForSequenceClassification", {"labels": [[1, 2]]}, r"labels: wanted shape \[2\]"),
        ("YosoForSequenceClassification", {"labels": [[0.5], [1.0]]}, r"labels: wanted shape"),
        ("YosoForSequenceClassification", {"labels": ["a", "b"]}, "labels: wanted numbers, got"),
        ("YosoForSequenceClassification", {"labels": [[np.nan] * 3] * 2}, "labels: .* NaN or inf"),
        (
            "YosoForSequenceClassification",
            {"attention_mask": [[1, 1, 1], [0, 1, 1]]},
            r"attention_mask\[1, 0\]: .* pad on the right",
        ),
        ("YosoForTokenClassification", {"labels": IDS}, "labels: wanted .* to 2, got 3"),
        (
            "YosoForQuestionAnswering",
            {"start_positions": [0], "end_positions": [1]},
            r"start_positions: wanted shape \[2\]",
        ),
        (
            "YosoForQuestionAnswering",
            {
                "attention_mask": [[1, 1, 0], [1, 1, 1]],
                "start_positions": [2, 0],
                "end_positions": [1, 1],
            },
            r"start_positions\[0\]: wanted a token that attention_mask keeps",
        ),
        (
            "YosoForQuestionAnswering",
            {"start_positions": [[0, 1]], "end_positions": [1, 1]},
            r"start_positions: wanted shape \[2\], got \[1, 2\]",
        ),
        ("YosoForQuestionAnswering", {"start_positions": [0, 1]}, "got start_positions alone"),
        ("YosoForQuestionAnswering", {"end_positions": [0, 1]}, "got end_positions alone"),
        ("YosoForMultipleChoice", {}, r"input_ids: wanted shape \[batch, choices, n\]"),
    ],
)
def test_heads(name: str, arguments: dict[str, Any], message: str) -> None:
    model = getattr(yosort, name)(CONFIG, device="cpu")
    with pytest.raises(InputError, match=message):
        model(IDS, **arguments)


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification"])
def test_labels_that_are_no_numbers_like_the_logits(problem: str) -> None:
    config = YosoConfig.from_dict({**CONFIG.to_dict(), "problem_type": problem})
    model = yosort.YosoForSequenceClassification(config, device="cpu")
    # Of the right size but the wrong shape: taken as it lies, it would compare the wrong numbers.
    with pytest.raises(InputError, match=r"labels: wanted shape \[2, 3\], got \[3, 2\]"):
        model(IDS, labels=np.ones((3, 2)))
    with pytest.raises(InputError, match="labels: wanted numbers, got dtype complex128"):
        model(IDS, labels=np.full((2, 3), 1j))


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((2, 0, 3), {}, r"input_ids: wanted at least one choice, got shape \[2, 0, 3\]"),
        ((2, 2, 0), {}, "input_ids: wanted at least one token a text"),
        ((2, 2, 3), {"attention_mask": np.ones((1, 2, 3))}, r"to be \[2, 2\], .*got \[1, 2\]"),
        ((2, 2, 3), {"labels": [0, 2]}, "labels: wanted -100 .* 0 to 1, got 2"),
        ((2, 2, 3), {"labels": [0, 1, 0]}, r"labels: wanted shape \[2\], got \[3\]"),
    ],
)
def test_choices(shape: tuple[int, ...], arguments: dict[str, Any], message: str) -> None:
    model = yosort.YosoForMultipleChoice(CONFIG, device="cpu")
    with pytest.raises(InputError, match=message):
        model(np.ones(shape, int), **arguments)


def test_one_text_is_a_batch_of_one() -> None:
    with pytest.raises(InputError, match=r"\[batch, n\], got \[3\]; one text is a batch of one"):
        MODEL(IDS[0])
    for text in ("a text", ["a text"]):
        with pytest.raises(InputError, match="input_ids: wanted integers, got text; a tokenizer"):
            MODEL(text)
    with pytest.raises(InputError, match=r"input_ids: wanted shape \[batch, n\], got \[\]$"):
        MODEL(3)


def test_a_config_of_another_type() -> None:
    with pytest.raises(ConfigError, match="config: wanted a YosoConfig, got dict"):
        yosort.YosoModel(CONFIG.to_dict())  # type: ignore[arg-type]


NO_PATHS = [None, 3, b"\xff", "", "a\0b", "\ud800", ["a"], IDS]


@pytest.mark.parametrize("path", NO_PATHS, ids=ascii)
def test_what_is_no_path(path: Any) -> None:
    """An empty one would be the current folder."""
    for call in (
        MODEL.save_pretrained,
        CONFIG.save,
        YosoConfig.from_pretrained,
        yosort.load,
        yosort.YosoModel.from_pretrained,
        Tokenizer.from_pretrained,
        read_state,
        lambda path: convert(path, "out"),
        lambda path: convert("in", path),
    ):
        with pytest.raises((CheckpointError, ConfigError), match=r"wanted a |no such folder"):
            call(path)


def test_values_in_messages_are_short_whatever_they_are() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    for value in (deep, 10**5000, Mute(), "x" * 10**6, list(range(10**6)), np.zeros((99, 99))):
        text = show(value)
        assert len(text) < 200
        assert "\n" not in text
        with pytest.raises(ConfigError, match="attention: wanted None"):
            MODEL.with_attention(value)  # type: ignore[arg-type]


class Other:
    """A value of no type that messages know."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __repr__(self) -> str:
        return "y" * self.length


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\n b", r"'a\n b'"), (None, "None"), (10**59, str(10**59)), ("x" * 118, repr("x" * 118)),
        ("x" * 119, f"'{'x' * 57}...{'x' * 58}'"), (10**60, f"1{'0' * 27}...{'0' * 29}"),
        (set(range(12)), str(set(range(12)))), ({*range(13)}, f"{str({*range(12)})[:-1]}, ...}}"),
        (Other(120), "y" * 120), (Other(121), f"{'y' * 58}...{'y' * 59}"),
        (list(range(12)), str(list(range(12)))),
        (list(range(13)), f"[{', '.join(map(str, range(12)))}, ...]"),
        (tuple(range(12)), str(tuple(range(12)))),
        ({str(i): i for i in range(12)}, str({str(i): i for i in sorted(range(12), key=str)})),
        ([[[[1]]]], "[[[[1]]]]"), ([[[[[1]]]]], "[[[[[...]]]]]"),
        (np.zeros((2, 1)), "array([[0.], [0.]])"),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_a_message_shows_what_is_short_whole_and_the_ends_of_what_is_not(
    value: Any, shown: str
) -> None:
    assert show(value) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.weight", "'a.weight'"), ("\u00e9\n", r"'\xe9\n'"), (3, "3"),
        ("x" * 118, repr("x" * 118)), ("x" * 119, "'" + "x" * 116 + "..."),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_text_of_a_file_is_shown_in_ascii_of_bounded_length(name: Any, shown: str) -> None:
    assert quote(name) == shown
    assert len(quote(name)) <= 120


def test_more_hashes_than_memory_holds() -> None:
    with pytest.raises(ConfigError, match=r"num_hash: wanted an integer .* at most 2 \*\* 48"):
        yosort.YosoModel(CONFIG, device="cpu", attention="sampled", num_hash=10**400)
    for call in (
        lambda: yosort.YosoModel(CONFIG, device="cpu", attention="sampled", num_hash=10**14),
        lambda: yosort.YosoModel(CONFIG, device="cpu", attention="sampled")(IDS, num_hash=10**14),
    ):
        with pytest.raises(DeviceError, match=r"cpu: .* hash functions need at least \d+.* GB"):
            call()


def test_more_weights_than_memory_holds() -> None:
    for size in (2**40, 2**48):  # the second is beyond what any array may count
        config = YosoConfig(vocab_size=size, hidden_size=16, num_attention_heads=2)
        with pytest.raises(DeviceError, match=r"cpu: the model needs at least \d+.* GB"):
            yosort.YosoModel(config, device="cpu")


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for error, saved in (
        (CheckpointError, MODEL),
        (ConfigError, CONFIG),
        (CheckpointError, yosort.pipeline("fill-mask").tokenizer),
    ):
        with pytest.raises(error, match="file: wanted a folder to save into, got a file; name"):
            saved.save_pretrained(tmp_path / "file")
        with pytest.raises(error, match=r"got one below .*file, which is a file; name another"):
            saved.save_pretrained(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == ""
    with pytest.raises(ConfigError, match=r"nowhere.config\.json: cannot be written"):
        CONFIG.save(tmp_path / "nowhere")


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.bool_])
def test_weights_that_are_not_floating_point(dtype: type, tmp_path: Path) -> None:
    """Quantised weights, taken as they are, would be another model's."""
    MODEL.save_pretrained(tmp_path)
    weights = dict(read_state(tmp_path))
    name = "yoso.encoder.layer.0.output.dense.weight"
    weights[name] = np.ones_like(weights[name], dtype)
    write_state(tmp_path, weights)
    with pytest.raises(CheckpointError, match=f"wanted weights of the dtypes F64.*got '{name}' in"):
        yosort.load(tmp_path, device="cpu")


def test_a_checkout_without_its_compiled_part(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['yosort._dense'] = None; import yosort\n"
        "try: yosort.load('here')\n"
        "except yosort.DeviceError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert re.search(r"lacks its compiled part .*from another folder", run.stdout)


def test_a_zip_file_of_the_package_says_why_it_does_not_run(tmp_path: Path) -> None:
    """As zipapp makes it, and Spark's --py-files sends it."""
    package = Path(yosort.__file__).parent
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as file:
        for path in package.rglob("*.py"):
            file.write(path, path.relative_to(package.parent))
    program = (
        "import sys; sys.path.insert(0, 'y.zip')\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in type(f).__module__]\n"
        "import yosort; assert '.zip' in yosort.__file__\n"
        "try: yosort.load('here')\n"
        "except yosort.DeviceError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert re.search(r"y\.zip.yosort lacks its compiled part .*out of a zip.*unpack", run.stdout)


@pytest.mark.parametrize("flag", [True, np.True_])
def test_a_random_head_that_is_asked_for(flag: Any) -> None:
    assert yosort.pipeline("text-classification", device="cpu", allow_random_head=flag)("a")
    with pytest.raises(ConfigError, match="allow_random_head: wanted True or False, got 1"):
        yosort.pipeline("text-classification", allow_random_head=1)
