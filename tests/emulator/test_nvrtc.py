"""Every kernel, as the host specialises it, compiles for real devices and without spills."""

from __future__ import annotations

import re

import pytest

from emulator import nvrtc
from emulator.nvrtc import SPECIALISATIONS
from yosort.ops.cuda.launcher import SIGNATURES, source

pytestmark = pytest.mark.skipif(nvrtc.library() is None, reason="needs the wheel nvidia-cuda-nvrtc")


@pytest.mark.parametrize(
    ("architecture", "name", "half"),
    [
        pytest.param(
            architecture, name, half, id=f"{architecture}-{name}-float{16 if half else 32}"
        )
        for architecture in nvrtc.ARCHITECTURES
        for name in SPECIALISATIONS
        for half in nvrtc.types(name, architecture)
    ],
)
def test_kernels_compile_without_spills(architecture: int, name: str, half: bool) -> None:
    for defines in SPECIALISATIONS[name]:
        compiled = nvrtc.compile_kernels(source(name), architecture, nvrtc.options(defines, half))
        assert compiled.keys() == {k for k, (file, _) in SIGNATURES.items() if file == name}
        for kernel, report in compiled.items():
            assert report.spilled_bytes == 0, (kernel, defines)
            # A block must fit with room for another on its multiprocessor (64 Ki registers).
            threads = nvrtc.THREADS.get(kernel, 256)
            assert 2 * report.registers * threads <= 64 << 10, (kernel, defines)
            assert report.static_shared_bytes <= 48 << 10, (kernel, defines)


@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
def test_wide_heads_do_not_spill(architecture: int) -> None:
    """Wider than any model's: one block a multiprocessor, but still in registers."""
    for width in (512, 1024, 2048):
        options = nvrtc.options({"WIDTH": width, "CODE_LEN": 9, "VECTOR": 4}, half=False)
        compiled = nvrtc.compile_kernels(source("hadamard_hash"), architecture, options)
        assert compiled["hadamard_hash"].spilled_bytes == 0, width


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
def test_code_bits_are_those_of_every_number(half: bool) -> None:
    """CuPy's option takes subnormal numbers for zero: not in the hash, and elsewhere it shows."""
    for name in ("hadamard_hash", "sign_codes"):
        for defines in SPECIALISATIONS[name]:
            assert ".ftz" not in nvrtc.ptx(source(name), 75, nvrtc.options(defines, half))
    (first, *_) = SPECIALISATIONS["expected_attention"]
    other = nvrtc.ptx(source("expected_attention"), 75, nvrtc.options(first, half))
    assert "fma.rn.ftz.f32" in other


def test_signatures_are_the_sources() -> None:
    """The launcher's argument lists, against the parameter lists of the .cu files."""
    letters = {"real": "r", "float": "f", "code_t": "c", "unsigned": "u", "int": "i", "int64": "l"}
    for kernel, (file, kinds) in SIGNATURES.items():
        found = re.search(rf"__global__ void {kernel}\(([^)]*)\)", source(file))
        assert found, kernel
        wanted: list[str] = []
        for parameter in found[1].split(","):
            words = parameter.replace("const", " ").replace("*", " * ").split()
            pointer = "*" in words
            letter = letters[words[0]]
            if words[-1].endswith("stride"):
                wanted[-1] = "s"  # only arrays with a stride may have gaps
            wanted.append(letter if pointer else {"i": "I", "l": "L", "f": "F"}[letter])
        assert [kind.rstrip("?") for kind in kinds.split()] == wanted, kernel


def test_a_broken_kernel_is_reported() -> None:
    with pytest.raises(RuntimeError, match="sm_90"):
        nvrtc.compile_kernels("__global__ void broken( {", 90, ())
