"""Folders that claim more than they hold, lead elsewhere, or never end: an error, at once.

Each is read under bounds of memory and time, which no reader may reach: see bounded.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_builders import (
    CONFIG,
    StorageRef,
    dumps,
    entry,
    safetensors_bytes,
    tensor,
    weights,
    write_zip,
)

from yosort.checkpoint import write_state
from yosort.tasks import bundled_model

BOUNDED = Path(__file__).with_name("bounded.py")
#: Sizes that no file holds: 4 TB of float32, and more than 64 bits count.
TERA, EXA = 1 << 40, 1 << 62
WEIGHT = "yoso.embeddings.word_embeddings.weight"
FLOATS = StorageRef("torch.FloatStorage", "0", 6)
SIX = {"0": np.arange(6, dtype="f4").tobytes()}
DEEP = 100_000


def whole(folder: Path) -> None:
    """Make a model folder that loads: small, of random weights, with the bundled tokenizer."""
    write_state(folder, weights())
    (folder / "config.json").write_text(json.dumps(CONFIG))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(bundled_model() / name, folder)


def config(**changes: Any) -> Callable[[Path], None]:
    """Change fields of config.json."""
    return lambda folder: (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    """Put content in a file's place."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def only(name: str, content: str | bytes) -> Callable[[Path], None]:
    """Put content in a file of weights, which is then the folder's only one."""

    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        text(name, content)(folder)

    return change


def torch_zip(content: bytes, change: Callable[[zipfile.ZipInfo], None]) -> Callable[[Path], None]:
    """Put a torch file in the weights' place; `change` may falsify each entry in the directory."""

    def write(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as file:
            file.writestr("archive/data.pkl", content)
            file.writestr("archive/data/0", SIX["0"])
            for info in file.filelist:
                change(info)

    return write


def claims(size: int, kind: int = zipfile.ZIP_STORED) -> Callable[[zipfile.ZipInfo], None]:
    """Say in the directory that an entry holds `size` bytes."""

    def change(info: zipfile.ZipInfo) -> None:
        info.file_size, info.compress_type = size, kind
        info.compress_size = size if kind == zipfile.ZIP_STORED else info.compress_size

    return change


def huge_directory(folder: Path) -> None:
    """Let the zip's end record claim a directory of 4 GB."""
    (folder / "model.safetensors").unlink()
    path = write_zip(folder / "pytorch_model.bin", dumps({"w": tensor(FLOATS, (6,), (1,))}), SIX)
    data = path.read_bytes()
    at = data.rindex(b"PK\5\6")
    path.write_bytes(data[: at + 12] + struct.pack("<I", 0xFFFFFFF0) + data[at + 16 :])


def sparse(name: str, size: int, start: bytes = b"") -> Callable[[Path], None]:
    """Make a file of `size` bytes that takes no room on the disk."""

    def write(folder: Path) -> None:
        (folder / name).write_bytes(start)
        os.truncate(folder / name, size)

    return write


def index(shard: str) -> Callable[[Path], None]:
    """Let an index place the weights in a file of this name."""

    def write(folder: Path) -> None:
        os.replace(folder / "model.safetensors", folder.parent / "outside.safetensors")
        (folder / "link.safetensors").symlink_to("/dev/zero")
        names = dict.fromkeys(weights(), shard)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))

    return write


def pickled(content: bytes) -> Callable[[Path], None]:
    """Put a pickle in a torch file, in the weights' place."""
    return torch_zip(content, lambda info: None)


