"""Break the CUDA kernels one spot at a time, and list which test notices.

    python tools/mutate_kernels.py [--file hadamard_hash ...] [--jobs 2] [--list]

In every place of every .cu and .cuh file: a barrier is deleted; a check (the condition of an
`if` or of `a ? b : c`) always holds, or never; each term of an `and` is dropped; a comparison
is off by one; plus and minus change places; a minus before a value, and a `not`, are dropped; a
sum is subtracted or overwritten; a limit (fminf, fmaxf, a mask of bits) is dropped. Left alone
are comparisons of #if lines and the steps of loops, which would not end.

First all emulated tests run unharmed and tell which kernels each of them launches. A mutant then
meets every test that launches a kernel of its file, until one fails. A Markdown table says which.
Mutants that compute the same are listed below with the reason; any other survivor makes the exit
status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "yosort" / "kernels" / "cuda"
TESTS = ["tests/ops"]
TESTS += [f"tests/emulator/test_cuda_{part}.py" for part in ("promises", "models")]
#: Seconds to compile one specialisation: tests that need few of them come first.
COMPILING = 0.3

EITHER = "where both sides are equal, both answers are right"
PADDING = "writes to a padding column, which nobody reads"
UNREAD = "fetches a tile past the last, which nobody meets"
GUARDED = "past PER_THREAD the check of the width fails"
#: Mutants that compute the same: (file, part of the changed line) -> why.
EQUIVALENT = {
    ("common.cuh", "return norm <= 1e-12f"): EITHER,
    ("layer.cu", "tanhf(false ? x"): "where exp overflows, the tanh of infinity is 1 all the same",
    ("lsh_cumulation.cu", "for (int k = 0; k <= i; k++)"): "k = i gives a sum to itself",
    ("lsh_cumulation.cu", "first_hash + per_group <= num_hash"): EITHER,
    ("lsh_cumulation.cu", "i <= TILE * SLICE"): PADDING,
    ("lsh_cumulation.cu", "if (inside <= BUCKETS)"): EITHER,
    ("lsh_cumulation.cu", "if (true) fetch("): UNREAD,
    ("lsh_cumulation.cu", "if (first - TILE < end) fetch("): UNREAD,
    ("lsh_cumulation.cu", "if (first + TILE <= end) fetch("): UNREAD,
    ("hadamard_hash.cu", "((WIDTH - 15) / 16)"): (
        "the spare column takes the last word; it is there to spread rows over banks"
    ),
    ("hadamard_hash.cu", "left <= PER_PART"): EITHER,
    ("expected_attention.cu", "cosine >= 1.0f"): EITHER,
    ("expected_attention.cu", "cosine <= -1.0f"): EITHER,
    ("expected_attention.cu", "i <= TILE * CHUNK"): PADDING,
    ("tensor_attention.cu", "i <= COLUMNS * (TILE / 2)"): PADDING,
    ("tensor_attention.cu", "first_key <= end"): "a tile of nobody's keys, whose values are zeros",
    ("layer.cu", "y >= 10.0f"): EITHER,
    ("layer.cu", "x <= 0.0f ? 0.0f : x"): EITHER,
    ("layer.cu", "x >= 20.0f"): "log(1 + exp(20)) is 20 in float32",
    ("layer.cu", "for (int e = 0; e <= PER_THREAD; e++)"): GUARDED,
}


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
        yield "check holds", match.end(), end, "true"
        yield "check fails", match.end(), end, "false"
    for match in re.finditer(r" \? ", code):
        begin = reach(code, match.start(), -1, "(=,:;{?")
        yield "check holds", begin, match.start(), "true"
        yield "check fails", begin, match.start(), "false"
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


def explained(mutant: Mutant) -> str | None:
    """Return why a mutant computes the same, if it is listed."""
    for (file, part), reason in EQUIVALENT.items():
        if file == mutant.file and part in mutant.after:
            return reason
    return None


def start(tests: list[str], output: Path, **environment: str) -> int:
    """Run tests in a fork of this process, in the order given until one fails; return its id."""
    pid = os.fork()
    if pid == 0:
        os.environ.update(environment)
        with output.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    return pid


def relevant_tests(folder: Path) -> dict[str, list[str]]:
    """Return the tests that launch a file's kernels, the cheapest first, by file."""
    record, output = folder / "record.jsonl", folder / "output"
    if os.waitpid(start(TESTS, output, YOSORT_RECORD=str(record)), 0)[1]:
        raise SystemExit(f"the tests fail without a mutant:\n{output.read_text()}")
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    found: dict[str, list[tuple[float, str]]] = {}
    for test in lines:
        for file, specialisations in test["files"].items():
            cost = test["seconds"] + COMPILING * specialisations
            found.setdefault(file, []).append((cost, test["name"]))
    tests = {file: [name for _, name in sorted(costs)] for file, costs in found.items()}
    everything = {test["name"]: test["seconds"] for test in lines if test["files"]}
    return {**tests, "common": sorted(everything, key=lambda name: everything[name])}


