"""Put a trained model into the package, as 8-bit integers: `python build.py TRAINED`.

TRAINED is what examples/sentence or `yosort adopt` made, with sentence-transformers' files in it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import yosort
from yosort.conversion import convert

PACKAGE = Path(__file__).resolve().parent / "yoso_minilm"
MAX_BYTES = 30_000_000


def build(trained: Path, package: Path = PACKAGE) -> int:
    """Replace the package's model; return the bytes of its files."""
    with tempfile.TemporaryDirectory() as work:
        made = convert(trained, Path(work) / "model", dtype="int8")
        said = yosort.load(made, device="cpu").sentence
        if said is None or said.refusal is not None:
            raise SystemExit(f"{trained}: wanted a folder that says how a text's vector is made")
        size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
        if size > MAX_BYTES:
            raise SystemExit(f"{trained}: wanted at most {MAX_BYTES:,} bytes as int8, got {size:,}")
        for old in package.iterdir():
            if old.is_dir():
                shutil.rmtree(old)
            elif old.name != "__init__.py":
                old.unlink()
        for path in made.iterdir():
            shutil.move(os.fspath(path), package / path.name)
    return size


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("trained", type=Path, help="the folder of the model")
    print(f"{PACKAGE}: {build(parser.parse_args().trained):,} bytes")
