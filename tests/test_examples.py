"""The scripts of examples/ do what they say."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TEXTS = [
    "And the LORD spake unto Moses in the wilderness.",
    "An instrument that measures temperature.",
    "And God said unto Abraham, Get thee out of thy country.",
    "An instrument that measures the pressure of a gas.",
]


def run(name: str, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_batch(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    assert "every line answered" in run("batch.py", tmp_path, "embed", "texts.txt", "out.jsonl")
    written = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    vectors = [json.loads(line) for line in written.splitlines()]
    assert [len(vector) for vector in vectors] == [256] * len(TEXTS)
    (tmp_path / "gaps.txt").write_text("A <mask> barks.\nno gap\n", encoding="utf-8")
    assert "1 lines failed" in run("batch.py", tmp_path, "fill-mask", "gaps.txt", "gaps.jsonl")
    first, second = (tmp_path / "gaps.jsonl").read_text(encoding="utf-8").splitlines()
    assert "token_str" in first
    assert json.loads(second)["index"] == 1


def test_threads(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    printed = run("threads.py", tmp_path, "texts.txt")
    pairs = dict(line.split("  ->  ") for line in printed.splitlines())
    assert pairs[TEXTS[0]] == TEXTS[2]
    assert pairs[TEXTS[1]] == TEXTS[3]


@pytest.fixture
def client() -> Any:
    pytest.importorskip("fastapi", reason="fastapi is not installed")
    pytest.importorskip("httpx", reason="httpx is not installed")
    from fastapi.testclient import TestClient

    spec = importlib.util.spec_from_file_location("server", EXAMPLES / "server.py")
    assert spec is not None
    assert spec.loader is not None
    server = importlib.util.module_from_spec(spec)
    # Pydantic resolves annotations by the module's name.
    sys.modules["server"] = server
    spec.loader.exec_module(server)
    with TestClient(server.app) as client:
        yield client
    del sys.modules["server"]


@pytest.mark.filterwarnings("ignore")
def test_server(client: Any) -> None:
    answer = client.post("/fill-mask", json={"inputs": ["A <mask> barks."]}, params={"top_k": 2})
    assert answer.status_code == 200
    assert [len(answers) for answers in answer.json()] == [2]
    answer = client.post("/embed", json={"inputs": TEXTS})
    assert [len(vector) for vector in answer.json()] == [256] * len(TEXTS)
    answer = client.post("/fill-mask", json={"inputs": ["no gap"]})
    assert answer.status_code == 422
    assert "mask token is <mask>" in answer.json()["detail"]
    assert client.post("/embed", json={"inputs": []}).status_code == 422