def verdict(status: int, output: str) -> str | None:
    """Return what caught a mutant: the failed test and its first words; None if it survived."""
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return None
    if code == -signal.SIGPROF:  # tests/emulator/conftest.py sets the timer
        return "a test does not end"
    failed = re.search(r"^(?:FAILED|ERROR) \S+::(\w+)(?:\[.*?\])?(?: - (.*))?$", output, re.M)
    if failed is None:
        return f"the process dies ({code})"
    fault = re.search(r"EmulatorError: [^\n]*", output)
    reason = fault[0].partition(": ")[2] if fault else (failed[2] or "")
    if "RuntimeError" in output and ": error:" in output:
        reason = "does not compile"
    reason = re.sub(r"\s+", " ", reason)[:90].replace("|", "\\|")
    return f"`{failed[1]}`: {reason}"


def judge(mutants: list[Mutant], jobs: int, folder: Path) -> Iterator[str | None]:
    """Yield every mutant's verdict, in order."""
    # Forks find all of this imported.
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *TESTS])
    tests = relevant_tests(folder)
    running: dict[int, int] = {}
    verdicts: dict[int, str | None] = {}
    started = 0
    for at in range(len(mutants)):
        while at not in verdicts:
            while len(running) < jobs and started < len(mutants):
                mutant, text = mutants[started], folder / f"{started}.json"
                text.write_text(json.dumps({mutant.file: mutant.text}))
                stem = mutant.file.partition(".")[0]
                pid = start(tests[stem], folder / f"{started}.txt", YOSORT_MUTANT=str(text))
                running[pid] = started
                started += 1
            pid, status = os.wait()
            done = running.pop(pid)
            verdicts[done] = verdict(status, (folder / f"{done}.txt").read_text(errors="replace"))
        yield verdicts[at]


def report(mutants: list[Mutant], jobs: int) -> int:
    """Print a row a mutant; return the exit status."""
    print("| where | mutant | caught by |\n|---|---|---|")
    survivors = equal = 0
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder  # what is compiled goes with it
        for mutant, caught in zip(mutants, judge(mutants, jobs, Path(folder)), strict=True):
            reason = explained(mutant)
            if caught is None:
                survivors += reason is None
                equal += reason is not None
                caught = "**survived**" if reason is None else f"computes the same: {reason}"
            print(f"{mutant.row} {caught} |", flush=True)
    print(f"\n{len(mutants)} mutants, {equal} compute the same, {survivors} survived.")
    return 1 if survivors else 0


def main() -> int:
    """Judge all mutants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", nargs="+", help="only these, without the suffix")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at once")
    parser.add_argument("--list", action="store_true", help="list the mutants, run nothing")
    parser.add_argument("--match", default="", help="only those whose line of the table has this")
    arguments = parser.parse_args()
    files = {path.stem: path.name for path in sorted(KERNELS.glob("*.cu*"))}
    if arguments.file:
        files = {stem: files[stem] for stem in arguments.file}
    found = [mutant for file in files.values() for mutant in mutants(file)]
    found = [mutant for mutant in found if arguments.match in mutant.row]
    if arguments.list:
        print(*(mutant.row for mutant in found), sep="\n")
        return 0
    os.chdir(ROOT)
    return report(found, arguments.jobs)


if __name__ == "__main__":
    sys.exit(main())
