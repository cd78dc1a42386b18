"""What CuPy does beside computing, the stand-in with it, and what the backend does about it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tolerances import HALF

import yosort
from emulator import build, devices, fake_cupy
from yosort import DeviceError
from yosort.ops.cuda.backend import CudaOps
from yosort.ops.interface import LayerNorm

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler")

CONFIG = yosort.YosoConfig(
    vocab_size=40, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
    intermediate_size=32, max_position_embeddings=32, hash_code_len=4, num_hash=6,
)  # fmt: skip


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", ["residual", "rows", "bias"])
def test_column_slices_are_refused_where_a_kernel_takes_no_stride(name: str) -> None:
    """They would be read as if they had no gaps."""
    ops, wide = CudaOps(fake_cupy), fake_cupy.asarray(draw(1, 5, 48))
    vector = fake_cupy.asarray(draw(2, 24))
    arrays: dict[str, Any] = {
        "rows": ops.xp.asarray(draw(3, 5, 24)),
        "residual": None,
        "bias": None,
    }
    arrays[name] = wide[:, :24] if name != "bias" else wide[:, 0]
    norm = LayerNorm(vector, vector, 1e-12)
    with pytest.raises(DeviceError, match=r"residual_norm: argument \d: wanted rows without gaps"):
        ops._residual_norm(arrays["rows"], arrays["bias"], arrays["residual"], norm)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_one_row_by_one_column_stays_with_cublas(dtype: str) -> None:
    """As in a batch: in float16 the products are added in float32, and the sum is rounded."""
    ops = CudaOps(fake_cupy, dtype=dtype)
    x, weight = draw(4, 1, 640).astype(dtype), draw(5, 1, 640).astype(dtype)
    linear_map = ops.linear_map([weight], [np.zeros(1, np.float32)])
    one = ops.to_host(ops.linear(ops.from_host(x), linear_map))
    assert (devices.counts["products"], devices.counts["elementwise products"]) == (1, 0)
    wanted = (x.astype(np.float64) @ weight.T.astype(np.float64)).item()
    assert abs(one.item() - wanted) <= (HALF if dtype == "float16" else 1e-5) * abs(wanted)


def test_loading_keeps_no_page_locked_memory(cupy: ModuleType) -> None:
    model = yosort.YosoModel(CONFIG, device="cuda", attention="sampled")
    assert devices.counts["uploads"] > 20
    assert cupy.get_default_pinned_memory_pool().n_free_blocks() == 0
    model.with_attention("auto:3")
    assert cupy.get_default_pinned_memory_pool().n_free_blocks() == 0


@pytest.mark.parametrize("attention", ["expectation", "sampled", "auto:5"])
def test_a_call_waits_for_nothing(cupy: ModuleType, attention: str) -> None:
    """Whatever it copies to the device is ordered by its stream: new lengths, new seeds, masks."""
    model = yosort.YosoModel(CONFIG, device="cuda", attention=attention)
    ids = np.random.default_rng(0).integers(3, 40, (3, 9))
    mask = np.arange(9) < np.array([[9], [4], [1]])
    calls: list[dict[str, Any]] = [{}, {}, {"seed": 3}, {"seed": 3}, {"seed": [4, 5]}]
    calls += [{"attention_mask": mask}, {"head_mask": [1, 0.5, 2]}]
    for call in calls:
        devices.counts.clear()
        outputs = model(ids, **call)
        assert devices.counts["waits"] == devices.counts["downloads"] == 0, call
    outputs.last_hidden_state.get()
    assert devices.counts["waits"] == devices.counts["downloads"] == 1


def test_streams_are_a_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "capabilities", ["90", "80"])
    stream = devices.Stream()
    with devices.Device(1):
        assert devices.current_stream() is not stream
        with pytest.raises(RuntimeError, match=r"created on \(0\) does not match"):
            stream.__enter__()
    with stream, devices.Device(1):
        assert devices.current_stream() is not stream
    assert devices.Device(1).compute_capability == "80"


def test_only_a_wait_orders_two_streams() -> None:
    x = fake_cupy.asarray(np.ones(4, np.float32))
    with devices.Stream(non_blocking=True) as other:
        with pytest.raises(devices.EmulatorError, match=r"reads on stream .* no wait orders them"):
            x + x
        devices.current_stream(0).synchronize()  # its own: of no use
        with pytest.raises(devices.EmulatorError, match="no wait orders them"):
            x[:2] = 3
    devices.current_stream().synchronize()
    with other:
        x[:2] = 3
    with pytest.raises(devices.EmulatorError, match="no wait orders them"):
        x.get()
    other.synchronize()
    assert x.get()[0] == 3
    # The default stream of old waits for streams that do not refuse to, and they for it.
    with devices.Stream():
        y = x + x
    assert y.get()[0] == 6


def test_the_pool_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "pools", [devices.Pool()])
    monkeypatch.setattr(devices, "total_memory", 2048)
    x = fake_cupy.zeros(300, np.float32)
    with pytest.raises(devices.OutOfMemoryError, match="allocating 1,024 bytes"):
        fake_cupy.zeros(200, np.float32)
    del x
    pool = fake_cupy.get_default_memory_pool()
    assert (pool.total_bytes(), pool.free_bytes()) == (1536, 1536)
    assert devices.Device(0).mem_info == (512, 2048)
    pool.free_all_blocks()
    assert devices.Device(0).mem_info == (2048, 2048)


def test_options_are_the_compilers() -> None:
    with pytest.raises(devices.CompileException, match=r"unrecognized options.*--fast"):
        fake_cupy.RawModule("", options=("--std=c++14", "--fast"))


def test_subnormal_numbers_count_as_zero_in_kernels() -> None:
    """As CuPy compiles; on the host they go on counting."""
    code = """extern "C" __global__ void kernel(const float *x, float *out) {
        out[threadIdx.x] = x[threadIdx.x] * 0.5f;
    }"""
    kernel = fake_cupy.RawModule(code).get_function("kernel")
    values = np.array([3.0, 1e-40, 2e-38, 0.0], np.float32)
    out = fake_cupy.empty(4, np.float32)
    kernel((1,), (4,), (fake_cupy.asarray(values), out))
    np.testing.assert_array_equal(out.get(), np.array([1.5, 0, 0, 0], np.float32))
    assert (values * np.float32(0.5))[1] > 0


def test_a_mask_of_the_devices_is_waited_for() -> None:
    x = fake_cupy.asarray(np.arange(5))
    devices.counts.clear()
    assert len(x[x > 2]) == 2
    assert devices.counts["waits"] == 1
