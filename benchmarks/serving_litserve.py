"""LitServe over transformers' YosoModel, for benchmarks/serving.py: MODEL PORT THREADS.

Its batches are of requests, up to 32, padded to the longest text.
"""

from __future__ import annotations

import os
import sys

import litserve
import torch
from transformers import AutoTokenizer, YosoModel


class Embedding(litserve.LitAPI):
    """Unit vectors of texts, means over their tokens."""

    def setup(self, device: str) -> None:
        """Load, in the worker's process."""
        torch.set_num_threads(int(sys.argv[3]))
        self.tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
        self.model = YosoModel.from_pretrained(sys.argv[1]).eval()

    def decode_request(self, request: dict[str, str]) -> str:
        """Return a request's text."""
        return request["text"]

    def batch(self, inputs: list[str]) -> list[str]:
        """Return the texts of several requests."""
        return list(inputs)

    @torch.inference_mode()
    def predict(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text."""
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True)
        states = self.model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None]
        vectors = (states * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(vectors).tolist()

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        """Return the vectors, one a request."""
        return output

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """Return an answer's body."""
        return {"vector": output}


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    server = litserve.LitServer(
        Embedding(max_batch_size=32, batch_timeout=0.002), accelerator="cpu", timeout=False
    )
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False)
