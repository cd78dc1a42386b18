"""Models that installed packages offer by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tasks.models import make

import yosort
from yosort.checkpoint import resolve
from yosort.checkpoint.installed import installed_models
from yosort.cli import doctor, main
from yosort.conversion import convert
from yosort.errors import CheckpointError


def install(site: Path, package: str, *lines: str, version: str = "1.2") -> None:
    """Put a package's metadata where Python finds it."""
    facts = site / f"{package.replace('-', '_')}-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    points = "\n".join(["[yosort.models]", *lines, ""])
    (facts / "entry_points.txt").write_text(points, encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, one of which offers a model, and another to work in."""
    site = tmp_path / "site"
    make(site / "small_model", "YosoModel")
    (site / "small_model" / "__init__.py").write_text("raise SystemExit('imported')\n")
    make(site / "several" / "second", "YosoForMaskedLM")
    install(site, "small-model", "small = small_model", "second = several.second")
    monkeypatch.syspath_prepend(str(site))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return site


def test_a_name_is_a_model_everywhere(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resolve("small") == site / "small_model"
    assert resolve("second") == site / "several" / "second"
    wanted = yosort.pipeline("feature-extraction", site / "small_model")("a dog", pooling="mean")
    assert yosort.pipeline("feature-extraction", "small")("a dog", pooling="mean") == wanted
    assert type(yosort.load("second")) is yosort.YosoForMaskedLM
    assert len(yosort.Tokenizer.from_pretrained("small")) == 8192
    assert yosort.YosoConfig.from_pretrained("small").hidden_size == 32
    assert convert("small", tmp_path / "out").is_dir()
    assert main(["embed", "--model", "small", "a dog"]) == 0
    np.testing.assert_allclose(json.loads(capsys.readouterr().out), wanted)
    assert not {"small_model", "several"} & set(sys.modules)


def test_a_folder_comes_first_and_a_path_is_a_place(site: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        resolve(Path("small"))
    make(Path("small"), "YosoForMaskedLM")
    assert resolve("small") == Path("small")
    assert type(yosort.load("small")) is yosort.YosoForMaskedLM


def test_a_revision_is_the_hub_s(site: Path) -> None:
    install(site, "odd", "owner/name = small_model")
    assert resolve("owner/name") == site / "small_model"
    with pytest.raises(CheckpointError, match="owner/name"):
        resolve("owner/name", revision="main", local_files_only=True)


def test_a_name_that_two_packages_have_is_refused_and_both_named(site: Path) -> None:
    install(site, "rival", "small = several.second", version="3")
    with pytest.raises(
        CheckpointError, match=r"'small': wanted one package .*, got rival 3 and small-model 1.2"
    ):
        yosort.load("small")
    assert resolve("second").is_dir()


def test_an_unknown_name_is_answered_with_those_there_are(site: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'smal': .*; installed models: 'second', 'small'"):
        yosort.load("smal")


@pytest.mark.parametrize("module", ["gone", "small_model.gone", "..", "a b:c"])
def test_a_package_whose_files_are_gone_is_named(site: Path, module: str) -> None:
    install(site, "broken-model", f"broken = {module}")
    with pytest.raises(CheckpointError, match=r"'broken': broken-model 1.2 offers it, but"):
        yosort.load("broken")
    assert "broken-model 1.2 offers it, but" in dict(doctor.report())["models"]


def ours(names: list[str]) -> list[str]:
    """Return the names of these tests: other packages may be installed beside."""
    return [name for name in names if name.split()[0] in ("bundled", "second", "small")]


def test_doctor_and_info_list_them(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *found = dict(doctor.report())["models"].split(", ")
    assert first == "bundled"
    assert ours(found) == ["second (small-model 1.2)", "small (small-model 1.2)"]
    assert main(["info", "small", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["folder"] == str(site / "small_model")
    assert ours(facts["installed"]) == ["bundled", "second", "small"]


def test_a_folder_costs_no_look_at_packages(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ours([offer.name for offer in installed_models()]) == ["second", "small"]

    def never() -> None:
        raise AssertionError("looked")

    monkeypatch.setattr("yosort.checkpoint.hub.find_installed", never)
    monkeypatch.setattr("yosort.checkpoint.hub.installed_models", never)
    yosort.load(str(site / "small_model"))
