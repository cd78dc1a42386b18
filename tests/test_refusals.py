"""What goes wrong seldom, and what is said of it then."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tasks.models import make

import yosort
from yosort import CheckpointError, ConfigError, DeviceError, InputError, YosoConfig
from yosort.checkpoint.unpickle import MAX_PICKLE_BYTES, loads
from yosort.conversion import convert
from yosort.distributed import BatchPipeline
from yosort.model.batch import pack_mask
from yosort.ops import get_ops
from yosort.ops.definitions import gaussian_hash
from yosort.ops.hashing import gaussian_projection, hash_signs
from yosort.tasks import bundled_model
from yosort.widened import Widened


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    names = {
        "embed": "YosoModel",
        "ner": "YosoForTokenClassification",
        "qa": "YosoForQuestionAnswering",
    }
    return {name: make(tmp_path_factory.mktemp(name), model) for name, model in names.items()}


def refuses(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_a_parameter_is_given_once(tmp_path: Path) -> None:
    both: dict[str, Any] = {"folder": tmp_path, "save_directory": tmp_path}
    message = "save_directory: wanted folder or save_directory, got both"
    refuses(partial(YosoConfig().save_pretrained, **both), ConfigError, message)
    again: dict[str, Any] = {"source": "c"}
    refuses(lambda: convert("a", "b", **again), CheckpointError, "source: wanted once, got twice")


def test_what_json_cannot_hold_is_no_part_of_a_config(tmp_path: Path) -> None:
    config = YosoConfig(extra={"made_by": object()})
    for call in (config.to_json, lambda: config.save_pretrained(tmp_path / "new")):
        refuses(call, ConfigError, "extra: wanted what JSON can hold: ")
    assert not (tmp_path / "new" / "config.json").exists()


class Foreign:
    """A config as transformers' is: with fields, and ways to return them."""

    def __init__(self, **fields: Any) -> None:
        self.model_type = fields["model_type"]
        self.to_dict = lambda: fields


def test_another_librarys_config(folders: dict[str, Path]) -> None:
    ours = YosoConfig.from_pretrained(folders["embed"])
    fields = {**ours.to_dict(), "_name_or_path": "somewhere"}
    theirs: Any = Foreign(**fields)
    other: Any = Foreign(**{**fields, "num_hash": 7})
    bert: Any = Foreign(**{**fields, "model_type": "bert"})
    assert yosort.load(folders["embed"], config=other).config.num_hash == 7
    assert yosort.YosoModel(theirs).config.name_or_path == "somewhere"
    refuses(partial(yosort.YosoModel, bert), ConfigError, "config: ")
    for unsaid in ({}, {"_name_or_path": ""}, {"_name_or_path": None}):
        theirs = Foreign(**{**ours.to_dict(), **unsaid})
        assert yosort.YosoModel(theirs).config.name_or_path == ""
    assert yosort.YosoModel(ours).config.name_or_path == str(folders["embed"])
    for none in (SimpleNamespace(model_type="yoso"), SimpleNamespace(to_dict=ours.to_dict)):
        refuses(
            partial(yosort.YosoModel, none),  # type: ignore[arg-type]
            ConfigError,
            "config: wanted a YosoConfig, got SimpleNamespace",
        )


def test_a_config_shows_its_fields_and_not_where_it_comes_from(folders: dict[str, Path]) -> None:
    shown = repr(YosoConfig.from_pretrained(folders["embed"]))
    assert "hidden_size=32" in shown
    assert "name_or_path" not in shown


def test_an_output_is_a_mapping_of_its_fields(folders: dict[str, Path]) -> None:
    output = yosort.load(folders["embed"])([[0, 5, 2]], output_hidden_states=True)
    assert list(output) == list(output.keys()) == ["last_hidden_state", "hidden_states"]
    assert len(output) == 2


