"""Every code block of the README and of the pages, run in order as a reader would.

Blocks of a page share a folder, and Python blocks their variables. A `text` block after a block is
its output. Three kinds are not run: `pip install`, of which the extras are checked (the gate runs
the README's); what follows a block that imports torch or transformers, where they are missing; and
blocks that import an engine of batch jobs, which have a slow test of their own.
"""

from __future__ import annotations

import contextlib
import io
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import yosort
import yosort.model.outputs
import yosort.ops
import yosort.tasks.results
from packages import HAS_MINILM, MINILM, NO_MINILM, offer
from yosort.model.architectures import TASKS
from yosort.tasks import bundled_model

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)
LANGUAGES = {"python", "sh", "text"}
FRAMEWORKS = re.compile(r"^(import|from) (torch|transformers)\b", re.M)
ENGINES = re.compile(r"^(?:import|from) (ray|dask|pyspark)\b", re.M)


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def run_shell(code: str, folder: Path) -> str:
    if code.startswith("pip install"):
        named = re.findall(r"\.\[(\w+)\]", code)
        extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        assert all(re.search(rf"^{name} = \[", extras, re.M) for name in named)
        return ""
    if shutil.which("bash") is None:
        pytest.skip("no bash to run blocks in")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    return done.stdout


def run_python(code: str, names: dict[str, Any]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, "<block>", "exec"), names)
    return printed.getvalue()


def run_page(page: Path, folder: Path, *, frameworks: bool) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    beside = False
    for language, code in blocks(page):
        if beside and language == "text":
            continue  # what an engine's block prints
        beside = language == "python" and ENGINES.search(code) is not None
        if beside:
            continue
        assert language in LANGUAGES, f"a block of {language or 'nothing'} cannot be checked"
        if FRAMEWORKS.search(code) and not frameworks:
            return
        if language == "text":
            assert printed.strip() == code.strip()
        elif language == "sh":
            printed = run_shell(code, folder)
        else:
            printed = run_python(code, names)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_the_architecture_names_what_is_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    places = re.findall(r"`([\w/]+\.\w+)`: `([\w.]+)`", text)
    assert len(places) > 30
    for path, name in places:
        source = (ROOT / "yosort" / path).read_text(encoding="utf-8")
        owner, _, last = name.rpartition(".")
        assert re.search(rf"\b(def|class|static void) {last}\b", source), (path, name)
        assert not owner or re.search(rf"^class {owner}\b", source, re.M), (path, name)
    drawing = "\n".join(re.findall(r"^    .*$", text, re.M))
    for path in re.findall(r"\b[a-z]+/[\w/]*(?:\.py)?", drawing):
        assert (ROOT / "yosort" / path).exists(), path


#: transformers' YOSO page loads this id. A folder of its name comes before the hub.
CHECKPOINT = "uw-madison/yoso-4096"


#: Pages that stand for a folder of long documents.
LONG = ("checkpoints.md", "gpu.md", "int8.md")


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where a folder has the name of transformers' checkpoint, and another some pages."""
    shutil.copytree(bundled_model(), tmp_path / CHECKPOINT)
    (tmp_path / "docs").mkdir()
    for name in LONG:
        shutil.copy(ROOT / "docs" / name, tmp_path / "docs")
    monkeypatch.chdir(tmp_path)


#: Pages that take seconds, of commands that other tests run.
SLOW = [ROOT / "docs" / name for name in ("command-line.md", "sentence.md")]


@pytest.mark.usefixtures("checkpoint")
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else []) for page in PAGES],
    ids=name_of,
)
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if any(code.count("yoso-minilm") for _, code in blocks(page)):
        if not HAS_MINILM:
            pytest.skip(NO_MINILM)
        offer(MINILM, tmp_path / "site", monkeypatch)
    run_page(page, tmp_path, frameworks=False)


TRAINING = [p for p in PAGES if any(FRAMEWORKS.search(code) for _, code in blocks(p))]


@pytest.mark.parity
@pytest.mark.parametrize("page", TRAINING, ids=name_of)
def test_training_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    run_page(page, tmp_path, frameworks=True)


