"""Compile the kernels without Python and run test_kernels.c: host, scalar, other machines."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from yosort._dense import available_instruction_sets

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parent.parent / "yosort" / "kernels" / "cpu"

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
        ["-static", "-march=armv8.2-a+dotprod"],
        ["qemu-aarch64"],
    ),
}


@pytest.mark.skipif(not KERNELS.is_dir(), reason="not run from a source tree")
@pytest.mark.skipif(os.name != "posix", reason="compiles as a POSIX shell would")
@pytest.mark.parametrize("target", TARGETS)
def test_kernels_agree_with_plain_loops(target: str, tmp_path: Path) -> None:
    compiler, flags, runner = TARGETS[target]
    for tool in (*compiler, *runner):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    isa = target.partition("-")[2]
    if isa.startswith("avx") and isa not in available_instruction_sets():
        pytest.skip(f"no {isa} on this processor")
    program = tmp_path / "test_kernels"
    sources = [str(HERE / "test_kernels.c"), str(KERNELS / "kernels.c")]
    options = ["-std=gnu11", "-O2", "-fno-math-errno", "-ffp-contract=fast"]
    flags = ["-DYOSORT_ISA=baseline", *flags]
    subprocess.run(
        [*compiler, *options, *flags, f"-I{KERNELS}", *sources, "-o", str(program), "-lm"],
        check=True,
        capture_output=True,
    )
    result = subprocess.run(
        [*runner, str(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},  # the test frees nothing of some
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 failed" in result.stdout


LIST_VARIANTS = """
#include <stdio.h>
#include "kernels.h"
int main(void) {
    for (int i = 0; ys_variant(i); i++) printf("%s ", ys_variant(i)->name);
}
"""


@pytest.mark.skipif(not KERNELS.is_dir(), reason="not run from a source tree")
@pytest.mark.skipif(os.name != "posix", reason="compiles as a POSIX shell would")
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


@pytest.mark.skipif(not KERNELS.is_dir(), reason="not run from a source tree")
@pytest.mark.parametrize(
    ("cpu", "wanted"), [("max", "dotprod baseline"), ("cortex-a53", "baseline")]
)
def test_arm_takes_the_dot_product_where_it_is(cpu: str, wanted: str, tmp_path: Path) -> None:
    compiler = "aarch64-linux-gnu-gcc"
    for tool in (compiler, "qemu-aarch64"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    main = tmp_path / "main.c"
    main.write_text(LIST_VARIANTS)
    base = [compiler, "-std=gnu11", "-O1", "-ffp-contract=fast", f"-I{KERNELS}", "-c"]
    units = {
        "baseline": [str(KERNELS / "kernels.c"), "-DYOSORT_ISA=baseline"],
        "dotprod": [str(KERNELS / "kernels.c"), "-DYOSORT_ISA=dotprod", "-march=armv8.2-a+dotprod"],
        "dispatch": [str(KERNELS / "dispatch.c"), "-DYOSORT_DOTPROD"],
        "main": [str(main)],
    }
    objects = [str(tmp_path / f"{name}.o") for name in units]
    for target, arguments in zip(objects, units.values(), strict=True):
        subprocess.run([*base, *arguments, "-o", target], check=True, capture_output=True)
    program = str(tmp_path / "program")
    subprocess.run([compiler, "-static", *objects, "-o", program, "-lm"], check=True)
    result = subprocess.run(
        ["qemu-aarch64", "-cpu", cpu, program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == wanted


#: Name -> compiler flags, and how many forks amid calls to try.
POOLS = {"plain": (["-O2"], 50), "thread-sanitizer": (["-O1", "-g", "-fsanitize=thread"], 0)}


@pytest.mark.skipif(not KERNELS.is_dir(), reason="not run from a source tree")
@pytest.mark.skipif(os.name != "posix", reason="compiles as a POSIX shell would")
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
