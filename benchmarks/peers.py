"""One class a runtime: load the weights, then encode batches of ids. Imports happen on load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class Yosort:
    """yosort, in either form of attention."""

    def __init__(
        self, folder: Path, threads: int, *, num_hash: int | None = None, dtype: str = "float32"
    ) -> None:
        import yosort

        self.model = yosort.YosoModel.from_pretrained(
            folder,
            device="cpu",
            dtype=dtype,
            num_threads=threads,
            attention="expectation" if num_hash is None else "sampled",
            num_hash=num_hash,
        )

    def encode(self, ids: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Return last hidden states [batch, n, hidden]."""
        return self.model(ids, mask).last_hidden_state


class YosortWithoutAttention(Yosort):
    """The floor under any attention: the same forward whose heads answer with their values."""

    def __init__(self, folder: Path, threads: int) -> None:
        super().__init__(folder, threads, num_hash=1)
        ops = self.model._ops
        ops.attention = lambda query, key, value, layout, functions: value.copy()


class Transformers:
    """transformers' own model, eager or through torch.compile.

    In bfloat16, `casts` has torch choose where (autocast); otherwise all of the model is.
    """

    def __init__(
        self,
        folder: Path,
        threads: int,
        *,
        compiled: bool = False,
        dtype: str = "float32",
        casts: bool = False,
    ) -> None:
        import torch
        import transformers

        torch.set_num_threads(threads)
        self.torch = torch
        self.model = transformers.YosoModel.from_pretrained(folder).eval()
        if not casts:
            self.model = self.model.to(getattr(torch, dtype))
        self.autocast = torch.autocast("cpu", getattr(torch, dtype), enabled=casts)
        self.call = torch.compile(self.model, dynamic=False) if compiled else self.model

    def encode(self, ids: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Return last hidden states [batch, n, hidden]; the mask is ignored upstream."""
        with self.torch.no_grad(), self.autocast:
            return self.call(self.torch.from_numpy(ids)).last_hidden_state.float().numpy()


def onnx_session(path: Path, threads: int) -> Any:
    """Return a model on onnxruntime's CPU provider."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class OnnxRuntime:
    """onnxruntime on the export of plain_yoso.py, or on its int8 form."""

    def __init__(self, folder: Path, threads: int, *, file: str = "model.onnx") -> None:
        self.session = onnx_session(folder / file, threads)

    def encode(self, ids: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Return last hidden states [batch, n, hidden]."""
        return self.session.run(None, {"input_ids": ids})[0]


class OpenVino:
    """OpenVINO on the same export, with its latency hint.

    As it comes (precision None) it computes in bfloat16 or float16 where the processor can.
    """

    def __init__(self, folder: Path, threads: int, *, precision: str | None = "f32") -> None:
        import openvino

        core = openvino.Core()
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        if precision is not None:
            settings["INFERENCE_PRECISION_HINT"] = precision
        self.model = core.compile_model(str(folder / "model.onnx"), "CPU", settings)

    def encode(self, ids: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Return last hidden states [batch, n, hidden]."""
        return self.model({"input_ids": ids})[0]


#: Name in the tables -> how to build it.
PEERS: dict[str, Any] = {
    "yosort YOSO-E": lambda folder, threads: Yosort(folder, threads),
    "yosort sampled 32": lambda folder, threads: Yosort(folder, threads, num_hash=32),
    "yosort sampled 64": lambda folder, threads: Yosort(folder, threads, num_hash=64),
    "yosort, no attention": YosortWithoutAttention,
    "transformers eager": lambda folder, threads: Transformers(folder, threads),
    "torch.compile": lambda folder, threads: Transformers(folder, threads, compiled=True),
    "onnxruntime": OnnxRuntime,
    "OpenVINO": OpenVino,
    "yosort bfloat16 YOSO-E": lambda folder, threads: Yosort(folder, threads, dtype="bfloat16"),
    "yosort bfloat16 sampled 32": lambda folder, threads: Yosort(
        folder, threads, num_hash=32, dtype="bfloat16"
    ),
    "torch.compile bfloat16": lambda folder, threads: Transformers(
        folder, threads, compiled=True, dtype="bfloat16"
    ),
    "torch.compile autocast": lambda folder, threads: Transformers(
        folder, threads, compiled=True, dtype="bfloat16", casts=True
    ),
    "OpenVINO as it comes": lambda folder, threads: OpenVino(folder, threads, precision=None),
    "yosort int8 YOSO-E": lambda folder, threads: Yosort(folder, threads, dtype="int8"),
    "yosort int8 sampled 32": lambda folder, threads: Yosort(
        folder, threads, num_hash=32, dtype="int8"
    ),
    "onnxruntime int8": lambda folder, threads: OnnxRuntime(
        folder, threads, file="model-int8.onnx"
    ),
}