def test_a_batch_without_an_attended_token_has_no_rows() -> None:
    batch = pack_mask(np.array([[True, False], [False, False]]), attended=False)
    assert batch.rows_of(np.arange(4)).tolist() == [0, -1, -1, -1]
    empty = pack_mask(np.array([[False, False]]), attended=False)
    assert empty.rows_of(np.arange(2)).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.", "OrderedDict: wanted no arguments"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nK\x01\x85R.", "6 or 7 arguments, got 1"),
        (
            b"\x80\x02ctorch._utils\n_rebuild_parameter\nK\x01K\x02K\x03\x87R.",
            "wanted a tensor and",
        ),
        (b"\x80\x04K\x01K\x02\x93.", "STACK_GLOBAL: wanted two names"),
        (b"\x80\x02" + bytes(MAX_PICKLE_BYTES), f"at most {MAX_PICKLE_BYTES} bytes, got"),
    ],
)
def test_pickles_that_no_checkpoint_has(pickled: bytes, message: str) -> None:
    refuses(lambda: loads(pickled), CheckpointError, message)


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    written = {
        "config.json": ("{}", f"a file of one; name its folder, {tmp_path}"),
        "weights.pt": ("x" * 99, f"a file; `yosort convert {tmp_path / 'weights.pt'} OUT` makes"),
        "page.txt": ("<!DOCTYPE html><html></html>", "a file: "),
    }
    for name, (content, message) in written.items():
        path = tmp_path / name
        path.write_text(content)
        refuses(partial(yosort.load, path), CheckpointError, message)


def test_a_folder_that_cannot_be_read(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_bytes((folders["embed"] / "config.json").read_bytes())

    def closed(path: Any = ".") -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", closed)
    refuses(
        lambda: yosort.load(tmp_path), CheckpointError, f"{tmp_path}: cannot be read: [Errno 13]"
    )


def test_a_file_that_cannot_be_read(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: Path) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", closed)
    refuses(
        lambda: YosoConfig.from_pretrained(folders["embed"]),
        ConfigError,
        f"{folders['embed'] / 'config.json'}: cannot be read: [Errno 5]",
    )


def test_options_of_pipelines(folders: dict[str, Path]) -> None:
    nested: dict[str, Any] = {"model_kwargs": 3}
    refuses(
        lambda: yosort.pipeline("ner", folders["ner"], **nested),
        ConfigError,
        "model_kwargs: wanted a dictionary of options, got 3",
    )
    random = yosort.YosoForTokenClassification(YosoConfig.from_pretrained(folders["ner"]))
    refuses(
        lambda: yosort.pipeline("ner", random),
        ConfigError,
        "tokenizer: wanted one, for the model was not loaded from a folder",
    )
    ner = yosort.pipeline("ner", folders["ner"])
    refuses(
        lambda: ner("a dog", stride=2, overflow="truncate"),
        InputError,
        "stride: wanted none beside overflow='truncate', got 2",
    )


def test_a_batch_of_another_shape(folders: dict[str, Path]) -> None:
    answer = BatchPipeline("question-answering", folders["qa"])
    uneven = {"question": np.array(["a", "b"], object), "context": np.array(["a"], object)}
    refuses(lambda: answer(uneven), InputError, "batch: wanted columns of one length, got [2, 1]")


def test_words_and_indices_of_an_encoding() -> None:
    tokenizer = yosort.AutoTokenizer.from_pretrained(bundled_model())
    found = tokenizer("a dog")
    refuses(lambda: found.word_to_chars(9), InputError, "no word 9 in text 0 of this encoding")
    refuses(lambda: found.word_to_chars(-1), InputError, "wanted an index of at least 0, got -1")
    assert repr(tokenizer.encoding("a dog")).startswith("Encoding(num_tokens=")
    refuses(
        lambda: tokenizer.convert_tokens_to_string(["a", "\ud800"]), InputError, "lone surrogates"
    )


def test_special_tokens_by_name(folders: dict[str, Path], tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folders["embed"] / name).read_bytes())
    path = tmp_path / "tokenizer_config.json"
    fields = json.loads(path.read_text())
    extra = {"image_token": "<image>"}
    path.write_text(json.dumps({**fields, "extra_special_tokens": extra}))
    tokenizer = yosort.AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("dog<image>") == ["d", "og", "<image>"]
    assert tokenizer.decode(tokenizer.encode("dog<image>"), skip_special_tokens=True) == "dog"
    assert tokenizer.extra_special_tokens == ["<image>"]


def test_pickles_are_bounded_by_their_own_bytes() -> None:
    """One that is just as large as may be is read."""
    filled = pickle.dumps("x", protocol=2)
    large = b"\x80\x02X" + (MAX_PICKLE_BYTES - 8).to_bytes(4, "little")
    large += b"x" * (MAX_PICKLE_BYTES - 8) + b"."
    assert len(large) == MAX_PICKLE_BYTES
    assert loads(filled) == "x"
    assert loads(large) == "x" * (MAX_PICKLE_BYTES - 8)


