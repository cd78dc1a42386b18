"""The packages of models in this checkout, found as if pip had installed them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MINILM = ROOT / "packages" / "yoso-minilm"
HAS_MINILM = (MINILM / "yoso_minilm" / "yosort-int8.safetensors").is_file()
NO_MINILM = "the package of yoso-minilm is not here: a source archive leaves it out"


def field(text: str, name: str) -> str:
    """Return a field of a pyproject.toml; Python 3.10 has no parser of them."""
    found = re.search(rf'^{name} = "(.*)"$', text, re.M)
    assert found, name
    return found[1]


def offer(package: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process, and those that it starts, find a package's model."""
    text = (package / "pyproject.toml").read_text(encoding="utf-8")
    name, version = field(text, "name"), field(text, "version")
    points = text.partition('[project.entry-points."yosort.models"]')[2]
    facts = site / f"{name.replace('-', '_')}-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (facts / "entry_points.txt").write_text("[yosort.models]" + points.replace('"', ""))
    for folder in (package, site):
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
