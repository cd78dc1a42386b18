"""A short run of the fuzzer on every target, and what its long runs have found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoint_builders import safetensors_bytes

from yosort.checkpoint import read_state
from yosort.errors import CheckpointError

RUN = Path(__file__).with_name("run.py")
TARGETS = (
    "pickle", "torch", "safetensors", "index", "config", "int8", "convert", "tokenizer", "roles",
    "vocab", "merges",
)  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="bounds memory and time as POSIX does")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seconds", ["0.2", pytest.param("2", marks=pytest.mark.slow)])
def test_a_damaged_file_is_refused_or_read(target: str, seconds: str) -> None:
    """For so many seconds of a processor."""
    seconds = os.environ.get("YOSORT_FUZZ_SECONDS", seconds)
    done = subprocess.run(
        [sys.executable, str(RUN), target, "--seconds", seconds],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    line = json.loads(done.stdout)
    # A target that refuses whole files, too, would find nothing.
    assert line["executions"] > line["accepted"] > 0


@pytest.mark.parametrize("name", ["a" * 300, "\ud800", "a\udfff.safetensors"])
def test_a_shard_with_a_name_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match="a shard that it lists is missing") as caught:
        read_state(tmp_path)
    str(caught.value).encode()  # printable, whatever the file says


def test_a_shard_in_a_link_out_of_the_folder_is_read_as_the_hub_lays_it(tmp_path: Path) -> None:
    folder, blobs = tmp_path / "snapshot", tmp_path / "blobs"
    folder.mkdir()
    blobs.mkdir()
    header = {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
    (blobs / "0").write_bytes(safetensors_bytes(header, b"\x07"))
    (folder / "one.safetensors").symlink_to(blobs / "0")
    index = {"weight_map": {"a": "one.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert read_state(folder)["a"].tolist() == [7]
    # A link to nothing, to itself, to a folder or to a device: no shard.
    for there in (blobs / "1", folder / "one.safetensors", blobs, "/dev/zero"):
        (folder / "one.safetensors").unlink()
        (folder / "one.safetensors").symlink_to(there)
        with pytest.raises(CheckpointError):
            read_state(folder)
