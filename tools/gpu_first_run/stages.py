"""What the stages of a first run do; each prints JSON lines, which begin with `what`."""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
Row = dict[str, Any]
#: heads, head_dim, num_hash, hash_code_len, lengths of the texts
SHAPES = [
    (1, 8, 2, 4, (5, 9)),
    (2, 16, 5, 4, (33,)),
    (3, 20, 13, 5, (30, 24, 3)),
    (1, 8, 1, 1, (1,)),
    (2, 64, 9, 9, (70, 1, 65)),
    (1, 40, 9, 16, (20, 10)),
    (1, 300, 7, 12, (17,)),
]


def say(what: str, **row: Any) -> None:
    """Print a line."""
    print(json.dumps({"what": what, **row}, default=str), flush=True)


def guarded(what: str, call: Callable[[], Any]) -> None:
    """Call; say what it raised, and go on."""
    try:
        call()
    except Exception as error:
        say(what, error=f"{type(error).__name__}: {str(error)[:400]}")
        traceback.print_exc()


class Stages:
    """The stages, by name.

    Args:
        cupy: the module, or the emulator's stand-in for it.
        gpu: benchmarks/gpu.py.
        dry: take sizes that an emulator can run.
    """

    def __init__(self, cupy: Any, gpu: Any, dry: bool) -> None:
        self.cupy, self.gpu, self.dry = cupy, gpu, dry
        self.sizes = gpu.REHEARSAL if dry else gpu.BASE
        every = [(1, 128), (1, 512), (1, 4096), (32, 128), (32, 512), (16, 4096)]
        self.shapes = [(1, 5)] if dry else every
        self.dtypes = ("float32", "float16")

    def environment(self) -> None:
        """What is here."""
        from yosort.ops.cuda.finding import find_gpu

        begin = time.perf_counter()
        cupy, index = find_gpu()
        took = time.perf_counter() - begin
        properties = cupy.cuda.runtime.getDeviceProperties(index)
        device = cupy.cuda.Device(index)
        say(
            "environment",
            device=properties["name"].decode(),
            compute_capability=device.compute_capability,
            multiprocessors=device.attributes["MultiProcessorCount"],
            cache_mb=properties["l2CacheSize"] >> 20,
            memory_mb=[size >> 20 for size in device.mem_info],
            driver=cupy.cuda.runtime.driverGetVersion(),
            runtime=cupy.cuda.runtime.runtimeGetVersion(),
            nvrtc=cupy.cuda.nvrtc.getVersion(),
            cupy=cupy.__version__,
            numpy=np.__version__,
            python=sys.version.split()[0],
            find_gpu_seconds=took,
        )

    def answers(self, ops: Any, shape: Any, rows: np.ndarray) -> Iterator[tuple[str, Any]]:
        """Yield each op's answer for the texts of a shape."""
        from yosort.ops.hashing import gaussian_projection, hash_signs
        from yosort.ops.interface import HashFunctions, LayerNorm, Layout

        heads, dim, num_hash, code_len, lengths = shape
        width = heads * dim
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        exact, sampled, mixed = (
            ops.layout(Layout(heads, code_len, offsets, offsets, np.arange(len(lengths)) % 2 < odd))
            for odd in (0, 2, 1)
        )
        qkv = ops.from_host(rows)
        query, key, value = (qkv[:, i * width : (i + 1) * width] for i in range(3))
        signs = hash_signs(num_hash, code_len, dim, heads=heads, seed=3)
        fast = ops.hash_functions(HashFunctions(num_hash, signs=signs))
        projection = gaussian_projection(num_hash, code_len, dim, heads=heads, seed=3)
        slow = ops.hash_functions(HashFunctions(num_hash, projection=projection))
        yield "code", ops.codes(query, fast, code_len)
        yield "exact attention", ops.attention(query, key, value, exact)
        yield "sampled attention", ops.attention(query, key, value, sampled, fast)
        yield "slow hash's attention", ops.attention(query, key, value, sampled, slow)
        yield "attention in both forms", ops.attention(query, key, value, mixed, fast)
        x = ops.from_host(np.ascontiguousarray(rows[:, :width]))
        draw = self.gpu.draw
        norm = LayerNorm(ops.parameter(draw(5, width)), ops.parameter(draw(6, width)), 1e-12)
        yield "layer norm", ops.layer_norm(x, norm)
        for what, wide in (("linear", 3 * width), ("linear, one column", 1)):
            linear_map = ops.linear_map([draw(7, wide, width)], [draw(8, wide)])
            yield what, ops.linear(x, linear_map, "gelu")

    def smoke(self) -> None:
        """Every op beside the CPU's, at small sizes: relative errors, codes that differ."""
        from yosort.ops.cpu.backend import CpuOps
        from yosort.ops.cuda.backend import CudaOps

        worst: dict[str, float] = {}
        ways = {dtype: CudaOps(self.cupy, dtype=dtype) for dtype in self.dtypes}
        if int(self.cupy.cuda.Device().compute_capability) >= 80:
            ways["tensor cores"] = CudaOps(self.cupy, dtype="float16", tensor_cores=True)
        for shape in SHAPES[: 1 if self.dry else None]:
            heads, dim, _, _, lengths = shape
            for way, ops in ways.items():
                rows = self.gpu.draw(1, sum(lengths), 3 * heads * dim).astype(ops.dtype)
                cpu = CpuOps()
                both = zip(
                    self.answers(ops, shape, rows),
                    self.answers(cpu, shape, rows.astype(np.float32)),
                    strict=True,
                )
                for (name, got), (_, wanted) in both:
                    here = ops.to_host(got).astype(np.float64)
                    if name == "code":
                        error = float((here != wanted).sum())
                    else:
                        error = float(np.abs(here - wanted).max() / np.abs(wanted).max())
                    error = error if np.isfinite(here).all() else float("inf")
                    label = f"{name}, {way}"
                    worst[label] = max(worst.get(label, 0.0), error)
        for label, error in worst.items():
            say("difference from the CPU", of=label, worst=error)

    def attributes(self) -> None:
        """Registers, spills and shared memory as the driver loaded the kernels."""
        from yosort.ops.cuda.backend import CudaOps

        for dtype in self.dtypes:
            ops = CudaOps(self.cupy, dtype=dtype)
            shape = SHAPES[0] if self.dry else (*SHAPES[4][:-1], (512,))
            rows = self.gpu.draw(1, sum(shape[-1]), 3 * shape[0] * shape[1]).astype(dtype)
            list(self.answers(ops, shape, rows))
            for (name, *_), function in ops._launch._functions.items():
                found = function.attributes
                say(
                    "kernel as loaded",
                    name=name,
                    dtype=dtype,
                    registers=found["num_regs"],
                    spilled_bytes=found["local_size_bytes"],
                    shared_bytes=found["shared_size_bytes"],
                )

    def kernels(self) -> None:
        """Time the parts of a layer."""
        say("copy", bytes_per_second=self.gpu.bandwidth(self.cupy, self.sizes))
        for dtype in self.dtypes:
            for batch, n in self.shapes:
                for row in self.gpu.kernels(self.cupy, batch, n, dtype, self.sizes):
                    say("time of a kernel", name=row.pop("what"), **row)
            self.cupy.get_default_memory_pool().free_all_blocks()

    def forwards(self) -> None:
        """Time whole forwards, and calls each of which has another length."""
        for dtype in self.dtypes:
            for row in self.gpu.forwards(self.cupy, self.shapes, dtype, self.sizes):
                say("time of a forward", name=row.pop("what"), **row)
        model = self._model("sampled")
        lengths = range(3, 5 if self.dry else 80)
        begin = time.perf_counter()
        for n in lengths:
            model(np.full((1, n), 7))
        self.cupy.cuda.Device().synchronize()
        took = (time.perf_counter() - begin) * 1e3 / len(lengths)
        say("time of a forward", name="another length each call", wall_ms=took, batch=1, n=50)

    def peers(self) -> None:
        """Time torch and transformers on the same card."""
        if self.dry:
            say("time of a peer", left_out="needs torch on a GPU")
            return
        import gpu_torch
        import torch

        for dtype in self.dtypes:
            for row in gpu_torch.rows(torch, self.shapes, dtype):
                say("time of a peer", name=row.pop("what"), **row)

    def codes(self) -> None:
        """Codes bit for bit beside the CPU's, of many rows and of numbers at the edges."""
        from yosort.ops.cpu.backend import CpuOps
        from yosort.ops.cuda.backend import CudaOps
        from yosort.ops.hashing import hash_signs
        from yosort.ops.interface import HashFunctions

        sizes, tiny = self.sizes, 1e-40
        num_hash, code_len = sizes.num_hash, sizes.code_len
        signs = hash_signs(num_hash, code_len, sizes.head_dim, heads=sizes.heads, seed=3)
        gpu, cpu = CudaOps(self.cupy), CpuOps()
        kinds: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "normal": lambda x: x,
            "1e-30": lambda x: x * 1e-30,
            "1e-37": lambda x: x * 1e-37,
            "subnormal": lambda x: x * tiny,
            "1e+30": lambda x: x * 1e30,
            "zeros": lambda x: x * 0,
            "mostly zeros": lambda x: np.where(np.abs(x) > 2.5, x, 0),
            "of float16": lambda x: x.astype(np.float16),
        }
        drawn = self.gpu.draw(9, 40 if self.dry else 20000, sizes.hidden)
        for name, change in kinds.items():
            x = change(drawn).astype(np.float32)
            functions = HashFunctions(num_hash, signs=signs)
            prepared = gpu.hash_functions(functions)
            got = gpu.to_host(gpu.codes(gpu.from_host(x), prepared, code_len))
            wanted = cpu.codes(x, cpu.hash_functions(functions), code_len)
            say("codes", of=name, differ=int((got != wanted).sum()), all=int(wanted.size))

    def _model(self, attention: str, **fields: Any) -> Any:
        import yosort

        config = self.sizes.config(num_hidden_layers=1 if self.dry else 3, **fields)
        return yosort.YosoModel(config, seed=1, device="cuda", attention=attention)

    def stress(self) -> None:
        """Threads with streams of their own, then two streams in turn: always the same bits."""
        cupy, model = self.cupy, self._model("sampled", conv_window=5)
        rng = np.random.default_rng(0)
        longest, count, threads = (9, 2, 2) if self.dry else (700, 24, 8)
        texts = [rng.integers(3, 2000, (1, int(n))) for n in rng.integers(1, longest, count)]
        wanted = [model(text).last_hidden_state.get() for text in texts]
        wrong: list[int] = []
        calls = [0] * threads
        end = time.perf_counter() + (0 if self.dry else 12)

        def work(i: int) -> None:
            chosen = np.random.default_rng(i)
            with cupy.cuda.Stream(non_blocking=True) as stream:
                while not calls[i] or time.perf_counter() < end:
                    picks = chosen.integers(0, len(texts), 2 if self.dry else 6)
                    flying = [model(texts[p]).last_hidden_state for p in picks]
                    stream.synchronize()
                    for p, answer in zip(picks, flying, strict=True):
                        calls[i] += 1
                        if not np.array_equal(answer.get(), wanted[p]):
                            wrong.append(int(p))

        working = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
        for thread in working:
            thread.start()
        for thread in working:
            thread.join()
        pool = cupy.get_default_memory_pool().total_bytes() >> 20
        say("threads", count=threads, calls=calls, wrong=len(wrong), pool_mb=pool)
        streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
        flying = []
        for i, text in enumerate(texts):
            with streams[i % 2]:
                flying.append(model(text).last_hidden_state)
        for stream in streams:
            stream.synchronize()
        differ = [not np.array_equal(a.get(), b) for a, b in zip(flying, wanted, strict=True)]
        say("two streams in turn", calls=len(texts), wrong=sum(differ))

    def memory(self) -> None:
        """A full device: the error, and the same bits afterwards."""
        import yosort

        model, pool = self._model("sampled"), self.cupy.get_default_memory_pool()
        few, many = (
            np.full(shape, 7)
            for shape in (((1, 5), (8, 40)) if self.dry else ((1, 100), (64, 2000)))
        )
        before = model(few).last_hidden_state.get()
        pool.set_limit(size=pool.total_bytes() + (1 << 14 if self.dry else 64 << 20))
        try:
            model(many)
            say("full device", error="no error came")
        except yosort.DeviceError as error:
            say("full device", message=str(error))
        finally:
            pool.set_limit(size=0)
        same = bool(np.array_equal(model(few).last_hidden_state.get(), before))
        say("after a full device", same=same)

    def capture(self) -> None:
        """What can be captured as a CUDA graph, and what a replay takes."""
        cupy = self.cupy
        n = 9 if self.dry else 4096
        for name, _, call in self.gpu.cases(cupy, 1, n, "float32", self.sizes):
            cupy.cuda.get_current_stream().synchronize()
            with cupy.cuda.Stream(non_blocking=True) as stream:
                wanted = call()
                call()  # the pool now holds what a capture must not ask for
                stream.synchronize()
                graph = answer = None
                stream.begin_capture()
                try:
                    answer = call()
                except Exception as error:
                    say("capture", name=name, refused=f"{type(error).__name__}: {error}"[:300])
                try:
                    graph = stream.end_capture()
                except Exception as error:
                    say("capture", name=name, end=f"{type(error).__name__}: {error}"[:300])
                if graph is None or answer is None:
                    continue
                graph.launch(stream)
                stream.synchronize()
                pair = (answer, wanted) if not isinstance(answer, tuple) else (answer[0], wanted[0])
                same = bool(np.array_equal(*(array.get() for array in pair)))
                start, stop = cupy.cuda.Event(), cupy.cuda.Event()
                start.record()
                for _ in range(20):
                    graph.launch(stream)
                stop.record()
                stop.synchronize()
                took = cupy.cuda.get_elapsed_time(start, stop) / 20
                say("capture", name=name, same=same, replay_ms=took)

    def tiny(self) -> None:
        """For compute-sanitizer: small, without a pool, so that arrays end where memory does."""
        import yosort
        from yosort.ops.cuda.backend import CudaOps

        self.cupy.cuda.set_allocator(None)
        for shape in SHAPES[: 1 if self.dry else None]:
            for dtype in self.dtypes:
                rows = self.gpu.draw(1, sum(shape[-1]), 3 * shape[0] * shape[1]).astype(dtype)
                list(self.answers(CudaOps(self.cupy, dtype=dtype), shape, rows))
        config = self.gpu.REHEARSAL.config(conv_window=5)
        n = 9 if self.dry else 21
        ids = np.random.default_rng(0).integers(3, 2000, (3, n))
        mask = (np.arange(n) < np.array([[n], [n // 3], [1]])).astype(np.int64)
        for form in ("sampled", "auto:5"):
            model = yosort.YosoForMaskedLM(config, seed=1, device="cuda", attention=form)
            model(ids, mask).logits.get()
        say("tiny", done=True)

    def hot(self) -> None:
        """For ncu: a layer's parts, once warm and once measured."""
        for dtype in self.dtypes:
            calls = list(self.gpu.cases(self.cupy, 1, 4096, dtype, self.sizes))
            for _ in range(2):
                for _, _, call in calls:
                    call()
        self.cupy.cuda.Device().synchronize()


def run_stage(name: str, *, dry: bool) -> None:
    """Run one stage in this process: with CuPy, or with the emulator's stand-in for it."""
    sys.path.append(str(ROOT / "benchmarks"))
    if dry:
        sys.path.append(str(ROOT / "tests"))
        from emulator import fake_cupy

        sys.modules["cupy"] = fake_cupy
    import cupy
    import gpu

    guarded(name, getattr(Stages(cupy, gpu, dry), name))
