"""Vectors of a folder with sentence-transformers' files: as transformers and the library make them.

The texts of a batch have one length: transformers' YOSO attends to padding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from tasks.models import make, make_word_piece
from tasks.test_sentence import write

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

TEXTS = ["the lazy dog", "Paris is the capital of France", " the QUICK brown fox " * 3, "fox " * 40]
CASES: list[tuple[str, dict[str, Any]]] = [
    ("mean", {"pooling": {"pooling_mode_mean_tokens": True}}),
    ("cls", {"pooling": {"pooling_mode": "cls"}, "limits": {"max_seq_length": 9}}),
    ("mean", {"pooling": {"pooling_mode": "mean"}, "limits": {"do_lower_case": True},
              "prompts": {"prompts": {"q": "the fox: "}, "default_prompt_name": "q"}}),
]  # fmt: skip


@pytest.fixture(params=[make, make_word_piece], ids=["BPE", "WordPiece"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return request.param(tmp_path / "model", "YosoModel", use_expectation=True)


def ours(folder: Path) -> np.ndarray:
    return np.array(yosort.pipeline("feature-extraction", folder)(TEXTS))


@pytest.mark.parametrize(("mode", "files"), CASES)
def test_as_transformers_pooled_by_hand(folder: Path, mode: str, files: dict[str, Any]) -> None:
    write(folder, "Pooling", "Normalize", **files)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    limits, prompts = files.get("limits", {}), files.get("prompts")
    for text, found in zip(TEXTS, ours(folder), strict=True):
        text = (prompts["prompts"]["q"] if prompts else "") + text
        text = text.lower() if limits.get("do_lower_case") else text
        longest = limits.get("max_seq_length", min(64, tokenizer.model_max_length))
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=longest)
        with torch.no_grad():
            states = model(**inputs).last_hidden_state[0].numpy().astype(np.float64)
        wanted = states[0] if mode == "cls" else states.mean(axis=0)
        wanted = wanted / np.linalg.norm(wanted)
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("files", [files for _, files in CASES])
def test_as_sentence_transformers(folder: Path, files: dict[str, Any]) -> None:
    library = pytest.importorskip("sentence_transformers")
    write(folder, "Pooling", "Normalize", **files)
    theirs = library.SentenceTransformer(str(folder), device="cpu")
    wanted = np.array([theirs.encode(text) for text in TEXTS])
    np.testing.assert_allclose(ours(folder), wanted, atol=2e-5)


def test_a_folder_that_it_saved_is_read(folder: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    write(folder, "Pooling", "Normalize", pooling={"pooling_mode": "cls"})
    theirs = library.SentenceTransformer(str(folder), device="cpu")
    theirs.max_seq_length = 11
    theirs.save(str(tmp_path / "saved"))
    wanted = np.array([theirs.encode(text) for text in TEXTS])
    np.testing.assert_allclose(ours(tmp_path / "saved"), wanted, atol=2e-5)
