"""The memory preflight: it refuses before the call starts, and never what fits."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from reliability.scripts import CONFIG, ids
from yosort import DeviceError
from yosort.machine import SLACK, WORTH_ASKING, check_memory, host_memory
from yosort.model.batch import pack_mask
from yosort.model.memory import numbers_of_call

SCRIPTS = Path(__file__).with_name("scripts.py")
WORDS = {"what": "the call needs", "hint": "shorter texts need less"}
MEMINFO = "MemTotal: 100 kB\nMemAvailable:   40 kB\nSwapFree: 2 kB\n"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_the_estimate_is_a_lower_bound_and_no_small_one() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(SCRIPTS), "peaks"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 24
    for line in lines:
        estimate, measured = (int(word) for word in line.split()[5::2])
        assert 0.4 * measured < estimate <= measured, line


@pytest.mark.parametrize(
    ("files", "kilobytes"),
    [
        ({}, 42),
        ({"memory.max": "max\n", "memory.current": "9\n", "memory.stat": ""}, 42),
        # Of 30 kB 20 are used, 8 of them by files that can go: 18 kB, and the swap.
        (
            {
                "memory.max": f"{30 << 10}",
                "memory.current": f"{20 << 10}",
                "memory.stat": f"anon 5\nactive_file {3 << 10}\ninactive_file {5 << 10}\n",
            },
            20,
        ),
        (
            {
                "memory/memory.limit_in_bytes": f"{30 << 10}",
                "memory/memory.usage_in_bytes": f"{20 << 10}",
                "memory/memory.stat": f"active_file 1\ntotal_inactive_file {5 << 10}\n",
            },
            17,
        ),
        # The group that the process is in, and those around it: the tightest counts.
        (
            {
                "a/memory.max": f"{7 << 10}",
                "a/memory.current": "0",
                "a/memory.stat": "",
                "a/b/memory.max": "max",
                "other/memory.max": "0",
                "other/memory.current": "0",
                "other/memory.stat": "",
            },
            9,
        ),
        # Over its limit already: nothing but the swap is left.
        ({"memory.max": "100", "memory.current": f"{9 << 10}", "memory.stat": ""}, 2),
        ({"memory.max": "nonsense", "memory.current": "0", "memory.stat": ""}, 42),
    ],
)
def test_what_a_container_leaves(files: dict[str, str], kilobytes: int, tmp_path: Path) -> None:
    written = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    written |= {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a/b\n1:cpu:/other\n"}
    for name, text in written.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert host_memory(tmp_path) == kilobytes << 10


@pytest.mark.parametrize(
    ("meminfo", "kilobytes"),
    [
        ("MemAvailable: 5 kB\n", 5), ("MemFree: 9 kB\nMemAvailable: 5 kB\nSwapFree: 2 kB\n", 7),
        ("MemFree: 5 kB\n", None), ("MemAvailable:\n", None), ("MemAvailable: much\n", None),
        ("nonsense\n", None), ("", None),
    ],
)  # fmt: skip
def test_what_a_system_tells(meminfo: str, kilobytes: int | None, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text(meminfo)
    assert host_memory(tmp_path) == (None if kilobytes is None else kilobytes << 10)


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert host_memory(tmp_path) is None
    check_memory(1 << 46, None, "cpu", **WORDS)
    with pytest.raises(DeviceError, match=r"needs .* memory, more than any machine has; shorter"):
        check_memory(1 << 60, None, "cpu", **WORDS)  # no machine has so much
    with pytest.raises(DeviceError, match=r"at least 4611686018\.43 GB of memory, 5\.37 GB are"):
        check_memory(1 << 5000, 5 << 30, "cpu", **WORDS)  # nor a float


def test_what_fits_to_the_byte_is_let_through() -> None:
    check_memory((5 << 30) + SLACK, 5 << 30, "cpu", **WORDS)
    with pytest.raises(DeviceError, match=r"cpu: the call needs at least 5\.44 GB .* 5\.37 GB are"):
        check_memory((5 << 30) + SLACK + 1, 5 << 30, "cpu", **WORDS)


def test_a_call_is_refused_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, vocab_size=100_000)
    model = yosort.YosoForMaskedLM(config, device="cpu", num_threads=1)
    batch = ids(512, 2)
    asked: list[int] = []

    def available() -> int:
        asked.append(1)
        return 0

    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("the encoder was called")

    monkeypatch.setattr(model._ops, "available_memory", available)
    assert model(batch[:1, :10]).logits.shape == (1, 10, 100_000)
    assert not asked  # too small to ask
    # Two of the tokens only: their scores are small.
    assert model(batch, positions=[[0, 1], [1, 2]]).logits.shape == (2, 100_000)
    monkeypatch.setattr(model, "_encoder", started)
    needed = 1024 * 100_000 * 4
    assert needed > WORTH_ASKING
    with pytest.raises(DeviceError, match=r"needs at least 0\.41 GB of memory, 0\.00 GB are"):
        model(batch)
    assert asked == [1]
    with pytest.raises(DeviceError, match=r"needs at least 0\.41 GB"):
        model(batch, attention_mask=np.ones((2, 512), int))


MANY_THREADS = """
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np, yosort
model = yosort.YosoForMaskedLM(yosort.YosoConfig(
    vocab_size=2000, hidden_size=256, num_hidden_layers=1, num_attention_heads=4,
    intermediate_size=1024, max_position_embeddings=512), device="cpu", num_threads=1)
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def call(n):
    model(np.full((4, 200 + n), 7))
call(0)
before = resident()
with ThreadPoolExecutor(10) as callers:
    list(callers.map(call, range(30)))
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a variable of glibc's")
def test_memory_of_large_calls_from_many_threads_can_be_given_back(tmp_path: Path) -> None:
    """As docs/many-inputs.md says: glibc keeps it for each thread unless told."""
    left = subprocess.check_output(
        [sys.executable, "-c", MANY_THREADS],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "1048576"},
        cwd=tmp_path,
        timeout=300,
    )
    assert int(left) < 20 << 20


@pytest.mark.parametrize(
    ("layers", "answer", "states", "contexts", "rows", "beside"),
    [
        (1, 0, False, False, 4, 0),  # x; q, k, v
        (1, 0, True, True, 4, 0),  # two states and a context are fewer
        (3, 0, False, False, 9, 0),  # x, context; q, k, v; output; the next q, k, v
        (3, 0, True, False, 10, 0),
        (3, 0, False, True, 10, 0),
        (3, 0, True, True, 11, 0),
        (20, 0, True, True, 45, 0),
        (3, 1000, False, False, 0, 1000),  # the head's answer outgrows the encoder
        (3, 1000, True, False, 4, 1000),
        (3, 1000, True, True, 7, 1000),
    ],
)
def test_what_a_call_holds_at_its_peak(
    layers: int, answer: int, states: bool, contexts: bool, rows: int, beside: int
) -> None:
    config = replace(CONFIG, num_hidden_layers=layers)
    width = config.hidden_size
    found = numbers_of_call(
        config, pack_mask(np.ones((2, 5), bool), attended=False), answer=answer * width,
        keep_hidden_states=states, keep_contexts=contexts,
    )  # fmt: skip
    assert found == (10 * rows + beside) * width
