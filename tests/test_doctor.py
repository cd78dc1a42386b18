"""`yosort doctor` says what is there, and what would bring what is not."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import yosort
from yosort._dense import available_instruction_sets
from yosort.cli import doctor, main
from yosort.tasks import bundled_model


def test_it_names_what_runs_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("YOSORT_NUM_THREADS", raising=False)
    found = dict(doctor.report())
    assert found["yosort"] == yosort.__version__
    assert found["Python"].split()[0] == platform.python_version()
    for name in ("numpy", "safetensors", "tokenizers", "tqdm"):
        assert found[name] == importlib.metadata.version(name)
    assert found["threads"] == f"3 of {os.cpu_count()} cores"
    assert found["  OMP_NUM_THREADS"] == "3"
    assert "  YOSORT_NUM_THREADS" not in found
    sets, _, used = found["instruction sets"].partition("; using ")
    assert sets.split(", ") == list(available_instruction_sets())
    assert used in sets.split(", ")
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in found)


def test_it_shows_the_variables_that_change_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"YOSORT_NUM_THREADS": "1", "OMP_NUM_THREADS": "2", "YOSORT_AMX": "0"}
    for name, value in (values | {"YOSORT_TENSOR_CORES": "0", "YOSORT_OTHER": "3"}).items():
        monkeypatch.setenv(name, value)
    found = dict(doctor.report())
    assert {name.strip(): found[name] for name in found if name.startswith("  ")} == (
        values | {"YOSORT_TENSOR_CORES": "0"}
    )


def test_it_says_what_would_bring_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = importlib.metadata.version

    def version(name: str) -> str:
        if name in ("huggingface_hub", "shtab", "tqdm"):
            raise importlib.metadata.PackageNotFoundError(name)
        return asked(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = dict(doctor.report())
    assert "pip install '.[hub]'" in found["huggingface_hub"]
    assert "pip install '.[completion]'" in found["shtab"]
    assert found["tqdm"] == "not installed"


def test_it_has_a_line_for_each_thing_in_this_order(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("YOSORT_NUM_THREADS", "OMP_NUM_THREADS", "YOSORT_AMX", "YOSORT_TENSOR_CORES"):
        monkeypatch.delenv(name, raising=False)

    def find_gpu() -> None:
        raise yosort.DeviceError("cuda: there is no driver: none at all")

    monkeypatch.setattr("yosort.ops.cuda.finding.find_gpu", find_gpu)
    found = doctor.report()
    assert [name for name, _ in found if name] == [
        "yosort", "Python", "numpy", "safetensors", "tokenizers", "tqdm",
        "huggingface_hub", "starlette", "shtab", "instruction sets", "number types", "threads",
        "BLAS", "GPU", "models", "self-test",
    ]  # fmt: skip
    assert dict(found)["GPU"] == "none usable: there is no driver: none at all"


def test_it_names_the_models_and_says_what_is_wrong_with_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offers = [SimpleNamespace(name=name, package=f"yosort-{name}") for name in ("small", "broken")]

    def find(name: str) -> None:
        if name == "broken":
            raise yosort.CheckpointError("broken: its folder\n  is not there")

    monkeypatch.setattr("yosort.checkpoint.installed.installed_models", lambda: offers)
    monkeypatch.setattr("yosort.checkpoint.installed.find_installed", find)
    assert dict(doctor.report())["models"] == (
        "bundled, small (yosort-small), broken: its folder; is not there"
    )


@pytest.mark.parametrize("refused", [TypeError, KeyError])
def test_an_older_numpy_does_not_name_its_blas(
    refused: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def show_config(mode: str) -> None:
        raise refused(mode)

    monkeypatch.setattr(np, "show_config", show_config)
    assert dict(doctor.report())["BLAS"].startswith("numpy has one that it does not name; ")


def test_its_own_run_is_timed_from_loading_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(doctor, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert dict(doctor.report())["self-test"].endswith(" in 2.50 s")


def test_its_own_run_is_of_the_bundled_model(monkeypatch: pytest.MonkeyPatch) -> None:
    (answer,) = yosort.pipeline("fill-mask", bundled_model(), device="cpu")(
        "Paris is the <mask> of France.", top_k=1
    )
    told = dict(doctor.report())["self-test"]
    assert told.startswith(f"the bundled model loads and answers {answer['token_str'].strip()!r}")

    def broken(*_: Any, **__: Any) -> None:
        raise yosort.CheckpointError("model.safetensors: cut off")

    monkeypatch.setattr("yosort.tasks.pipeline", broken)
    told = dict(doctor.report())["self-test"]
    assert told == "FAILED: model.safetensors: cut off; reinstall yosort"


@pytest.mark.parametrize(
    ("machine", "name", "warned"),
    [
        ("x86_64", "baseline", 1), ("AMD64", "baseline", 1),
        ("x86_64", "avx2", 0), ("AMD64", "avx2", 0), ("aarch64", "baseline", 0),
    ],
)  # fmt: skip
def test_a_slow_processor_is_said_so(
    machine: str, name: str, warned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    kernels = SimpleNamespace(name=name, multiplies=lambda kind: kind == "float32")
    monkeypatch.setattr("yosort._dense.Kernels", lambda _: kernels)
    report = doctor.report()
    assert sum("expect a quarter of the speed" in text for _, text in report) == warned
    slow = "(smaller; no faster on this processor)"
    assert dict(report)["number types"] == f"float32, bfloat16 {slow}, int8 {slow}"


@pytest.mark.parametrize(("granted", "said"), [(False, 1), (True, 0), (None, 0)])
def test_a_matrix_unit_that_the_system_keeps_back_is_said_so(
    granted: bool | None, said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yosort.ops.cpu.backend.request_tiles", lambda: granted)
    assert sum("the system grants no AMX" in text for _, text in doctor.report()) == said


def test_a_gpu_and_what_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Device:
        compute_capability = "86"
        mem_info = (3 << 30, 4 << 30)

    cupy: Any = SimpleNamespace(cuda=SimpleNamespace(Device=lambda index: Device()))
    monkeypatch.setattr("yosort.ops.cuda.finding.find_gpu", lambda *_: (cupy, 1))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    found = dict(doctor.report())
    assert found["cupy"] == "unknown"
    assert found["GPU"] == "cuda:1, compute capability 8.6"
    assert found["  memory"] == "3,072 of 4,096 MB free"
    cupy.__version__ = "14.1"
    assert dict(doctor.report())["cupy"] == "14.1"