def nested(name: str, opening: str = "[") -> Callable[[Path], None]:
    """Put JSON of DEEP levels in a file's place."""
    return text(name, opening * DEEP)


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    # Sizes that the file does not hold.
    "safetensors: a header of terabytes": (
        text("model.safetensors", safetensors_bytes(b"{}", length=TERA)), "got a length of",
    ),
    "safetensors: a tensor of terabytes": (
        text("model.safetensors", safetensors_bytes({WEIGHT: entry("F32", [TERA], 0, 4 * TERA)})),
        "data_offsets within the 0 bytes",
    ),
    "safetensors: a shape beyond 64 bits": (
        text("model.safetensors", safetensors_bytes({WEIGHT: entry("F32", [EXA, EXA], 0, 0)})),
        "a file can hold",
    ),
    "safetensors: a file of a terabyte, of holes": (
        sparse("model.safetensors", TERA, struct.pack("<Q", TERA // 2)),
        "cannot be mapped|got a length of",
    ),
    "torch: an entry of terabytes": (
        torch_zip(dumps({"w": tensor(FLOATS, (6,), (1,))}), claims(TERA)), "got a file of",
    ),
    "torch: a bomb, a compressed entry of terabytes": (
        torch_zip(b"", claims(TERA, zipfile.ZIP_DEFLATED)), "stored as torch does",
    ),
    "torch: a directory of gigabytes": (huge_directory, "zip directory is damaged"),
    "torch: a storage of terabytes": (
        pickled(dumps({"w": tensor(StorageRef("torch.FloatStorage", "0", EXA), (6,), (1,))})),
        "wanted 18446744073709551616 bytes",
    ),
    "torch: a shape beyond 64 bits": (
        pickled(dumps({"w": tensor(FLOATS, (EXA, 4, 4), (0, 0, 0))})), "at most the 6 elements",
    ),
    "torch: strides beyond 64 bits": (
        pickled(dumps({"w": tensor(FLOATS, (2, 3), (EXA, EXA))})), "got one at 138350580552821637",
    ),
    "config: a vocabulary of terabytes": (config(vocab_size=TERA), f"wanted .{TERA}, 8., got"),
    "config: a billion layers": (config(num_hidden_layers=10**9), "at most 1024 layers"),
    "config: numbers of 400 digits": (config(vocab_size=10**400), "vocab_size: wanted"),
    "config: positions of terabytes": (config(max_position_embeddings=TERA), "position_embeddings"),
    "config: hash functions of terabytes": (
        config(num_hash=TERA, use_expectation=False), "hash functions need at least",
    ),
    "config: a billion labels": (config(num_labels=10**9), "at most 100000"),
    "config: ten gigabytes, of holes": (sparse("config.json", 10 << 30, b"{"), "at most 67108864"),
    "tokenizer: ten gigabytes, of holes": (sparse("tokenizer.json", 10 << 30), "at most 67108864"),
    # Nesting.
    "torch: a pickle of a million lists": (
        pickled(b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b"."), "wanted a dict of tensors",
    ),
    "torch: a pickle of a million tuples": (
        pickled(b"\x80\x02)" + b"\x85" * 1_000_000 + b"."), "wanted a dict of tensors",
    ),
    "torch: a pickle with the largest memo index": (
        pickled(b"\x80\x02]r\xff\xff\xff\xffj\xff\xff\xff\xffa."), "wanted a dict of tensors",
    ),
    "torch: text of 8 exabytes": (pickled(b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f."), "ends in the"),
    "config: nested": (nested("config.json"), "valid JSON"),
    "config: objects nested": (nested("config.json", '{"a":'), "valid JSON"),
    "safetensors: a nested header": (
        text("model.safetensors", safetensors_bytes(b'{"a":' * DEEP)), "valid JSON",
    ),
    "index: nested": (only("model.safetensors.index.json", "[" * DEEP), "valid JSON"),
    "tokenizer: nested": (nested("tokenizer.json", '{"model":'), "not a tokenizer"),
    "tokenizer: a nested config": (nested("tokenizer_config.json", '{"a":'), "valid JSON"),
    # Keys that are given twice mean one thing to this reader, and may mean another to the next.
    "config: a key twice": (
        text("config.json", json.dumps(CONFIG)[:-1] + ', "vocab_size": 12}'), "is given twice",
    ),
    "safetensors: a key twice": (
        text("model.safetensors", safetensors_bytes(b'{"a":{},"a":{}}')), "is given twice",
    ),
    "index: a key twice": (
        only("model.safetensors.index.json", '{"weight_map":{"a":"x","a":"y"}}'), "is given twice",
    ),
    "tokenizer: a key twice": (
        text("tokenizer_config.json", '{"mask_token":"a","mask_token":"b"}'), "is given twice",
    ),
    # Ways out of the folder.
    "index: a shard above": (index("../outside.safetensors"), "in its own folder"),
    "index: a shard by its whole path": (index("/dev/zero"), "in its own folder"),
    "index: a shard that links to a device": (index("link.safetensors"), "regular file"),
}  # fmt: skip
FILES = (
    "config.json", "model.safetensors", "model.safetensors.index.json", "yosort-int8.safetensors",
    "pytorch_model.bin", "pytorch_model.bin.index.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "vocab.json", "merges.txt",
)  # fmt: skip


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _terminal(path: Path) -> None:
    path.symlink_to("/dev/stdin")


KINDS: dict[str, Callable[[Path], None]] = {
    "pipe": _pipe, "device": _device, "folder": Path.mkdir, "input": _terminal,
}  # fmt: skip


def in_place_of(name: str, kind: str) -> Callable[[Path], None]:
    """Put something that is no file in the place of one, and take away what is read before it."""

    def change(folder: Path) -> None:
        if name in FILES[1:6]:
            (folder / "model.safetensors").unlink()
        if name in ("vocab.json", "merges.txt"):
            (folder / "tokenizer.json").unlink()
            (folder / "vocab.json").write_text('{"<s>": 0}')
            (folder / "merges.txt").write_text("#version: 0.2\n")
        (folder / name).unlink(missing_ok=True)
        KINDS[kind](folder / name)

    return change


CASES = {
    "a whole folder": (lambda folder: None, ""),
    **HOSTILE,
    **{
        f"{name}: a {kind}": (in_place_of(name, kind), "regular file")
        for name in FILES
        for kind in KINDS
    },
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str] | None]:
    """What came of each folder, read by one process; those after its death are missing."""
    folders = []
    for number, (change, _) in enumerate(CASES.values()):
        folder = tmp_path_factory.mktemp(f"hostile{number}") / "model"
        folder.mkdir()
        whole(folder)
        change(folder)
        folders.append(str(folder))
    # Nobody writes to its input: who reads it waits.
    waiting, _ = pipe = os.pipe()
    done = subprocess.run(
        [sys.executable, str(BOUNDED), *folders], stdin=waiting, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    for end in pipe:
        os.close(end)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    sys.stderr.write(done.stderr)
    return dict(zip(CASES, lines, strict=False))


linux = pytest.mark.skipif(sys.platform != "linux", reason="bounds memory as Linux does")


@linux
def test_a_whole_folder_is_read_within_the_bounds(outcomes: dict[str, list[str] | None]) -> None:
    assert outcomes["a whole folder"] is None


@linux
@pytest.mark.parametrize("name", [name for name in CASES if name != "a whole folder"])
def test_hostile_folders(name: str, outcomes: dict[str, list[str] | None]) -> None:
    assert name in outcomes, "the reader died on it, or before"
    outcome = outcomes[name]
    assert outcome is not None, "it was taken for a model"
    kind, message = outcome
    assert kind in ("CheckpointError", "ConfigError", "DeviceError"), message
    assert re.search(CASES[name][1], message), message
    assert len(message) < 2000
