"""What torch's modules are asked for, of a model on a GPU; test_options.py has that of the CPU."""

from __future__ import annotations

from typing import Any

import pytest

from yosort import ConfigError
from yosort.habits import TorchHabits


class OnGpu(TorchHabits):
    """A model that was loaded on a GPU."""

    device, dtype = "cuda:1", "float16"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.to("cuda"), None), (lambda m: m.cuda(), None), (lambda m: m.cuda(1), None),
        (lambda m: m.half(), None), (lambda m: m.to("cuda:1", "half"), None),
        (lambda m: m.to("cuda", "half"), None),
        (lambda m: m.to("cuda:0"), "device: .* with device='cuda:1'; load it with device='cuda:0'"),
        (lambda m: m.cpu(), "device: .* loaded with device='cuda:1'; load it with device='cpu'"),
        (lambda m: m.float(), "dtype: .* with dtype='float16'; load it with dtype='float32'"),
        (lambda m: m.bfloat16(), "dtype='float16', and a GPU computes in float32 or float16; load "
                                 "it with dtype='float16'"),
        (lambda m: m.to("cpu", "half"), "device='cuda:1', dtype='float16', and a CPU computes in "
         "float32 or bfloat16 or int8; load it with device='cpu', dtype='bfloat16'"),
        (lambda m: m.to("cpu", "bf16"), "device: this model was loaded with device='cuda:1', "
                                        "dtype='float16'; load it with device='cpu', dtype='bfl"),
    ],
)  # fmt: skip
def test_what_torch_asks_of_a_module_on_a_gpu(ask: Any, message: str | None) -> None:
    model = OnGpu()
    if message is None:
        assert ask(model) is model
    else:
        with pytest.raises(ConfigError, match=message):
            ask(model)
