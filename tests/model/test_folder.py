"""What goes along with a model that is saved: its tokenizer, its config, as they were."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tasks.models import make

import yosort

FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model's folder, whose tokenizer is written as nobody would write it again."""
    made = make(tmp_path / "model", "YosoForSequenceClassification", num_labels=3)
    for name in FILES:
        found = json.loads((made / name).read_text(encoding="utf-8"))
        (made / name).write_text(json.dumps(found, indent=7), encoding="utf-8")
    return made


@pytest.mark.parametrize("read", [False, True])
def test_a_tokenizer_s_files_are_copied_whether_it_was_read_or_not(
    folder: Path, tmp_path: Path, read: bool
) -> None:
    model = yosort.load(folder, device="cpu")
    if read:
        assert model.tokenizer is not None
    model.save_pretrained(tmp_path / "other")
    for name in FILES:
        assert (tmp_path / "other" / name).read_bytes() == (folder / name).read_bytes()


def test_a_tokenizer_that_was_read_goes_along_when_its_folder_is_gone(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = yosort.load(folder, device="cpu")
    assert model.tokenizer is not None
    wanted = model.tokenizer.encoding("A dog barks").ids
    shutil.rmtree(folder)
    model.save_pretrained(tmp_path / "other")
    again = yosort.load(tmp_path / "other", device="cpu").tokenizer
    assert again is not None
    assert again.encoding("A dog barks").ids == wanted
    assert not caplog.records


def test_a_model_saved_where_it_came_from_keeps_what_is_there(folder: Path) -> None:
    before = {name: (folder / name).read_bytes() for name in FILES}
    model = yosort.load(folder, device="cpu")
    (folder / "notes.txt").write_text("mine")
    model.save_pretrained(folder)
    assert {name: (folder / name).read_bytes() for name in FILES} == before
    assert (folder / "notes.txt").read_text() == "mine"
    (head,) = yosort.load(folder, device="cpu").config.architectures or ()
    assert head == "YosoForSequenceClassification"
