"""Break the CUDA kernels one spot at a time, and list which test notices.

    python tools/mutate_kernels.py [--file hadamard_hash ...] [--jobs 2] [--list]

In every place of every .cu and .cuh file: a barrier is deleted; a check (the condition of an
`if` or of `a ? b : c`) and each term of an `and` always hold; a comparison is off by one; plus
and minus change places; a minus before a value, and a `not`, are dropped; a sum is subtracted
or overwritten; a limit (fminf, fmaxf, a mask of bits) is dropped. Left alone are comparisons of
#if lines and the steps of loops, which would not end.

First all emulated tests run unharmed and tell which kernels each of them launches. A mutant then
meets every test that launches a kernel of its file, until one fails. A Markdown table says which.
Mutants that compute the same are listed below with the reason; any other survivor makes the exit
status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "yosort" / "kernels"
TESTS = [f"tests/emulator/test_cuda_{part}.py" for part in ("ops", "promises", "models")]
#: Seconds to compile one specialisation: tests that need few of them come first.
COMPILING = 1.5

#: Mutants that compute the same: (file, the changed line) -> why.
EQUIVALENT: dict[tuple[str, str], str] = {}


@dataclass(frozen=True)
class Mutant:
    """One changed spot of one file."""

    file: str
    line: int
    what: str
    after: str
    text: str

    @property
    def row(self) -> str:
        """Two cells of a Markdown table."""
        code = re.sub(r"\s+", " ", self.after).replace("|", "\\|")
        return f"| {self.file}:{self.line} | {self.what}: `{code}` |"


def spots(code: str) -> Iterator[tuple[str, int, int, str]]:
    """Yield (what, begin, end, replacement) of every mutant of a source without comments."""
    for match in re.finditer(r"__sync(?:threads|warp)\(\);", code):
        yield "barrier deleted", *match.span(), ";"
    for match in re.finditer(r"\bif \(", code):
        end = reach(code, match.end(), 1, ")")
        leaves = re.match(r"\) (?:return|continue)\b", code[end:])
        yield "check deleted", match.end(), end, "false" if leaves else "true"
    for match in re.finditer(r" \? ", code):
        yield "check deleted", reach(code, match.start(), -1, "(=,:;{?"), match.start(), "true"
    for match in re.finditer(r" && ", code):
        begin = reach(code, match.start(), -1, "(=;{&")
        yield "term dropped", begin, match.end(), ""
        end = reach(code, match.end(), 1, ")&?;")
        yield "term dropped", match.start(), end, " " * (code[end - 1] == " ")
    swaps = {"<": "<=", ">": ">=", "<=": "<", ">=": ">", "==": "!=", "+": "-", "-": "+"}
    for match in re.finditer(r"(?<=[\w\])] )(<=?|>=?|==|[+-])(?= [\w(])", code):
        sign = match[1] in "+-"
        directive = code[code.rfind("\n", 0, match.start()) + 1 :].lstrip().startswith("#")
        if sign or not directive:
            what = "sign exchanged" if sign else "bound off by one"
            yield what, *match.span(), swaps[match[1]]
    for match in re.finditer(r"(?:(?<=[(=,?:<>] )|(?<=\())-(?=[\w(])", code):
        yield "minus dropped", *match.span(), ""
    for match in re.finditer(r"!(?=\()", code):
        yield "not dropped", *match.span(), ""
    for match in re.finditer(r"\+=", code):
        if not re.search(r"for \([^{}]*;[^;{}]*;[^;{})]*$", code[: match.start()]):
            yield "sum subtracted", *match.span(), "-="
            yield "sum overwritten", *match.span(), "="
    for match in re.finditer(r"\bf(?:min|max)f\(", code):
        end = reach(code, match.end(), 1, ")")
        first = code[match.end() : reach(code, match.end(), 1, ",)")]
        yield "limit dropped", match.start(), end + 1, f"({first})"
    for match in re.finditer(r"\w+ &= [^;]*;", code):
        yield "limit dropped", *match.span(), ";"


def reach(code: str, start: int, step: int, stops: str) -> int:
    """Return where an expression beside `start` ends: at one of `stops` outside its parentheses."""
    opens, closes = ("([{", ")]}") if step > 0 else (")]}", "([{")
    depth, at = 0, start if step > 0 else start - 1
    while True:
        here = code[at]
        around = code[at - 1 : at + 2]
        comparison = here == "=" and (around[0] in "=<>!" or around[2] == "=")
        if depth == 0 and here in stops and not comparison:
            break
        if depth == 0 and step < 0 and re.match(r"return ", code[at - 6 : at + 1]):
            break
        depth += (here in opens) - (here in closes)
        if depth < 0:
            break
        at += step
    if step > 0:
        return at
    return at + 1 + len(code[at + 1 : start]) - len(code[at + 1 : start].lstrip())


def mutants(file: str) -> Iterator[Mutant]:
    """Yield every mutant of a source file."""
    source = (KERNELS / file).read_text(encoding="utf-8")
    # Comments are blanked, places kept.
    code = re.sub(r"//[^\n]*", lambda match: " " * len(match[0]), source)
    for what, begin, end, replacement in sorted(spots(code), key=lambda spot: spot[1]):
        text = source[:begin] + replacement + source[end:]
        line = source.count("\n", 0, begin)
        yield Mutant(file, line + 1, what, text.splitlines()[line].strip(), text)


def run(tests: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run tests in the order given until one fails."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def relevant_tests() -> dict[str, list[str]]:
    """Return the tests that launch a file's kernels, the cheapest first, by file."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as record:
        done = run(TESTS, YOSORT_RECORD=record.name)
        if done.returncode:
            raise SystemExit(f"the tests fail without a mutant:\n{done.stdout}")
        lines = [json.loads(line) for line in Path(record.name).read_text().splitlines()]
    found: dict[str, list[tuple[float, str]]] = {}
    for test in lines:
        for file, specialisations in test["files"].items():
            cost = test["seconds"] + COMPILING * specialisations
            found.setdefault(file, []).append((cost, test["name"]))
    tests = {file: [name for _, name in sorted(costs)] for file, costs in found.items()}
    everything = {test["name"]: test["seconds"] for test in lines if test["files"]}
    return {**tests, "common": sorted(everything, key=lambda name: everything[name])}