def test_memory_that_cannot_be_had_is_the_devices() -> None:
    ops = get_ops("cpu")

    def run() -> None:
        with ops.running():
            raise MemoryError("Unable to allocate 9 GiB")

    message = "cpu: out of memory: Unable to allocate 9 GiB; smaller batches or shorter texts need"
    refuses(run, DeviceError, message)


def test_a_draw_that_finds_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(np, "ascontiguousarray", none)
    for draw, size in ((hash_signs, 2 * 2 * 3 * 2 * 8), (gaussian_projection, 24 * 4 * 3 * 2 * 8)):
        refuses(
            partial(draw, 4, 3, 8, heads=2, seed=0),
            DeviceError,
            f"cpu: out of memory: a layer's hash functions need at least {size} bytes",
        )


def test_a_key_that_is_masked_has_code_zero() -> None:
    x, projection = np.ones((1, 3, 4), np.float32), np.ones((1, 4, 6), np.float32)
    mask = np.array([[1, 0, 1]])
    codes = gaussian_hash(x, projection, num_hash=2, hash_code_len=3, mask=mask)
    assert codes.tolist() == [[[7, 7], [0, 0], [7, 7]]]


def test_whoever_stops_a_slow_source_gets_what_came_through_it(folders: dict[str, Path]) -> None:
    def texts() -> Iterator[str]:
        yield "a dog"
        yield "a bird"
        raise KeyboardInterrupt

    answers = yosort.pipeline("feature-extraction", folders["embed"])(texts())
    assert [np.shape(next(answers))[-1] for _ in range(2)] == [32, 32]
    with pytest.raises(KeyboardInterrupt):
        next(answers)


def test_nothing_but_what_is_left_out(folders: dict[str, Path]) -> None:
    ner = yosort.pipeline("ner", folders["ner"])
    names = [*ner.model.config.id2label.values()]
    for strategy in ("none", "simple", "first"):
        assert ner("a dog", ignore_labels=names, aggregation_strategy=strategy) == []


def test_several_questions_in_the_place_of_one(folders: dict[str, Path]) -> None:
    qa = yosort.pipeline("question-answering", folders["qa"])
    for value, message in (
        (
            {"question": ["a", "b"], "context": "c"},
            "question: wanted a text, got ['a', 'b']",
        ),
        ({"question": "a", "context": 3}, "context: wanted a text, got 3"),
    ):
        refuses(partial(qa, value), InputError, message)


def test_a_tokenizer_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = yosort.AutoTokenizer.from_pretrained(bundled_model())

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    refuses(
        lambda: tokenizer.save_pretrained(tmp_path / "new"),
        CheckpointError,
        f"{tmp_path / 'new'}: cannot be written: [Errno 28]",
    )


def test_no_hub_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for offline in (False, True):
        refuses(
            partial(yosort.load, "a/b", local_files_only=offline),
            CheckpointError,
            "a/b: no such folder here, and fetching it from the hub needs huggingface_hub: ",
        )


def test_numbers_of_half_the_size_stand_for_float32() -> None:
    halves = Widened(np.array([[0x3F80, 0xC000]], np.uint16))
    assert (halves.shape, halves.size, halves.dtype) == ((1, 2), 2, np.float32)
    assert np.asarray(halves).tolist() == [[1.0, -2.0]]
    assert np.asarray(halves).dtype == np.float32
    assert np.asarray(halves, np.float64).dtype == np.float64
    assert halves[0].tolist() == [1.0, -2.0]
    assert halves[:, 1].tolist() == [-2.0]


def test_of_what_stands_for_float32_rows_are_taken_as_of_an_array() -> None:
    stored = np.array([[1.0, -2.0], [1 + 2**-30, 1e300], [0.5, -1e300]])
    wide = Widened(stored)
    wanted = np.array([[1, -2], [1, np.inf], [0.5, -np.inf]], np.float32)
    np.testing.assert_array_equal(np.asarray(wide), wanted)
    rows = np.array([2, 0, 2])
    np.testing.assert_array_equal(wide.take(rows), wanted[rows])
    columns = np.array([1])
    np.testing.assert_array_equal(wide.take(columns, axis=1), wanted[:, [1]])
    assert wide.take(rows).dtype == wide.dtype == np.float32
