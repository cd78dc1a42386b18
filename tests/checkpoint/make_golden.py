"""Write tests/checkpoint/golden/: what `torch.save` makes of small tensors. Needs torch.

    python tests/checkpoint/make_golden.py

Each NAME.bin has the values that torch itself reads from it in values.npz, as "NAME/weight".
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parent / "golden"


def states() -> dict[str, object]:
    """Return the objects to save, by file name."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    matrix = draw(6, 8)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    optimizer = torch.optim.AdamW(module.parameters())
    module(draw(2, 3)).sum().backward()
    optimizer.step()
    integers = {
        str(dtype).removeprefix("torch."): torch.arange(5).to(dtype)
        for dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
    }
    return {
        "float32": OrderedDict(a=draw(4, 3), b=draw(2), scalar=draw(), empty=torch.zeros(0, 3)),
        "float16": {"a": draw(4, 3).half()},
        "bfloat16": {
            "a": draw(4, 3).bfloat16(),
            "b": torch.tensor([1e38, float("inf")]).bfloat16(),
        },
        "float64": {"a": draw(4, 3).double()},
        "integers": {**integers, "bool": torch.tensor([True, False, True])},
        "strided": {
            "transposed": matrix.T,
            "column": matrix[:, 3],
            "block": matrix[2:5, 1::3],
            "whole": matrix,
            "one_row": matrix[4:5],
        },
        "tied": OrderedDict(words=matrix, decoder=matrix),
        "module": module.state_dict(),
        "parameters": dict(module.named_parameters()),
        "training": {
            "model_state_dict": module.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "epoch": 3,
            "loss": 0.5,
        },
        "lightning": {"state_dict": {"module.a": draw(2, 2)}, "epoch": 1},
    }


def weights(content: object) -> dict[str, torch.Tensor]:
    """Return the tensors of a saved object."""
    assert isinstance(content, dict)
    for key in ("model_state_dict", "state_dict"):
        if key in content:
            return dict(content[key])
    return dict(content)


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    values: dict[str, np.ndarray] = {}
    for name, content in states().items():
        torch.save(content, GOLDEN / f"{name}.bin")
        for key, tensor in weights(content).items():
            wide = tensor.float() if tensor.dtype in (torch.bfloat16, torch.float64) else tensor
            values[f"{name}/{key}"] = wide.detach().numpy()
    protocol = {"a": torch.arange(6.0).reshape(2, 3)}
    torch.save(protocol, GOLDEN / "protocol5.bin", pickle_protocol=5)
    torch.save(protocol, GOLDEN / "legacy.bin", _use_new_zipfile_serialization=False)
    values["protocol5/a"] = protocol["a"].numpy()
    np.savez_compressed(GOLDEN / "values.npz", **values)


if __name__ == "__main__":
    main()
