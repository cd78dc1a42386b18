"""One model, saved by transformers 4.16 to 5.2 with torch 1.6 to 2.13: it loads equally."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from make_old_and_new import CLASSES, FIELDS, GOLDEN, values

import yosort
from yosort.checkpoint import read_state, to_canonical

FOLDERS = sorted(path for path in GOLDEN.glob("*/*") if path.is_dir())
# What has a second name: which of the two a file holds, or whether it holds both, varies.
TIED = {
    "cls.predictions.decoder.weight": "yoso.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
IDS = np.array([[0, 3, 7, 10, 2], [4, 4, 9, 1, 2]])


@pytest.fixture(autouse=True)
def _no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it raises ImportError


def of(class_name: str) -> list[Path]:
    return [folder for folder in FOLDERS if folder.name.startswith(f"{class_name}-")]


def answer(folder: Path, attention: str) -> list[np.ndarray]:
    model = yosort.load(folder, device="cpu", attention=attention)
    output = model(IDS, output_hidden_states=True)
    return [output.logits, *output.hidden_states]


@pytest.mark.parametrize("name", CLASSES)
def test_both_formats_of_both_generations_are_there(name: str) -> None:
    kinds = {(f.parent.name.split("-")[1][0], f.name.split("-")[1]) for f in of(name)}
    assert kinds == {(major, kind) for major in "45" for kind in ("bin", "safetensors")}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f"{f.parent.name}/{f.name}")
def test_every_bit_and_setting_is_read(folder: Path) -> None:
    state = to_canonical(read_state(folder))
    for name, array in state.items():
        wanted = values(TIED.get(name, name), array.shape)
        assert array.dtype == wanted.dtype, name
        assert array.tobytes() == wanted.tobytes(), name
    config = yosort.YosoConfig.from_pretrained(folder)
    assert {name: getattr(config, name) for name in FIELDS} == FIELDS


@pytest.mark.parametrize("attention", ["expectation", "sampled"])
@pytest.mark.parametrize("name", CLASSES)
def test_answers_are_equal_to_the_bit(name: str, attention: str) -> None:
    wanted, *others = (answer(folder, attention) for folder in of(name))
    assert np.isfinite(wanted[0]).all()
    assert wanted[0][0].tobytes() != wanted[0][1].tobytes()
    for got in others:
        assert [a.tobytes() for a in got] == [a.tobytes() for a in wanted]