ENGINE_BLOCKS = [
    (found[1], code, output)
    for page in PAGES
    for (_, code), (_, output) in pairwise(blocks(page))
    if (found := ENGINES.search(code))
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "code", "output"), ENGINE_BLOCKS, ids=[engine for engine, *_ in ENGINE_BLOCKS]
)
def test_blocks_of_engines_run(
    engine: str, code: str, output: str, tmp_path: Path, patience: dict[str, str]
) -> None:
    pytest.importorskip(engine)
    lines = [f"Line {number} of a file.\n" for number in range(2000)]
    (tmp_path / "texts.txt").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "block.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "block.py"],
        cwd=tmp_path, env=patience, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().splitlines()[-1] == output.strip()


HABITS = re.findall(
    r"^\| `([^`]+)` \| (works|refused)", (ROOT / "docs/transformers.md").read_text("utf-8"), re.M
)


@pytest.mark.usefixtures("checkpoint")
def test_habits_of_transformers() -> None:
    assert len(HABITS) > 30
    p = yosort.pipeline("fill-mask", CHECKPOINT, device="cpu")
    p.model.save_pretrained("copy")
    names = {"yosort": yosort, "p": p, "model": p.model, "tokenizer": p.tokenizer, "inputs": {}}
    names["input_ids"] = [[0, 5, 2]]
    for code, wanted in HABITS:
        if wanted == "works":
            eval(code, names)
            continue
        with pytest.raises((AttributeError, yosort.YosortError)) as caught:
            eval(code, names)
        assert re.search(r"; |: |=", str(caught.value)), code  # what to do instead


def test_the_pages_are_found() -> None:
    assert len(PAGES) > 10
    assert len(TRAINING) == 8
    assert sum(len(blocks(page)) for page in PAGES) > 60


def test_the_dial_s_tables_are_those_of_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import dial_tables

    made = dial_tables.tables()
    for path, names in dial_tables.PAGES.items():
        page = (ROOT / path).read_text(encoding="utf-8")
        assert dial_tables.with_tables(page, names, made) == page


API = (ROOT / "docs/api.md").read_text("utf-8")
DIRECTIVES = re.findall(r"^::: (\S+)$", API, re.M)


def test_the_reference_has_every_public_name() -> None:
    for name in set(yosort.__all__) - {"__version__"}:
        assert f"yosort.{name}" in DIRECTIVES
    assert "`yosort.__version__`" in API
    for name in yosort.ops.__all__:
        assert f"yosort.ops.{name}" in DIRECTIVES
    for task in TASKS.values():
        assert f"{task.module}.{task.pipeline}" in DIRECTIVES
    outputs = [n for n, cls in vars(yosort.model.outputs).items() if n.endswith("Output")]
    assert len(outputs) == 7
    for name in outputs:
        assert f"yosort.model.outputs.{name}" in DIRECTIVES
    results = [n for n, cls in vars(yosort.tasks.results).items() if hasattr(cls, "__total__")]
    assert len(results) == 14
    for name in results:
        assert f"yosort.tasks.results.{name}" in DIRECTIVES
    others = (
        "tokenizer.encodings.BatchEncoding",
        "tasks.options.StreamOptions",
        "tasks.stream.Failure",
    )
    assert {f"yosort.{name}" for name in others} < set(DIRECTIVES)


def test_the_reference_lists_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import api_list

    assert api_list.with_list(API) == API
    found = re.findall(r"^\| \[`([\w.]+)`\]\(\.\./(\S+)\) \| \S.* \|$", API, re.M)
    assert [name for name, _ in found] == DIRECTIVES
    for name, path in found:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^(class|def) {name.rpartition('.')[2]}\b", source, re.M), name
    assert api_list.on_page_markdown(API).count("|---|") == 0


def test_the_reference_names_what_there_is() -> None:
    assert len(DIRECTIVES) == len(set(DIRECTIVES)) > 40
    for directive in DIRECTIVES:
        assert pkgutil.resolve_name(directive).__doc__, directive