def judge(tests: dict[str, list[str]], mutant: Mutant) -> str | None:
    """Return what caught a mutant: the failed test and its first words; None if it survived."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump({mutant.file: mutant.text}, file)
        file.flush()
        done = run(tests[mutant.file.partition(".")[0]], YOSORT_MUTANT=file.name)
    if done.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) \S+::(\w+)(?:\[.*?\])?(?: - (.*))?$", done.stdout, re.M)
    if done.returncode == -signal.SIGALRM:  # tests/emulator/conftest.py sets the alarm
        return "a test does not end"
    if failed is None:
        return f"the process dies ({done.returncode})"
    fault = re.search(r"EmulatorError: [^\n]*", done.stdout)
    reason = fault[0].partition(": ")[2] if fault else (failed[2] or "")
    if "RuntimeError" in done.stdout and ": error:" in done.stdout:
        reason = "does not compile"
    reason = re.sub(r"\s+", " ", reason)[:90].replace("|", "\\|")
    return f"`{failed[1]}`: {reason}"


def main() -> int:
    """Judge all mutants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", nargs="+", help="only these, without the suffix")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at once")
    parser.add_argument("--list", action="store_true", help="list the mutants, run nothing")
    arguments = parser.parse_args()
    files = {path.stem: path.name for path in sorted(KERNELS.glob("*.cu*"))}
    if arguments.file:
        files = {stem: files[stem] for stem in arguments.file}
    all_mutants = [mutant for file in files.values() for mutant in mutants(file)]
    if arguments.list:
        print(*(mutant.row for mutant in all_mutants), sep="\n")
        return 0
    # What is compiled goes with the end of this.
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = folder
        return report(all_mutants, arguments.jobs)


def report(all_mutants: list[Mutant], jobs: int) -> int:
    """Print a row a mutant; return the exit status."""
    tests = relevant_tests()
    print("| where | mutant | caught by |\n|---|---|---|")
    survivors = equal = 0
    with ThreadPoolExecutor(jobs) as pool:
        caught_by = pool.map(partial(judge, tests), all_mutants)
        for mutant, caught in zip(all_mutants, caught_by, strict=True):
            reason = EQUIVALENT.get((mutant.file, mutant.after))
            if caught is None:
                survivors += reason is None
                equal += reason is not None
                caught = "**survived**" if reason is None else f"computes the same: {reason}"
            print(f"{mutant.row} {caught} |", flush=True)
    print(f"\n{len(all_mutants)} mutants, {equal} compute the same, {survivors} survived.")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
