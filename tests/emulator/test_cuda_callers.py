"""Who calls, and from where: devices, streams, threads, and machines without a usable GPU."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from emulator import build, devices, fake_cupy
from yosort.cli import main
from yosort.model import answering
from yosort.ops.cuda.finding import find_gpu
from yosort.ops.interface import LayerNorm

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler")

CONFIG = yosort.YosoConfig(
    vocab_size=50, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
    intermediate_size=40, max_position_embeddings=40, hash_code_len=4, num_hash=6,
)  # fmt: skip
IDS = np.random.default_rng(0).integers(3, 50, (6, 9))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint."""
    yosort.YosoModel(CONFIG, seed=1, device="cpu").save_pretrained(tmp_path)
    return tmp_path


def load(folder: Path, device: str, **options: Any) -> Any:
    """Load with sampled attention."""
    return yosort.YosoModel.from_pretrained(folder, device=device, attention="sampled", **options)


def raising(error: Exception) -> Any:
    """Return a function that raises."""

    def function(*_: Any) -> Any:
        raise error

    return function


def test_several_devices(cupy: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls in turn: what a model launches runs where its weights are."""
    monkeypatch.setattr(devices, "capabilities", ["90", "90"])
    models = [load(folder, f"cuda:{i}") for i in range(2)]
    for _ in range(2):
        outputs = []
        for i, model in enumerate(models):
            cupy.places.clear()
            outputs.append(model(IDS).last_hidden_state)
            assert {device for device, _ in cupy.places} == {i}
        assert [out.device.id for out in outputs] == [0, 1]
        np.testing.assert_array_equal(outputs[0].get(), outputs[1].get())
    assert devices.current_device() == 0
    ones = models[0]._ops.parameter(np.ones(24, np.float32))
    norm = LayerNorm(ones, ones, 1e-12)
    with pytest.raises(cupy.EmulatorError, match="lies on device 1, the launch is on 0"):
        models[0]._ops.layer_norm(outputs[1][0], norm)


def test_the_callers_stream_is_used(cupy: Any, folder: Path) -> None:
    """Every launch goes there; what a call copies to the device is its own."""
    model = load(folder, "cuda")
    wanted = model(IDS).last_hidden_state.get()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        cupy.places.clear()
        out = model(IDS).last_hidden_state
        assert set(cupy.places) == {(0, stream.ptr)}
        with pytest.raises(cupy.EmulatorError, match="no wait orders them"), cupy.cuda.Stream():
            out.get()
        stream.synchronize()
    np.testing.assert_array_equal(out.get(), wanted)


def test_threads_share_a_model(cupy: Any, folder: Path) -> None:
    model = load(folder, "cuda")
    texts = [IDS[i : i + 1, : 3 + i] for i in range(6)]
    wanted = [load(folder, "cuda")(ids).last_hidden_state.get() for ids in texts]
    answers: dict[tuple[int, int], np.ndarray] = {}

    def work(i: int) -> None:
        with cupy.cuda.Stream(non_blocking=True):
            for turn in range(3):
                answers[i, turn] = model(texts[i]).last_hidden_state.get()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3 * len(texts)
    for (i, _), got in answers.items():
        np.testing.assert_array_equal(got, wanted[i])


def test_auto_takes_the_gpu_with_a_warning(
    cupy: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load(folder, "auto")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].startswith("device='auto': using cuda:0, where nothing of yosort has")
    assert model.device == "cuda:0"
    assert model.device.type == "cuda"
    assert type(model(IDS).last_hidden_state) is cupy.ndarray


def test_what_no_gpu_has(cupy: Any, folder: Path) -> None:
    with pytest.raises(yosort.DeviceError, match=r"'cuda:3': this machine has 1 CUDA device"):
        load(folder, "cuda:3")
    with pytest.raises(yosort.ConfigError, match='wanted "float32" or "float16" on a GPU'):
        load(folder, "cuda", dtype="int8")


def test_out_of_memory_names_need_and_free(
    cupy: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(folder, "cuda")
    before = model(IDS).last_hidden_state.get()
    error = cupy.cuda.memory.OutOfMemoryError("Out of memory allocating 1,234 bytes.")
    with monkeypatch.context() as patch:
        patch.setattr(cupy, "empty", raising(error))
        with pytest.raises(yosort.DeviceError, match=r"cuda:0: .*1,234 bytes.* MB of 16384 MB"):
            model(IDS)
    np.testing.assert_array_equal(model(IDS).last_hidden_state.get(), before)


def test_a_call_needs_memory_by_its_compute_type(
    cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = []
    monkeypatch.setattr(answering, "WORTH_ASKING", 0)
    monkeypatch.setattr(answering, "check_memory", lambda number, *_, **__: needed.append(number))
    for device, dtype in (
        ("cuda", "float16"), ("cuda", "float32"), ("cpu", "float32"), ("cpu", "int8"),
    ):  # fmt: skip
        yosort.YosoModel(CONFIG, device=device, dtype=dtype)(IDS)
    half, *others = needed
    assert others == [2 * half] * 3  # int8 is the type of products


NO_GPU: dict[str, tuple[str, Any, str]] = {
    # what is wrong: (where in cupy, what is there, what the error says)
    "no driver": (
        "cuda.runtime.getDeviceCount",
        raising(devices.CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")),
        r"cudaErrorNoDevice.*wanted an NVIDIA driver",
    ),
    "driver older than the wheel": (
        "cuda.runtime.getDeviceCount",
        raising(devices.CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version")),
        r"cudaErrorInsufficientDriver.*as new as the cupy wheel.*\.\[cuda12\]",
    ),
    "no device": ("cuda.runtime.getDeviceCount", lambda: 0, "this machine has 0 CUDA device"),
    "too old": (
        "cuda.Device",
        type("D", (devices.Device,), {"compute_capability": "61"}),
        "wanted compute capability 7.5 or newer, got 6.1",
    ),
    "no compiler": (
        "RawModule.compile",
        raising(RuntimeError("CuPy failed to load libnvrtc.so.12: OSError")),
        r"libnvrtc.so.12.*`pip install '\.\[cuda13\]'`",
    ),
    "no headers": (
        "RawModule.compile",
        raising(RuntimeError("Failed to find CUDA headers. Please install CUDA toolkit headers")),
        r"Failed to find CUDA headers.*`pip install '\.\[cuda13\]'`",
    ),
    "newer than the compiler": (
        "RawModule.compile",
        raising(devices.CompileException("nvrtc: error: invalid value for --gpu-architecture")),
        r"invalid value for --gpu-architecture.*`pip install '\.\[cuda13\]'`",
    ),
    "no cuBLAS": (
        "cuda.get_cublas_handle",
        raising(ImportError('Failure finding "libcublasLt.so.13"')),
        r"libcublasLt.so.13.*`pip install '\.\[cuda13\]'`",
    ),
}


@pytest.mark.parametrize("what", NO_GPU)
def test_why_there_is_no_gpu(
    cupy: Any,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    """The same words from a model and from the doctor; "auto" takes the CPU."""
    place, value, message = NO_GPU[what]
    monkeypatch.setattr(f"emulator.fake_cupy.{place}", value)
    with pytest.raises(yosort.DeviceError, match=f"device='cuda': .*{message}"):
        load(folder, "cuda")
    assert load(folder, "auto").device == "cpu"
    monkeypatch.setenv("COLUMNS", "1000")  # no line is wrapped
    assert main(["doctor"]) == 0
    (line,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("GPU"))
    assert "none usable" in line
    assert message.partition(".*")[0].replace("\\", "") in line


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (None, r"cupy is not installed; `pip install '\.\[cuda13\]'`"),
        (ImportError("libcublas.so.12: cannot open"), r"its wheel for another CUDA.*libcublas"),
        (OSError("libcuda.so.1: cannot open"), r"its wheel for another CUDA.*libcuda"),
    ],
    ids=["missing", "import error", "library missing"],
)
def test_a_cupy_that_does_not_load(
    error: Exception | None, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    if error is None:
        monkeypatch.setitem(sys.modules, "cupy", None)
    else:
        text = f"raise {type(error).__name__}({str(error)!r})"
        (tmp_path / "cupy.py").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(yosort.DeviceError, match=message):
        find_gpu()


def test_the_doctor_finds_the_gpu(cupy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    report = capsys.readouterr().out
    assert ["cupy", *fake_cupy.__version__.split()] in [row.split() for row in report.splitlines()]
    assert "cuda:0, compute capability 9.0" in report
    assert "of 16,384 MB free" in report
