"""Write tests/checkpoint/golden/saved/: one model as old and new transformers and torch save it.

    python tests/checkpoint/make_old_and_new.py

Run once in each of these environments; the script works from Python 3.8 on:

    Python 3.8     pip install --no-deps torch==1.6.0
                   pip install numpy==1.21.6 future transformers==4.16.2 tokenizers==0.10.3
    Python 3.10    pip install torch==2.1.2 'numpy<2' transformers==4.34.1
    Python 3.11    pip install torch==2.13.0 transformers==5.2.0

transformers 4.16 is the first that has YOSO and torch 1.6 the first that writes zip files; 4.34 is
the last that writes pytorch_model.bin unless told otherwise. transformers 5.24.0 with torch 2.14.1
writes the same bytes as the last of the three.

Weights are a function of their names alone: every environment saves the same model, and the test
knows it without a file.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden" / "saved"
CLASSES = ("YosoForMaskedLM", "YosoForSequenceClassification")
FIELDS = {
    "vocab_size": 11,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 6,
    "type_vocab_size": 2,
    "hash_code_len": 4,
    "num_hash": 5,
    "conv_window": 3,
    "num_labels": 3,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the weights of that name: float32, multiples of 1/64 from -1 to 1."""
    # Not default_rng, whose numbers may change with NumPy.
    generator = np.random.RandomState(zlib.crc32(name.encode()))
    return (generator.randint(-64, 65, shape) / 64).astype(np.float32)


def main() -> None:
    """Save both classes in every layout that this environment writes."""
    import torch
    import transformers

    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    release = torch.__version__.split("+")[0]
    out = GOLDEN / f"transformers-{transformers.__version__}-torch-{release}"
    for name in CLASSES:
        model = getattr(transformers, name)(transformers.YosoConfig(**FIELDS))
        with torch.no_grad():
            for key, parameter in model.named_parameters():  # tied ones once, by their first name
                parameter.copy_(torch.from_numpy(values(key, tuple(parameter.shape))))
        if version >= (4, 26):
            model.save_pretrained(out / f"{name}-safetensors", safe_serialization=True)
        folder = out / f"{name}-bin"
        if version < (4, 26):
            model.save_pretrained(folder)
        elif version < (5, 0):
            model.save_pretrained(folder, safe_serialization=False)
        else:  # it writes safetensors only
            model.config.save_pretrained(folder)
            torch.save(model.state_dict(), folder / "pytorch_model.bin")
    for extra in out.rglob("generation_config.json"):
        extra.unlink()


if __name__ == "__main__":
    main()
