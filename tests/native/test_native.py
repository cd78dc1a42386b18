"""Compile the kernels without Python and run test_kernels.c: host, scalar, other machines."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from yosort._dense import available_instruction_sets
from yosort.ops import definitions

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parent.parent / "yosort" / "kernels" / "cpu"

#: What meson.build gives the compiler for Arm's extensions.
DOTPROD, MMLA = "-march=armv8.2-a+dotprod", "-march=armv8.2-a+dotprod+bf16+i8mm"

#: Name -> compiler, its flags, and what runs the result.
TARGETS = {
    "host": (["cc"], [], []),
    "scalar": (["cc"], ["-DYOSORT_SCALAR"], []),
    # A matrix unit's kernels over its instructions in plain C.
    "tiles": (["cc"], ["-DYOSORT_EMULATE_TILES"], []),
    "tiles-avx2": (["cc"], ["-DYOSORT_EMULATE_TILES", "-mavx2", "-mfma"], []),
    "tiles-avx512bf16": (
        ["cc"],
        [
            "-DYOSORT_EMULATE_TILES",
            "-mavx512f",
            "-mavx512bw",
            "-mavx512dq",
            "-mavx512vl",
            "-mfma",
            "-mavx512vnni",
            "-mavx512bf16",
        ],
        [],
    ),
    "tiles-scalar": (["cc"], ["-DYOSORT_EMULATE_TILES", "-DYOSORT_SCALAR"], []),
    "tiles-checked": (
        ["cc"],
        ["-DYOSORT_EMULATE_TILES", "-fsanitize=address,undefined", "-fno-sanitize-recover"],
        [],
    ),
    "aarch64-neon": (
        ["aarch64-linux-gnu-gcc"],
        ["-static"],
        ["qemu-aarch64"],
    ),
    "aarch64-dotprod": (
        ["aarch64-linux-gnu-gcc"],
        ["-static", DOTPROD],
        ["qemu-aarch64"],
    ),
    "aarch64-mmla": (
        ["aarch64-linux-gnu-gcc"],
        ["-static", MMLA],
        ["qemu-aarch64"],
    ),
    "aarch64-mmla-checked": (
        ["aarch64-linux-gnu-gcc"],
        [MMLA, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover"],
        ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"],
    ),
}


pytestmark = [
    pytest.mark.skipif(not KERNELS.is_dir(), reason="not run from a source tree"),
    pytest.mark.skipif(os.name != "posix", reason="compiles as a POSIX shell would"),
]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], list[str]]:
    """Return what makes a program of a source beside this file, for a target, and how to run it."""
    folder = tmp_path_factory.mktemp("native")

    def compile_to(path: Path, target: str, *sources: str) -> str:
        compiler, flags, _ = TARGETS[target]
        options = ["-std=gnu11", "-O2", "-fno-math-errno", "-ffp-contract=fast", f"-I{KERNELS}"]
        if not path.exists():
            command = [*compiler, *options, *flags, *sources, "-o", str(path), "-lm"]
            subprocess.run(command, check=True, capture_output=True)
        return str(path)

    def make(target: str, name: str) -> list[str]:
        compiler, _, runner = TARGETS[target]
        for tool in (*compiler, *runner[:1]):
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} is not installed")
        source = str(KERNELS / "kernels.c")
        kernels = folder / f"{target}.o"
        compile_to(kernels, target, "-c", source, "-DYOSORT_ISA=baseline")
        program = folder / f"{target}-{name}"
        return [*runner, compile_to(program, target, str(HERE / f"{name}.c"), str(kernels))]

    return make


#: What says more than the plain builds of this processor only now and then.
AT_LENGTH = [t for t in TARGETS if t.endswith("-checked") or t.startswith("tiles-")]


@pytest.mark.parametrize(
    "target",
    [pytest.param(t, marks=[pytest.mark.slow] if t in AT_LENGTH else []) for t in TARGETS],
)
def test_kernels_agree_with_plain_loops(
    target: str, build: Callable[[str, str], list[str]]
) -> None:
    isa = target.partition("-")[2]
    if isa.startswith("avx") and isa not in available_instruction_sets():
        pytest.skip(f"no {isa} on this processor")
    result = subprocess.run(
        build(target, "test_kernels"),
        capture_output=True,
        text=True,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},  # the test frees nothing of some
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 failed" in result.stdout


@pytest.mark.parametrize(("target", "order"), [("tiles", "tiles"), ("aarch64-mmla", "odd")])
@pytest.mark.parametrize(
    ("rows", "depth", "columns"), [(1, 1, 1), (2, 385, 16), (13, 800, 33), (25, 2100, 40)]
)
def test_products_have_the_bits_of_the_definition(
    target: str,
    order: str,
    rows: int,
    depth: int,
    columns: int,
    build: Callable[[str, str], list[str]],
) -> None:
    """What tests/ops asks of the processor at hand, of those that seldom are."""
    program = build(target, "product")
    rng = np.random.default_rng(depth)

    def product(name: str, *arrays: np.ndarray) -> np.ndarray:
        result = subprocess.run(
            [*program, name, str(rows), str(depth), str(columns)],
            input=b"".join(array.tobytes() for array in arrays),
            capture_output=True,
            check=True,
        )
        return np.frombuffer(result.stdout, np.float32).reshape(rows, columns)

    shapes = (rows, depth), (columns, depth), (columns,)
    x, weight, bias = (rng.standard_normal(shape, np.float32) for shape in shapes)
    wanted = definitions.bfloat16_linear(x, weight, bias, order=order)
    np.testing.assert_array_equal(product("bfloat16", x, weight, bias), wanted)
    # Integers up to 127 have a scale of 1: their sums are exact.
    x, weight, bias = (rng.integers(-127, 128, shape).astype(np.float32) for shape in shapes)
    x[:, ::1024] = weight[:, 0] = 127
    wanted = definitions.quantized_linear(x, weight, bias)
    np.testing.assert_array_equal(product("int8", x, weight, bias), wanted)


LIST_VARIANTS = """
#include <stdio.h>
#include "kernels.h"
int main(void) {
    for (int i = 0; ys_variant(i); i++) printf("%s ", ys_variant(i)->name);
}
"""


def test_a_further_variant_is_one_line(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("cc is not installed")
    for name in ("dispatch.c", "kernels.h"):
        shutil.copy(KERNELS / name, tmp_path)
    names = [f"future{i}" for i in range(8)]
    lines = "".join(f"X({name}, {i % 2})\n" for i, name in enumerate(names))
    known = (KERNELS / "variants.def").read_text(encoding="utf-8")
    (tmp_path / "variants.def").write_text(lines + known, encoding="utf-8")
    tables = [
        f'const struct ys_kernels ys_kernels_{n} = {{"{n}"}};\n' for n in [*names, "baseline"]
    ]
    (tmp_path / "main.c").write_text(LIST_VARIANTS + "".join(tables), encoding="utf-8")
    program = str(tmp_path / "program")
    sources = [str(tmp_path / "main.c"), str(tmp_path / "dispatch.c")]
    subprocess.run(["cc", "-std=gnu11", *sources, "-o", program], check=True, capture_output=True)
    result = subprocess.run([program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["future1", "future3", "future5", "future7", "baseline"]


@pytest.fixture(scope="module")
def arm_variants(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a program for Arm that lists the variants which the processor at hand can run."""
    compiler, folder = "aarch64-linux-gnu-gcc", tmp_path_factory.mktemp("variants")
    for tool in (compiler, "qemu-aarch64"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    main, kernels = folder / "main.c", str(KERNELS / "kernels.c")
    main.write_text(LIST_VARIANTS)
    units = {
        "baseline": [kernels, "-DYOSORT_ISA=baseline"],
        "dotprod": [kernels, "-DYOSORT_ISA=dotprod", DOTPROD],
        "mmla": [kernels, "-DYOSORT_ISA=mmla", MMLA],
        "dispatch": [str(KERNELS / "dispatch.c"), "-DYOSORT_DOTPROD", "-DYOSORT_MMLA"],
        "main": [str(main)],
    }
    base = [compiler, "-std=gnu11", "-O1", "-ffp-contract=fast", f"-I{KERNELS}", "-c"]
    for name, arguments in units.items():
        command = [*base, *arguments, "-o", str(folder / f"{name}.o")]
        subprocess.run(command, check=True, capture_output=True)
    objects = [str(folder / f"{name}.o") for name in units]
    program = str(folder / "program")
    subprocess.run([compiler, "-static", *objects, "-o", program, "-lm"], check=True)
    return program


@pytest.mark.parametrize(
    ("cpu", "wanted"),
    [
        ("max", "mmla dotprod baseline"),
        ("cortex-a76", "dotprod baseline"),
        ("cortex-a53", "baseline"),
    ],
)
def test_arm_takes_the_best_that_it_has(cpu: str, wanted: str, arm_variants: str) -> None:
    result = subprocess.run(
        ["qemu-aarch64", "-cpu", cpu, arm_variants], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == wanted


#: Name -> compiler flags, and how many forks amid calls to try.
POOLS = {"plain": (["-O2"], 50), "thread-sanitizer": (["-O1", "-g", "-fsanitize=thread"], 0)}


@pytest.mark.parametrize("name", POOLS)
def test_the_thread_pool(name: str, tmp_path: Path) -> None:
    flags, forks = POOLS[name]
    if shutil.which("cc") is None:
        pytest.skip("cc is not installed")
    program = tmp_path / "test_pool"
    build = [
        "cc",
        "-std=gnu11",
        *flags,
        f"-I{KERNELS}",
        str(HERE / "test_pool.c"),
        "-o",
        str(program),
    ]
    if subprocess.run([*build, "-lpthread"], capture_output=True, check=False).returncode:
        if name == "plain":
            pytest.fail("test_pool.c does not compile")
        pytest.skip("the compiler has no ThreadSanitizer")
    result = subprocess.run(
        [str(program), str(forks)], capture_output=True, text=True, check=False, timeout=600
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 failed" in result.stdout
