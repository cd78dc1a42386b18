"""Write tests/data/golden: small models saved by transformers, and what they answer.

Run with torch and transformers installed: python tests/model/make_golden.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from cases import CLASSES, inputs_for

HERE = Path(__file__).resolve().parent.parent / "data" / "golden"

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "conv": {"conv_window": 3, "hash_code_len": 5, "hidden_act": "silu", "type_vocab_size": 2},
    # Shorter texts beside longer ones, as padding="attended" reads them.
    "attended": {"conv_window": 3},
}
#: Classes of a variant, where not all.
ONLY = {"attended": ["YosoForMaskedLM", "YosoForSequenceClassification"]}


def main() -> None:
    """Save every class in every variant, or in those named on the command line."""
    for variant in sys.argv[1:] or VARIANTS:
        fields = VARIANTS[variant]
        for index, name in enumerate(ONLY.get(variant, CLASSES)):
            torch.manual_seed(index)
            config = transformers.YosoConfig(
                vocab_size=40,
                hidden_size=24,
                num_hidden_layers=2,
                num_attention_heads=3,
                intermediate_size=40,
                max_position_embeddings=24,
                num_labels=4,
                initializer_range=0.4,
                **fields,
            )
            # Half precision: the files are small, and the reader of float16 is tested as well.
            model = getattr(transformers, name)(config).half()
            folder = HERE / f"{variant}-{name}"
            model.save_pretrained(folder)
            model = model.float().eval()
            inputs = inputs_for(
                name, model.config, batch=3, n=17, seed=index, padded=variant == "attended"
            )
            with torch.no_grad():
                output = model(
                    **{key: torch.tensor(value) for key, value in inputs.items()},
                    output_hidden_states=True,
                    output_attentions=True,
                )
            answers = {f"in_{key}": value for key, value in inputs.items()}
            for key, value in output.items():
                values = value if isinstance(value, tuple) else (value,)
                for i, array in enumerate(values):
                    answers[f"out_{key}_{i}"] = array.numpy()
            np.savez_compressed(folder / "call.npz", **answers)


if __name__ == "__main__":
    main()
