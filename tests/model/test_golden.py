"""Every class against answers that transformers gave once; needs neither torch nor transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from comparing import relative_error
from tolerances import LOSS, PARITY

import yosort

FOLDERS = sorted((Path(__file__).parent.parent / "data" / "golden").iterdir())


@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_answers_are_those_of_transformers(folder: Path, device: str) -> None:
    padding = "attended" if folder.name.startswith("attended-") else "masked"
    model = yosort.load(folder, device=device, padding=padding)
    assert type(model).__name__ == folder.name.split("-")[1]
    with np.load(folder / "call.npz") as call:
        inputs = {name[3:]: call[name] for name in call.files if name.startswith("in_")}
        wanted = {name[4:]: call[name] for name in call.files if name.startswith("out_")}
    output = model(**inputs, output_hidden_states=True, output_attentions=True)
    got = {
        f"{key}_{i}": array
        for key, value in output.items()
        for i, array in enumerate(value if isinstance(value, tuple) else (value,))
    }
    assert list(got) == list(wanted)
    for name, array in wanted.items():
        bound = LOSS if name == "loss_0" else PARITY
        assert relative_error(got[name], array) < bound, name


def test_tuples_hold_the_same_in_the_same_order() -> None:
    folder = next(f for f in FOLDERS if f.name == "plain-YosoForMaskedLM")
    model = yosort.load(folder)
    ids = np.arange(12).reshape(2, 6)
    output = model(ids, labels=ids, output_hidden_states=True)
    as_tuple = model(ids, labels=ids, output_hidden_states=True, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert output.keys() == ["loss", "logits", "hidden_states"]
    for a, b in zip(output.to_tuple(), as_tuple, strict=True):
        np.testing.assert_array_equal(a, b)
    assert output[0] is output.loss is output["loss"]
    assert "attentions" not in output
    with pytest.raises(KeyError):
        output["attentions"]
