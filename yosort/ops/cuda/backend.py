"""The GPU backend: CuPy arrays, dense products by cuBLAS, everything else by kernels/cuda/*.cu."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.activations import ACTIVATIONS
from yosort.errors import DeviceError
from yosort.machine import TENSOR_CORES
from yosort.ops.cuda.attention import AttentionKernels, CudaHashFunctions, CudaLayout, stride_of
from yosort.ops.cuda.finding import LESS, check_process, is_full, remedy
from yosort.ops.cuda.launcher import Launcher
from yosort.ops.interface import (
    Array,
    EmbeddingTables,
    FusedTail,
    HashFunctions,
    LayerNorm,
    LayerTail,
    Layout,
)
from yosort.quantized import Weight

_log = logging.getLogger(__name__)


class CudaOps:
    """Ops on one CUDA device, through the current stream of the caller's thread.

    Args:
        cupy: the module.
        index: which device.
        dtype: float32 or float16, of weights and activations; codes, norms and sums never are.
        tensor_cores: have them multiply in the exact form, in float16 on devices of compute
            capability 8.0 or later; the dense products are cuBLAS's own matter.
    """

    name = "cuda"

    def __init__(
        self, cupy: Any, index: int = 0, dtype: str = "float32", *, tensor_cores: bool = False
    ) -> None:
        self.xp = cupy
        self.compute_type, self.dtype = dtype, np.dtype(dtype)
        self.device = f"cuda:{index}"
        self._device = cupy.cuda.Device(index)
        self._process = os.getpid()
        self._launch = Launcher(cupy, self.dtype)
        capability = int(self._device.compute_capability)
        able = dtype == "float16" and capability >= 80
        if tensor_cores and not able:
            _log.warning(
                f"{TENSOR_CORES}=1: wanted float16 on a device of compute capability 8.0 or "
                f"later, got {dtype} on {capability / 10}"
            )
        self._kernels = AttentionKernels(
            cupy, self._device, self._launch, self.dtype, tensor_cores and able
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """See `Ops.running`: this device is the current one, and what it lacks is named."""
        check_process(self.device, self._process)
        with self._device:
            try:
                yield
            except Exception as error:
                words = remedy(error)
                if words is None or isinstance(error, DeviceError):
                    raise
                if is_full(error):
                    # The traceback would keep the arrays of the failed call.
                    traceback.clear_frames(error.__traceback__)
                    self.xp.get_default_memory_pool().free_all_blocks()
                    free, total = self._device.mem_info
                    room = f"{free >> 20} MB of {total >> 20} MB are free now"
                    words = f"{error} {room}; {LESS}"
                raise DeviceError(f"{self.device}: {words}") from error

    def available_memory(self) -> int | None:
        """See `Ops.available_memory`: what is free on the device, and in CuPy's pool."""
        free: int = self._device.mem_info[0]
        return free + int(self.xp.get_default_memory_pool().free_bytes())

    def from_host(self, array: npt.NDArray[Any]) -> Array:
        """See `Ops.from_host`."""
        return self.xp.asarray(np.ascontiguousarray(array))

    def synchronize(self) -> None:
        """See `Ops.synchronize`; what the weights went through is given back, too.

        CuPy copies through page-locked memory, in blocks of powers of two, which it would keep.
        """
        self.xp.cuda.get_current_stream().synchronize()
        self.xp.get_default_pinned_memory_pool().free_all_blocks()

    def to_host(self, array: Array) -> npt.NDArray[Any]:
        """See `Ops.to_host`."""
        return np.asarray(self.xp.asnumpy(array))

    def linear_map(
        self,
        weights: list[Weight],
        biases: list[npt.NDArray[Any]],
        *,
        name: str = "",
        head: bool = False,
        table: Any = None,
    ) -> Any:
        """See `Ops.linear_map`: (transposed weight [in, out], bias float32 [out])."""
        if table is None:
            table = self.from_host(np.concatenate([np.asarray(w, self.dtype) for w in weights]))
        bias = np.concatenate([np.asarray(b, np.float32) for b in biases])
        return table.T, self.from_host(bias)

    def parameter(self, array: Weight) -> Array:
        """See `Ops.parameter`: float32, since norms and sums are."""
        return self.from_host(np.asarray(array, np.float32))

    def table(self, array: Weight) -> Array:
        """See `Ops.table`."""
        return self.from_host(np.asarray(array, self.dtype))

    def embed(
        self,
        tables: EmbeddingTables,
        words: Array,
        positions: npt.NDArray[np.int64],
        token_types: npt.NDArray[np.int64],
    ) -> Array:
        """See `Ops.embed`."""
        total, width = len(positions), tables.position.shape[1]
        rows = None if words.ndim == 1 else self.xp.asarray(words, self.dtype)
        ids = [words] if rows is None else []
        # One copy: what a small one costs the host does not depend on its size.
        numbers = self.xp.asarray(np.stack([*ids, positions, token_types]).astype(np.int64))
        out = self.xp.empty((total, width), self.dtype)
        threads, per_thread = _row_shape(width)
        self._launch(
            "embed",
            (total,),
            threads,
            tables.word if ids else None,
            numbers[0] if ids else None,
            rows,
            tables.position,
            numbers[-2],
            tables.token_type,
            numbers[-1],
            tables.norm.scale,
            tables.norm.shift,
            tables.norm.eps,
            width,
            out,
            ACTIVATION="activate_linear",
            PER_THREAD=per_thread,
        )
        return out

    def linear(self, x: Array, linear_map: Any, activation: str = "linear") -> Array:
        """See `Ops.linear`."""
        weight, bias = linear_map
        out = self._product(x, weight)
        self._launch(
            "bias_activation",
            (-(-out.size // 256),),
            256,
            out,
            bias,
            out.size,
            out.shape[1],
            ACTIVATION=f"activate_{ACTIVATIONS[activation]}",
            PER_THREAD=1,
        )
        return out

    def layer_norm(self, x: Array, norm: LayerNorm) -> Array:
        """See `Ops.layer_norm`."""
        return self._residual_norm(x.astype(self.dtype, copy=False), None, None, norm)

    def add_norm(self, x: Array, linear_map: Any, residual: Array, norm: LayerNorm) -> Array:
        """See `Ops.add_norm`: the bias waits for the norm, which reads the product anyway."""
        weight, bias = linear_map
        return self._residual_norm(self._product(x, weight), bias, residual, norm)

    def fuse(self, tail: LayerTail, following: Any | None) -> FusedTail | None:
        """See `Ops.fuse`: products are cuBLAS's own launches."""
        return None

    def layout(self, layout: Layout) -> CudaLayout:
        """See `Ops.layout`."""
        return CudaLayout.of(self.xp, layout)

    def hash_functions(self, functions: HashFunctions) -> CudaHashFunctions:
        """See `Ops.hash_functions`."""
        return CudaHashFunctions.of(self.xp, functions)

    def attention(
        self,
        query: Array,
        key: Array,
        value: Array,
        layout: CudaLayout,
        functions: CudaHashFunctions | None = None,
    ) -> Array:
        """See `Ops.attention`: each form writes the rows of its texts.

        Norms and codes are made of all rows: they cost less than telling the rows apart.
        """
        heads, kernels = layout.layout.heads, self._kernels
        out = self.xp.empty((len(query), value.shape[1]), self.dtype)
        if len(layout.block_rows):
            scales = kernels.inverse_norms(query, key, heads)
            sums = kernels.expectation(query, scales[0], key, scales[1], value, layout)
            kernels.finish(sums, layout.exact_rows, heads, 1.0, out, normalize=True)
        if len(layout.sampled_texts):
            assert functions is not None
            codes = kernels.codes(query, key, functions, layout.layout.hash_code_len)
            self._mean(*codes, value, layout, out, normalize=True)
        return out

    def expectation(self, query: Array, key: Array, value: Array, layout: CudaLayout) -> Array:
        """See `Primitives.expectation`."""
        heads = layout.layout.heads
        ones = [self.xp.ones((len(rows), heads), np.float32) for rows in (query, key)]
        return self._kernels.expectation(query, ones[0], key, ones[1], value, layout)[0]

    def codes(self, x: Array, functions: CudaHashFunctions, hash_code_len: int) -> Array:
        """See `Primitives.codes`."""
        return self._kernels.codes(x, x[:0], functions, hash_code_len)[0]

    def cumulate(
        self, query_codes: Array, key_codes: Array, value: Array, layout: CudaLayout
    ) -> Array:
        """See `Primitives.cumulate`."""
        out = self.xp.empty((query_codes.shape[2], value.shape[1]), self.dtype)
        self._mean(query_codes, key_codes, value, layout, out, normalize=False)
        return out

    def _mean(
        self,
        query_codes: Array,
        key_codes: Array,
        value: Array,
        layout: CudaLayout,
        out: Array,
        *,
        normalize: bool,
    ) -> None:
        partial = self._kernels.cumulate(query_codes, key_codes, value, layout)
        scale = 1.0 / query_codes.shape[1]
        which, heads = layout.sampled_rows, layout.layout.heads
        self._kernels.finish(partial, which, heads, scale, out, normalize=normalize)

    def add_convolution(
        self, context: Array, value: Array, weight: Array, layout: CudaLayout
    ) -> Array:
        """See `Ops.add_convolution`."""
        out, heads = self.xp.empty(context.shape, self.dtype), layout.layout.heads
        self._launch(
            "add_convolution",
            (-(-out.size // 256),),
            256,
            context.astype(self.dtype, copy=False),
            value,
            stride_of(value),
            weight,
            weight.shape[1],
            layout.query_text,
            layout.query_slots,
            layout.offsets,
            layout.slots,
            layout.keep,
            len(out),
            heads,
            out.shape[1] // heads,
            out,
        )
        return out

    def take(self, x: Array, rows: Array) -> Array:
        """See `Ops.take`."""
        return self.xp.take(x, self.xp.asarray(rows), axis=0)

    def put(self, x: Array, rows: Array, total: int) -> Array:
        """See `Ops.put`."""
        out = self.xp.zeros((total, *x.shape[1:]), x.dtype)
        out[self.xp.asarray(rows)] = x
        return out

    def _product(self, x: Array, weight: Array) -> Array:
        if x.dtype != self.dtype:
            x = x.astype(self.dtype)
        if len(x) == weight.shape[1] == 1:
            # CuPy would leave cuBLAS for an elementwise sum, of rounded products in float16.
            return self.xp.matmul(x[None], weight[None])[0]
        return self.xp.matmul(x, weight)

    def _residual_norm(
        self, x: Array, bias: Array | None, residual: Array | None, norm: LayerNorm
    ) -> Array:
        out = self.xp.empty(x.shape, self.dtype)
        threads, per_thread = _row_shape(x.shape[1])
        self._launch(
            "residual_norm",
            (len(x),),
            threads,
            x,
            bias,
            residual,
            norm.scale,
            norm.shift,
            norm.eps,
            x.shape[1],
            out,
            ACTIVATION="activate_linear",
            PER_THREAD=per_thread,
        )
        return out


def _row_shape(width: int) -> tuple[int, int]:
    """Return (threads, elements a thread) of a block that holds one row in registers."""
    threads = min(256, -(-width // 32) * 32)
    return threads, -(-width // threads)
