"""Break the CUDA kernels one spot at a time, and list which test notices.

    python tools/mutate_kernels.py [--file hadamard_hash] [--list]

Mutants: each barrier deleted, each term of a condition dropped, each bound off by one, each plus or
minus exchanged, each sum overwritten. The emulated tests of the ops run against every mutant; a
Markdown table says which noticed. Survivors come last and make the exit status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "yosort" / "kernels"
#: Seconds after which a mutant loops for ever: the tests take one minute.
TIMEOUT = 400
TESTS = ["tests/emulator/test_cuda_ops.py"]

#: what is changed -> (pattern, its replacement); applied at one match at a time
OPERATORS = {
    "barrier deleted": (r"__sync(?:threads|warp)\(\);", ";"),
    "bound off by one": (r"(?<=[\w\])] )<(?= [\w(])", "<="),
    "term dropped": (r" && [^&|?;{}]*?(?=(?: &&|\)? \?|\) (?:\{|[a-z_*])|\)\n|;| \|\|))", ""),
    "plus for minus": (r"(?<=[\w\])] )-(?= [\w(])", "+"),
    "minus for plus": (r"(?<=[\w\])] )\+(?= [\w(])", "-"),
    "sum overwritten": (r"\+=", "="),
    "negation dropped": (r"= -(?=\w)", "= "),
}

#: Mutants that compute the same, with the reason.
EQUIVALENT: dict[tuple[str, int, str], str] = {}


@dataclass(frozen=True)
class Mutant:
    """One changed spot of one file."""

    file: str
    line: int
    what: str
    before: str
    after: str
    text: str


def mutants(file: str) -> Iterator[Mutant]:
    """Yield every mutant of a source file."""
    source = (KERNELS / file).read_text(encoding="utf-8")
    # Comments are blanked, lines kept.
    code = re.sub(r"//[^\n]*", lambda m: " " * len(m[0]), source)
    for what, (pattern, replacement) in OPERATORS.items():
        for match in re.finditer(pattern, code):
            begin, end = match.span()
            line_start = code.rfind("\n", 0, begin) + 1
            if code[line_start:begin].lstrip().startswith("#"):
                continue
            text = source[:begin] + replacement + source[end:]
            line = source.count("\n", 0, begin)
            yield Mutant(
                file,
                line + 1,
                what,
                source.splitlines()[line].strip(),
                text.splitlines()[line].strip(),
                text,
            )


def judge(mutant: Mutant) -> str | None:
    """Return what caught a mutant: the failed test and its first words; None if it survived."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump({mutant.file: mutant.text}, file)
        file.flush()
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TESTS]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, "YOSORT_MUTANT": file.name},
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return "does not end"
    if done.returncode == 0:
        return None
    failed = re.search(r"^FAILED \S+::(\w+)\S*(?:.*?)(?: - (.*))?$", done.stdout, re.M)
    if failed is None:
        return "does not compile" if "RuntimeError" in done.stdout else "crashes"
    return f"{failed[1]}: {(failed[2] or '')[:70]}"


def main() -> int:
    """Judge all mutants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", nargs="+", help="only these, without the suffix")
    parser.add_argument("--list", action="store_true", help="list the mutants, run nothing")
    arguments = parser.parse_args()
    files = sorted(path.name for path in KERNELS.glob("*.cu*"))
    if arguments.file:
        files = [name for name in files if name.partition(".")[0] in arguments.file]
    survivors = []
    print("| where | mutant | caught by |\n|---|---|---|")
    for file in files:
        for mutant in mutants(file):
            where = f"{file}:{mutant.line}"
            if arguments.list:
                print(f"| {where} | {mutant.what}: `{mutant.after}` | |")
                continue
            caught = judge(mutant)
            if caught is None:
                survivors.append((where, mutant))
                continue
            print(
                f"| {where} | {mutant.what}: `{mutant.after}` | {caught} |".replace("||", "or"),
                flush=True,
            )
    for where, mutant in survivors:
        print(f"| {where} | {mutant.what}: `{mutant.after}` | **survived** |".replace("||", "or"))
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
