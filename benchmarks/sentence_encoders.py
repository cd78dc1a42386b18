"""One class a way to make sentence vectors: texts in, [texts, width] out. Imports happen on load.

The original runs as its users run it: cut at its own `max_seq_length`, texts sorted by length, 32 a
batch, padded to the batch's longest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from peers import onnx_session

Vectors = npt.NDArray[np.float32]
BATCH = 32
NUM_HASHES = (16, 32, 64, 128)


class Yosort:
    """The YOSO model, exact or sampled."""

    def __init__(
        self,
        folder: Path,
        threads: int,
        *,
        num_hash: int | None = None,
        dtype: str = "float32",
        seed: int = 0,
    ) -> None:
        import yosort

        sampled = {"attention": "sampled", "num_hash": num_hash, "seed": seed}
        self.pipeline = yosort.pipeline(
            "feature-extraction",
            folder,
            return_tensors=True,
            device="cpu",
            dtype=dtype,
            num_threads=threads,
            **(sampled if num_hash else {"attention": "expectation"}),
        )

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return normalised means of token vectors."""
        return np.stack(self.pipeline(list(texts), pooling="mean", normalize=True))


class OnnxRuntime:
    """The original on onnxruntime, with its tokenizer and pooling in NumPy, as fastembed does."""

    def __init__(self, folder: Path, threads: int, *, file: str = "model.onnx") -> None:
        from tokenizers import Tokenizer

        self.session = onnx_session(folder / file, threads)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(longest(folder))
        self.tokenizer.no_padding()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return normalised means of token vectors."""
        rows = [e.ids for e in self.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        vectors: list[Any] = [None] * len(rows)
        for at in range(0, len(order), BATCH):
            part = order[at : at + BATCH]
            width = len(rows[part[0]])
            ids = np.array([rows[i] + [0] * (width - len(rows[i])) for i in part])
            mask = np.array([[1] * len(rows[i]) + [0] * (width - len(rows[i])) for i in part])
            (hidden,) = self.session.run(None, {"input_ids": ids, "attention_mask": mask})
            means = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            means /= np.linalg.norm(means, axis=1, keepdims=True)
            for i, vector in zip(part, means, strict=True):
                vectors[i] = vector
        return np.stack(vectors).astype(np.float32)


class SentenceTransformers:
    """The original in sentence-transformers, on torch."""

    def __init__(self, folder: Path, threads: int) -> None:
        import sentence_transformers
        import torch

        torch.set_num_threads(threads)
        self.model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the model's own vectors."""
        encoded = self.model.encode(list(texts), batch_size=BATCH, show_progress_bar=False)
        return np.asarray(encoded, np.float32)


def longest(folder: Path) -> int:
    """Return at how many tokens the original's own settings cut a text."""
    settings = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))
    return int(settings["max_seq_length"])


#: The original's forms, made of a folder that `export` wrote.
ORIGINALS: dict[str, Callable[[Path, int], Any]] = {
    "original, onnxruntime": OnnxRuntime,
    "original, onnxruntime int8": partial(OnnxRuntime, file="model-int8.onnx"),
    "original, sentence-transformers": SentenceTransformers,
}
#: Ours.
OURS: dict[str, Callable[[Path, int], Any]] = {
    "yosort, exact": Yosort,
    **{f"yosort, sampled {m}": partial(Yosort, num_hash=m) for m in NUM_HASHES},
    "yosort int8, exact": partial(Yosort, dtype="int8"),
    "yosort int8, sampled 32": partial(Yosort, dtype="int8", num_hash=32),
    "yosort bfloat16, exact": partial(Yosort, dtype="bfloat16"),
    "yosort bfloat16, sampled 32": partial(Yosort, dtype="bfloat16", num_hash=32),
}


def export(original: Path, folder: Path) -> None:
    """Copy the original and write model.onnx and model-int8.onnx beside it, layers fused.

    As the files that fastembed loads are made: the export goes through onnxruntime's optimiser for
    BERT, then through its dynamic quantisation (signed weights, a scale for each output).
    """
    import shutil

    import onnx
    import torch
    import transformers
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model

    shutil.copytree(original, folder, dirs_exist_ok=True)
    model = transformers.BertModel.from_pretrained(
        original, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    model.config.return_dict = False

    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.model(input_ids, attention_mask)[0]

    axes = {0: "batch", 1: "length"}
    example = torch.ones(2, 16, dtype=torch.int64)
    plain = folder / "plain.onnx"
    torch.onnx.export(
        Hidden(),
        (example, example),
        str(plain),
        input_names=["input_ids", "attention_mask"],
        output_names=["hidden"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "hidden": axes},
        dynamo=False,
    )
    config = model.config
    fused = optimize_model(
        str(plain),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
    )
    fused.save_model_to_file(str(folder / "model.onnx"))
    quantize_dynamic(
        folder / "model.onnx",
        folder / "model-int8.onnx",
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm", "Attention"],
        # Inference of types stops at the fused operators.
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    plain.unlink()
