"""What fails on a GPU for reasons that its user can help: an error that names the remedy."""

from __future__ import annotations

import errno
import os
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import yosort
from emulator import devices
from yosort import DeviceError, YosoConfig
from yosort.ops.cuda import finding

CONFIG = YosoConfig(
    vocab_size=40, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
    intermediate_size=32, max_position_embeddings=32,
)  # fmt: skip
IDS = np.arange(3, 15)[None]


def raising(error: Exception) -> Any:
    """Return a function that raises."""

    def function(*_: Any, **__: Any) -> None:
        raise error

    return function


@pytest.fixture(autouse=True)
def _not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "_started_in", None)


def test_a_forked_child_is_told_to_load_itself(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = yosort.YosoModel(CONFIG, device="cuda")
    model(IDS)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(DeviceError, match=r"cuda:0: loaded before a fork.* in each worker"):
        model(IDS)
    # Nor can the child start CUDA afresh.
    with pytest.raises(DeviceError, match=r"device='cuda': loaded before a fork.* by spawn"):
        yosort.YosoModel(CONFIG, device="cuda")


@pytest.mark.parametrize(
    "failure",
    [
        devices.OutOfMemoryError("Out of memory allocating 512 bytes"),
        devices.CUDARuntimeError("cudaErrorMemoryAllocation: out of memory"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
    ],
    ids=str,
)
def test_a_full_device(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    model = yosort.YosoModel(CONFIG, device="cuda")

    monkeypatch.setattr(model._ops, "embed", raising(failure))
    with pytest.raises(DeviceError, match=r"cuda:0: .* \d+ MB of \d+ MB are free now; smaller"):
        model(IDS)
    monkeypatch.setattr(cupy.cuda, "get_cublas_handle", raising(failure))
    with pytest.raises(DeviceError, match=r"device='cuda': .*; smaller"):
        yosort.YosoModel(CONFIG, device="cuda")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_cache_that_cannot_be_written(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    model = yosort.YosoModel(CONFIG, device="cuda")
    failure = OSError(code, os.strerror(code), "/home/me/.cupy/kernel_cache")
    monkeypatch.setattr(cupy, "RawModule", raising(failure))
    with pytest.raises(DeviceError, match=r"cuda:0: .*kernel_cache'; set CUPY_CACHE_DIR to"):
        model(IDS)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_cupy_that_cannot_write_at_import(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    failure = OSError(code, os.strerror(code), "/home/me/.cupy")
    monkeypatch.setattr(finding.importlib, "import_module", raising(failure))
    with pytest.raises(DeviceError, match=r"device='cuda': .*\.cupy'; set CUPY_CACHE_DIR to"):
        yosort.YosoModel(CONFIG, device="cuda")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_cache_that_cannot_take_the_first_kernel(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    failure = OSError(code, os.strerror(code), "/home/me/.cupy/kernel_cache")
    monkeypatch.setattr(cupy.RawModule, "compile", raising(failure))
    with pytest.raises(DeviceError, match=r"device='cuda': .*kernel_cache'; set CUPY_CACHE_DIR to"):
        yosort.YosoModel(CONFIG, device="cuda")


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (devices.CUBLASError("CUBLAS_STATUS_EXECUTION_FAILED"), "CUBLASError: CUBLAS_STATUS_EX"),
        (devices.CUDADriverError("CUDA_ERROR_ILLEGAL_ADDRESS"), "CUDADriverError: CUDA_ERROR_IL"),
        (devices.CUDARuntimeError("cudaErrorLaunchFailure"), "CUDARuntimeError: cudaErrorLaunch"),
        (devices.CompileException("kernel.cu(3): error"), r"CompileException: kernel.cu\(3\)"),
        (
            devices.CUDARuntimeError("cudaErrorInitializationError: initialization error"),
            "before a fork: start worker processes by spawn",
        ),
    ],
    ids=str,
)
def test_errors_of_cupys_are_named(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, failure: Exception, words: str
) -> None:
    model = yosort.YosoModel(CONFIG, device="cuda")
    monkeypatch.setattr(model._ops, "embed", raising(failure))
    with pytest.raises(DeviceError, match=rf"cuda:0: .*{words}") as caught:
        model(IDS)
    assert caught.value.__cause__ is failure


def test_other_errors_leave_as_they_are(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model = yosort.YosoModel(CONFIG, device="cuda")
    monkeypatch.setattr(model._ops, "embed", raising(RuntimeError("of nobody's")))
    with pytest.raises(RuntimeError, match="of nobody's"):
        model(IDS)


@pytest.mark.parametrize("spare", [4, 6])
def test_what_is_free_is_told_when_the_call_has_let_go(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, spare: int
) -> None:
    """The failed call's own arrays do not count: the traceback no longer holds them."""
    monkeypatch.setattr(devices, "granule", 1 << 20)
    pools = [devices.Pool()]
    monkeypatch.setattr(devices, "pools", pools)
    model = yosort.YosoModel(CONFIG, device="cuda")
    model(IDS)
    pools[0].free_all_blocks()
    weights = pools[0].used
    monkeypatch.setattr(devices, "total_memory", weights + (spare << 20))
    with pytest.raises(DeviceError, match=rf" {spare} MB of \d+ MB are free now"):
        model(IDS)
