"""Every kernel, as the host specialises it, compiles for real devices and without spills."""

from __future__ import annotations

import re

import pytest

from emulator import nvrtc
from yosort.kernels.launch import ACTIVATION_NUMBERS, SIGNATURES, source
from yosort.ops import cuda
from yosort.ops.signs import hash_dim

pytestmark = pytest.mark.skipif(nvrtc.library() is None, reason="needs the wheel nvidia-cuda-nvrtc")

#: file -> the specialisations that models ask for
SPECIALISATIONS: dict[str, list[dict[str, int]]] = {
    "hadamard_hash": [
        {"WIDTH": hash_dim(dim, length), "CODE_LEN": length}
        for dim in (8, 32, 48, 64, 128)
        for length in (1, 8, 9, 16)
    ],
    "sign_codes": [{}],
    "lsh_cumulation": [
        {"TABLES": cuda.TABLES, "SLICE": cuda.SLICE, "BUCKETS": buckets}
        for buckets in (2, 256, cuda.BUCKETS)
    ],
    "normalize_heads": [{}],
    "expected_attention": [
        {"CODE_LEN": length, "CHUNK": chunk}
        for length in (1, 8, 9, 16)
        for chunk in (8, 16, 32, 64)
    ],
    "layer": [
        *({"ACTIVATION": number, "PER_THREAD": 1} for number in ACTIVATION_NUMBERS.values()),
        *({"ACTIVATION": 0, "PER_THREAD": count} for count in (3, 4, 16)),
    ],
    "convolution": [{}],
}


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
@pytest.mark.parametrize("name", SPECIALISATIONS)
@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
def test_kernels_compile_without_spills(architecture: int, name: str, half: bool) -> None:
    for defines in SPECIALISATIONS[name]:
        options = ("--std=c++14", *(f"-D{k}={v}" for k, v in defines.items()))
        if half:
            options = (*options, "-DHALF")
        compiled = nvrtc.compile_kernels(source(name), architecture, options)
        assert compiled.keys() == {k for k, (file, _) in SIGNATURES.items() if file == name}
        for kernel, report in compiled.items():
            assert report.spilled_bytes == 0, (kernel, defines)
            # 256 threads must fit with room for two blocks a multiprocessor (64 Ki registers).
            assert report.registers <= 128, (kernel, defines)
            assert report.static_shared_bytes <= 48 << 10, (kernel, defines)


def test_signatures_are_the_sources() -> None:
    """The launcher's argument lists, against the parameter lists of the .cu files."""
    letters = {"real": "r", "float": "f", "code_t": "c", "unsigned": "u", "int": "i", "int64": "l"}
    for kernel, (file, kinds) in SIGNATURES.items():
        found = re.search(rf"__global__ void {kernel}\(([^)]*)\)", source(file))
        assert found, kernel
        wanted = []
        for parameter in found[1].split(","):
            words = parameter.replace("const", " ").replace("*", " * ").split()
            pointer = "*" in words
            letter = letters[words[0]]
            wanted.append(letter if pointer else {"i": "I", "l": "L", "f": "F"}[letter])
        assert [kind.rstrip("?") for kind in kinds.split()] == wanted, kernel


def test_a_broken_kernel_is_reported() -> None:
    with pytest.raises(RuntimeError, match="sm_90"):
        nvrtc.compile_kernels("__global__ void broken( {", 90, ())
