"""Time torch and transformers on the GPU that benchmarks/gpu.py was run on: what there is to beat.

    python benchmarks/gpu_torch.py [--dtype float16] [--shapes 1x512]

Prints a JSON line each. Needs a CUDA build of torch, and transformers for whole forwards; those
load no weights. Exact attention alone: YOSO's sampled form in torch needs its authors' kernels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

Row = dict[str, Any]
HEADS, DIM, CODE_LEN = 12, 64, 9
#: Batches and lengths that are also compiled, which takes seconds each: attention, whole forwards.
COMPILED, GRAPHS = ((1, 4096), (32, 512)), ((1, 128),)
#: Bytes of one array [batch, heads, n, n] beyond which eager attention is left out.
LARGEST = 8 << 30


def milliseconds(torch: Any, call: Callable[[], Any], seconds: float = 0.3) -> float:
    """Return the median time of a call, until the device is done."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


def attention(torch: Any, batch: int, n: int, dtype: str) -> Iterator[Row]:
    """Time one layer's attention: softmax as torch has it fastest, and YOSO's exact form."""
    functional = torch.nn.functional

    def exact(query: Any, key: Any, value: Any) -> Any:
        query, key = (functional.normalize(x, dim=-1) for x in (query, key))
        cosine = (query @ key.transpose(-1, -2)).clamp(-1, 1)
        weights = (1 - torch.acos(cosine) / torch.pi) ** CODE_LEN
        return functional.normalize(weights @ value, dim=-1)

    shape = (3, batch, HEADS, n, DIM)
    qkv = torch.randn(*shape, device="cuda", dtype=getattr(torch, dtype)).unbind()
    calls = {"torch softmax attention": functional.scaled_dot_product_attention}
    if batch * HEADS * n * n * qkv[0].element_size() < LARGEST:
        calls["torch exact attention, eager"] = exact
        if (batch, n) in COMPILED:
            calls["torch exact attention, compiled"] = torch.compile(exact, dynamic=False)
    for what, call in calls.items():
        yield {"what": what, "ms": milliseconds(torch, partial(call, *qkv))}


@cache
def model_of(torch: Any, dtype: str) -> Any:
    """Return transformers' model in its exact form, untrained."""
    from transformers import YosoConfig, YosoModel

    config = YosoConfig(
        vocab_size=2000, max_position_embeddings=4098, hash_code_len=CODE_LEN, use_expectation=True
    )
    return YosoModel(config).eval().cuda().to(getattr(torch, dtype))


def forwards(torch: Any, batch: int, n: int, dtype: str) -> Iterator[Row]:
    """Time whole forwards of transformers' model, eager and compiled."""
    if batch * HEADS * n * n * 4 >= LARGEST:
        return
    model = model_of(torch, dtype)
    ids = torch.full((batch, n), 7, device="cuda")
    mask = torch.ones(batch, n, device="cuda", dtype=getattr(torch, dtype))
    yield {"what": "transformers, eager", "ms": milliseconds(torch, lambda: model(ids, mask))}
    if (batch, n) in GRAPHS:
        graphs = torch.compile(model, mode="reduce-overhead", dynamic=False)
        took = milliseconds(torch, lambda: graphs(ids, mask))
        yield {"what": "transformers, compiled with CUDA graphs", "ms": took}


def rows(torch: Any, shapes: list[tuple[int, int]], dtype: str) -> Iterator[Row]:
    """Time all of it; what fails says so, and the rest goes on."""
    with torch.no_grad():
        for batch, n in shapes:
            shape = {"dtype": dtype, "batch": batch, "n": n, "torch": torch.__version__}
            for part in (attention, forwards):
                try:
                    for row in part(torch, batch, n, dtype):
                        yield {**shape, **row}
                except Exception as error:
                    yield {**shape, "what": part.__name__, "error": f"{error}"[:400]}


def main() -> int:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", default="float16", choices=("float32", "float16"))
    parser.add_argument("--shapes", nargs="+", default=["1x128", "1x512", "32x512"])
    arguments = parser.parse_args()
    import torch

    shapes = [tuple(map(int, shape.split("x"))) for shape in arguments.shapes]
    for row in rows(torch, shapes, arguments.dtype):
        print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
