"""YOSO-E in plain torch operations, which exporters accept; they refuse the model's own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize


class PlainAttention(nn.Module):
    """transformers' YosoSelfAttention in expectation mode, without its autograd function."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.query, self.key, self.value = source.query, source.key, source.value
        self.heads = source.num_attention_heads
        self.hash_code_len = source.hash_code_len

    def forward(self, hidden: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor]:
        """Return the context [batch, n, hidden]."""

        def split(x: torch.Tensor) -> torch.Tensor:
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        query = normalize(split(self.query(hidden)), dim=-1)
        key = normalize(split(self.key(hidden)), dim=-1)
        cosine = (query @ key.transpose(-1, -2)).clamp(-1.0, 1.0)
        weights = (1 - torch.acos(cosine) / math.pi) ** self.hash_code_len
        context = normalize(weights @ split(self.value(hidden)), dim=-1)
        return (context.transpose(1, 2).flatten(2),)


class PlainYoso(nn.Module):
    """ids [batch, n] -> hidden states [batch, n, hidden], with a transformers model's weights."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.embeddings = model.embeddings
        self.layers = model.encoder.layer
        for layer in self.layers:
            layer.attention.self = PlainAttention(layer.attention.self)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Encode."""
        positions = (torch.arange(input_ids.shape[1]) + 2)[None]
        embeddings = self.embeddings
        words = embeddings.word_embeddings(input_ids)
        types = embeddings.token_type_embeddings.weight[0]
        hidden = embeddings.LayerNorm(words + types + embeddings.position_embeddings(positions))
        for layer in self.layers:
            attended = layer.attention(hidden)[0]
            hidden = layer.feed_forward_chunk(attended)
        return hidden


def export(folder: Path) -> None:
    """Write model.onnx into a transformers folder, batch and length left open."""
    import transformers

    model = PlainYoso(transformers.YosoModel.from_pretrained(folder)).eval()
    batch, length = torch.export.Dim("batch", max=1024), torch.export.Dim("length", max=4096)
    torch.onnx.export(
        model,
        (torch.ones(2, 16, dtype=torch.int64),),
        str(folder / "model.onnx"),
        input_names=["input_ids"],
        output_names=["hidden"],
        dynamic_shapes={"input_ids": {0: batch, 1: length}},
        dynamo=True,
        verbose=False,
    )


def quantize(folder: Path) -> None:
    """Write model-int8.onnx beside model.onnx: onnxruntime's dynamic quantisation of products.

    Signed weights with a scale for each output, as onnxruntime advises for processors with VNNI.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(folder / "model.onnx")
    # The exporter notes shapes of its own, which onnxruntime's inference would only contradict.
    del model.graph.value_info[:]
    quantize_dynamic(
        model,
        folder / "model-int8.onnx",
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm"],
        extra_options={"MatMulConstBOnly": True},
    )
