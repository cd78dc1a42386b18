"""A tokenizer's folder is read as transformers reads it, where that is not installed, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.make_readings import GOLDEN, reading
from tasks.test_tokenizer_files import BARE, CASES, TEXTS, write
from yosort import Tokenizer

READINGS = json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "model_type"), [*((name, "yoso") for name in CASES), *((name, None) for name in BARE)]
)
def test_a_folder_is_read_as_transformers_reads_it(
    name: str, model_type: str | None, tmp_path: Path
) -> None:
    files = (CASES if model_type else BARE)[name]
    tokenizer = Tokenizer.from_pretrained(write(tmp_path, files, model_type))
    assert reading(tokenizer, TEXTS) == READINGS[f"{model_type}: {name}"]
