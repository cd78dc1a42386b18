"""The model packages of this checkout: what is in them, and that they are found and right."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

import yosort
from packages import HAS_MINILM, MINILM, NO_MINILM, offer

pytestmark = pytest.mark.skipif(not HAS_MINILM, reason=NO_MINILM)

QUERIES = ("How do I cook rice?", "a man plays an instrument", "The stock market fell.")
TEXTS = (
    "Shares lost three percent on Monday as investors sold.",
    "Put one cup of grains into two cups of boiling water and let it simmer.",
    "Somebody is playing the guitar on stage.",
)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(MINILM, tmp_path / "site", monkeypatch)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_it_finds_what_is_meant(dtype: str) -> None:
    embed = yosort.pipeline(
        "feature-extraction", "yoso-minilm", device="cpu", dtype=dtype, return_tensors=True
    )
    queries, texts = np.stack(embed(list(QUERIES))), np.stack(embed(list(TEXTS)))
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, rtol=1e-5)
    assert (queries @ texts.T).argmax(axis=1).tolist() == [1, 2, 0]


@pytest.mark.usefixtures("installed")
def test_integers_in_the_file_are_floats_to_compute_with() -> None:
    made = {
        dtype: yosort.pipeline(
            "feature-extraction", "yoso-minilm", device="cpu", dtype=dtype, return_tensors=True
        )
        for dtype in ("float32", "bfloat16", "int8")
    }
    assert {str(embed.dtype) for embed in made.values()} == {"float32", "bfloat16", "int8"}
    vectors = {dtype: np.stack(embed(list(TEXTS))) for dtype, embed in made.items()}
    for dtype in ("bfloat16", "int8"):
        assert ((vectors[dtype] * vectors["float32"]).sum(axis=1) > 0.99).all()
        assert not np.array_equal(vectors[dtype], vectors["float32"])


def test_it_is_whole_and_small() -> None:
    folder = MINILM / "yoso_minilm"
    files = [
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in str(path)
    ]
    assert sum(path.stat().st_size for path in files) < 30_000_000
    said = yosort.load(folder, device="cpu").sentence
    assert said is not None
    assert (said.pooling, said.normalize, said.max_length) == ("mean", True, 4096)
    assert yosort.YosoConfig.from_pretrained(folder).max_position_embeddings == 4096
    card = (MINILM / "README.md").read_text(encoding="utf-8")
    for heading in ("Data", "Training", "Measured", "Limits"):
        assert re.search(rf"^## {heading}", card, re.M)
    assert "Apache" in (MINILM / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.slow
def test_pip_installs_it_beside_yosort(tmp_path: Path) -> None:
    pytest.importorskip("flit_core")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(MINILM)]
    subprocess.run(wheel, check=True)
    (built,) = tmp_path.glob("*.whl")
    assert built.stat().st_size < 30_000_000
    venv.create(tmp_path / "venv", with_pip=False)
    place = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    (site,) = (tmp_path / "venv").rglob("site-packages")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(built)], check=True)
    # yosort and what it needs, from the environment that runs the tests.
    places = [place for place in sys.path if place.endswith("site-packages")]
    lines = [f"import site; site.addsitedir({place!r})\n" for place in places]
    (site / "beside.pth").write_text("".join(lines), encoding="utf-8")
    code = "import sys; from yosort.cli import main; sys.exit(main())"
    embed = [str(place / "python"), "-c", code, "embed", "--model", "yoso-minilm", QUERIES[0]]
    done = subprocess.run(embed, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here = yosort.pipeline("feature-extraction", MINILM / "yoso_minilm", device="cpu")(QUERIES[0])
    np.testing.assert_allclose(json.loads(done.stdout), here, rtol=1e-5, atol=1e-7)
    names = {path.name for path in site.glob("yoso_minilm*/licenses/*")}
    assert {"LICENSE", "LICENSE.wordnet"} <= names
