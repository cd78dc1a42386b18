"""Break the Python code at random, one spot at a time, and list which test notices.

    python tools/mutate_python.py --seed 1 --count 100 [--area cli] [--only yosort/machine.py]

Each mutant changes one thing of one line: see mutants.py. The judge is the `pytest` of this Python,
without the tests marked parity or slow: what any contributor's run sees where torch is not
installed.

All of it happens in copies of the tracked files in a temporary folder, with the compiled modules
of the installed yosort beside them: the working tree is only read. First every test runs
unharmed, once, and the lines it executes are written down (--map keeps them for the next run).
A mutant then meets tests in four rounds, until one fails: a few quick ones that execute its
statement (or, of what runs as a module is imported, anything of its file), all other quick ones
that do, the slow ones that do and those that read signatures, docstrings and tables, all others.
After the third round a survivor is hardly ever caught; the fourth takes minutes a mutant. A test
that burns far more time than it did unharmed counts as one that fails: the mutant's loop does not
end. A Markdown table says which test caught what, a second one the score of each area.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mutants import AREAS, ROOT, Mutant, compiles, mutants

MARKS = "not parity and not gpu and not slow"
#: Tests of other languages, which no fault in Python touches, and of checkouts.
NO_JUDGES = ("tests/native/", "tests/gpu/", "tests/test_typing.py")
#: Tests that read what is there once a module is imported: signatures, docstrings, tables, help.
READERS = (
    *("tests/test_signatures.py", "tests/test_docstrings.py", "tests/test_package.py"),
    *("tests/test_elsewhere.py", "tests/test_imports.py", "tests/test_cli_options.py"),
)
#: The seconds of a processor that a mutant's run may take: so many times an unharmed run's.
PATIENCE, LEAST_SECONDS = 6, 30
#: The seconds of a test, being watched, that the first rounds have.
QUICK = 1.0

#: Loaded by every Python of a copy, those that tests start as well. An editable install would put
#: its own yosort first. With YOSORT_LINES it writes down which test executes which line.
SITECUSTOMIZE = """
import atexit, json, os, sys, threading

sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in type(f).__module__]


def record(root, folder):
    package, lines = root + "/yosort/", {}

    def enter(frame, event, arg):
        code = frame.f_code
        if not code.co_filename.startswith(package) or code.co_name == "<module>":
            return None
        test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" (")[0].split("[")[0]
        seen = lines.setdefault((test, code.co_filename[len(root) + 1 :]), set())
        seen.add(frame.f_lineno)

        def step(frame, event, arg):
            seen.add(frame.f_lineno)
            return step

        return step

    def leave():
        sys.settrace(None)
        with open(f"{folder}/{os.getpid()}.jsonl", "a") as out:
            for (test, file), seen in list(lines.items()):
                out.write(json.dumps([test, file, sorted(seen)]) + "\\n")

    threading.settrace(enter)
    sys.settrace(enter)
    atexit.register(leave)
    return leave


if "YOSORT_LINES" in os.environ:
    record(os.environ["YOSORT_TREE"], os.environ["YOSORT_LINES"])
"""


def copy_tree(folder: Path) -> None:
    """Copy the tracked files, the compiled modules beside them."""
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, tracked):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    # Asked of another Python: in this one and its forks, no yosort may be imported yet.
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts)
               for path in sorted((ROOT / "yosort").rglob("*.pyx"))]  # fmt: skip
    code = (
        "import importlib, sys; [print(importlib.import_module(m).__file__) for m in sys.argv[1:]]"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, *modules],
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for module, path in zip(modules, found.stdout.splitlines(), strict=True):
        shutil.copy2(path, folder.joinpath(*module.split(".")[:-1]))
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)


def start(tests: list[str], tree: Path, seconds: float, lines: Path | None = None) -> int:
    """Run tests of a copy in a fork of this process, until one fails; return its id.

    Args:
        tests: what pytest is asked to run, in that order.
        tree: the copy; the output is written beside it.
        seconds: of a processor, after which the run is killed.
        lines: a folder for the lines that each test executes; None: nobody asks.
    """
    pid = os.fork()
    if pid:
        return pid
    os.setsid()  # what tests start is killed with them
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
    home = tree.parent / f"{tree.name}.home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    # A mutant may delete more than it should: it is shown no folder but its own.
    os.environ.update(HOME=str(home), TMPDIR=str(home), PYTHONPATH=str(tree))
    os.environ.pop("XDG_CACHE_HOME", None)
    tempfile.tempdir = None
    os.chdir(tree)
    with open(f"{tree}.txt", "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.path[:] = [str(tree), *sys.path[1:]]
    # Spawned processes would import this file as theirs.
    sys.modules["__main__"] = types.ModuleType("__main__")
    hooks: dict = {}
    exec(SITECUSTOMIZE, hooks)
    if lines:
        os.environ.update(YOSORT_LINES=str(lines), YOSORT_TREE=str(tree))
        leave = hooks["record"](str(tree), str(lines))
    stop = [] if lines else ["-x"]
    options = [*stop, "-q", "-p", "no:cacheprovider", "-m", MARKS, "--durations=0"]
    status = pytest.main([*options, "--durations-min=0", *tests])
    if lines:
        leave()
    sys.stdout.flush()
    os._exit(status)


def wait(pid: int, seconds: float) -> int:
    """Return a run's exit code, minus a signal's number where that ended it.

    A run that waits for ever burns nothing; it is killed after a time that no busy machine needs.
    """
    end = time.monotonic() + 20 * seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            break
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def failed(output: str) -> set[str]:
    """Return the tests that pytest's summary calls failed."""
    return set(re.findall(r"^(?:FAILED|ERROR) ([^\s\[]+)", output, re.M))


def durations(output: str) -> dict[str, float]:
    """Return the seconds of each test: its parameters and its fixtures together."""
    seconds: dict[str, float] = defaultdict(float)
    for time_, test in re.findall(r"^([\d.]+)s (?:call|setup|teardown) +([^\s\[]+)", output, re.M):
        seconds[test] += float(time_)
    return dict(seconds)


@dataclass
class Judge:
    """Which tests there are, what they execute and how long they take."""

    seconds: dict[str, float]
    lines: dict[str, dict[str, set[int]]]  # test -> file -> lines
    trusted: set[str] = field(default_factory=set)

    def rounds(self, mutant: Mutant) -> list[list[str]]:
        """Return the tests in the order in which they meet a mutant, in four rounds."""
        stem = Path(mutant.file).stem
        # Quick ones first, those that bear the module's name before them.
        tests = sorted(
            self.seconds,
            key=lambda test: (self.seconds[test] > QUICK, stem not in test, self.seconds[test]),
        )
        lines = {*mutant.lines}
        of_file = [test for test in tests if mutant.file in self.lines[test]]
        of_line = [test for test in of_file if lines & self.lines[test][mutant.file]]
        near = of_line if mutant.called else of_file or tests
        quick = [test for test in near if self.seconds[test] <= QUICK]
        slow = near[len(quick) :]
        # Hundreds may execute a line of the model; a few mostly do.
        first, second = quick[:30], quick[30:]
        others = [test for test in tests if test not in near]
        readers = [test for test in others if test.startswith(READERS)]
        return [first, second, slow + readers, [test for test in others if test not in readers]]

    def trusts(self, test: str, tree: Path) -> bool:
        """Tell whether a test, or a file of them, passes without a mutant; else ask it no more."""
        if test not in self.trusted:
            if wait(start([test], tree, 3600), 3600):
                print(f"left out, fails without a mutant: {test}", file=sys.stderr, flush=True)
                for name in [name for name in self.seconds if name.startswith(test)]:
                    del self.seconds[name]
                return False
            self.trusted.add(test)
        return True

    def limit(self, tests: list[str]) -> float:
        return LEAST_SECONDS + PATIENCE * sum(self.seconds[test] for test in tests)


def unharmed(tree: Path, kept: Path | None) -> Judge:
    """Run each file of tests without a mutant; return what its tests execute."""
    known = json.loads(kept.read_text()) if kept and kept.exists() else {}
    record: dict[str, dict] = {}
    names = (path.relative_to(tree).as_posix() for path in (tree / "tests").rglob("test_*.py"))
    for name in sorted(name for name in names if not name.startswith(NO_JUDGES)):
        key = f"{name} {digest(tree / name)}"
        of_file = known[key] if key in known else run_unharmed(name, tree)
        if not of_file["seconds"]:  # not kept: with what they want they run next time
            print(f"no test of {name} ran:", *of_file["skipped"], file=sys.stderr, flush=True)
            continue
        record[key] = of_file
        if kept:
            kept.write_text(json.dumps({**known, **record}))
    judge = Judge({}, {})
    for of_file in record.values():
        judge.seconds.update(of_file["seconds"])
        # Of a file that has changed since, a test may execute any line.
        same = {
            file: (tree / file).is_file() and digest(tree / file) == was
            for file, was in of_file["sources"].items()
        }
        for test, files in of_file["lines"].items():
            judge.lines[test] = {
                file: set(lines if same[file] else range(1, 10_000))
                for file, lines in files.items()
            }
    return judge


def digest(path: Path) -> str:
    """Return what tells a file from its earlier and later versions."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_unharmed(name: str, tree: Path) -> dict:
    """Return the seconds and the lines of each test of a file that passes."""
    with tempfile.TemporaryDirectory() as folder:
        wait(start([name], tree, 3600, Path(folder)), 3600)
        traced = (output := Path(f"{tree}.txt")).read_text(errors="replace")
        seconds = durations(traced)
        lines: dict[str, dict[str, set[int]]] = {test: {} for test in seconds}
        for path in Path(folder).glob("*.jsonl"):
            for test, file, executed in map(json.loads, path.read_text().splitlines()):
                if test.startswith(name):  # others: fixtures of the session, imports
                    seconds.setdefault(test, 0.0)
                    lines.setdefault(test, {}).setdefault(file, set()).update(executed)
        # Being watched makes some fail: of memory, of time.
        if again := sorted(failed(traced)):
            wait(start(again, tree, 3600), 3600)
            for test in failed(output.read_text(errors="replace")) & {*seconds, *again}:
                print(f"left out, fails without a mutant: {test}", file=sys.stderr, flush=True)
                seconds.pop(test, None)
                lines.pop(test, None)
    return {
        "seconds": seconds,
        "sources": {file: digest(tree / file) for files in lines.values() for file in files},
        "skipped": sorted(set(re.findall(r"^SKIPPED \[\d+\] \S+ (.*)", traced, re.M))),
        "lines": {
            test: {file: sorted(numbers) for file, numbers in files.items()}
            for test, files in lines.items()
        },
    }


def verdict(mutant: Mutant, judge: Judge, tree: Path, rounds: int) -> str | None:
    """Return what caught a mutant: the failed test and its first words; None if it survived."""
    target = tree / mutant.file
    original, times = target.read_bytes(), target.stat()
    for tests in judge.rounds(mutant)[:rounds]:
        while tests:
            target.write_bytes(mutant.text)
            os.utime(target, (0, 0))  # no bytecode is of that time
            limit = judge.limit(tests)
            try:
                code = wait(start(tests, tree, limit), limit)
            finally:
                target.write_bytes(original)
                os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
            output = Path(f"{tree}.txt").read_text(errors="replace")
            if code in (0, 5):  # 5: no test was chosen
                break
            if code in (-signal.SIGXCPU, -signal.SIGKILL):
                return "a test does not end"
            summary = re.search(r"^(?:FAILED|ERROR) (\S+?)(?:\[.*?\])?(?: - (.*))?$", output, re.M)
            if summary is None:
                return f"the process dies ({code})"
            if judge.trusts(summary[1], tree):
                reason = re.sub(r"\s+", " ", summary[2] or "")[:90].replace("|", "\\|")
                return f"`{summary[1].removeprefix('tests/')}`: {reason}"
            tests = [test for test in tests if test in judge.seconds]
    return None


def report(chosen: list[Mutant], kept: Path | None, rounds: int) -> int:
    """Print a row a mutant, then the score of each area; return the exit status."""
    scores: dict[str, list[bool]] = {area: [] for area in AREAS}
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder).resolve() / "tree"
        tree.mkdir()
        copy_tree(tree)
        wait(start(["--collect-only"], tree, 3600), 3600)  # writes the bytecode of all
        judge = unharmed(tree, kept)
        sys.dont_write_bytecode = True  # from here on it may be a mutant's
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        print("| where | what | before | after | caught by |\n|---|---|---|---|---|", flush=True)
        for mutant in chosen:
            caught = verdict(mutant, judge, tree, rounds)
            scores[mutant.area].append(caught is not None)
            print(f"{mutant.row} | {caught or '**survived**'} |", flush=True)
    print("\n| area | caught | of |\n|---|---|---|")
    for area, results in scores.items():
        if results:
            print(f"| {area} | {sum(results)} | {len(results)} |")
    caught = sum(sum(results) for results in scores.values())
    print(f"| all | {caught} | {len(chosen)} |")
    return 0 if caught == len(chosen) else 1


def main() -> int:
    """Choose mutants by seed and judge them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="which mutants")
    parser.add_argument("--count", type=int, default=100, help="how many")
    parser.add_argument("--area", choices=AREAS, nargs="+", help="only of these")
    parser.add_argument("--only", nargs="+", metavar="FILE", help="only of these files")
    parser.add_argument("--match", default="", help="only those whose row of the table has this")
    parser.add_argument("--map", type=Path, help="keep what tests execute in this file")
    parser.add_argument("--rounds", type=int, default=4, help="of tests, of four (4)")
    parser.add_argument("--list", action="store_true", help="list the mutants, run nothing")
    arguments = parser.parse_args()
    files = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "yosort").rglob("*.py"))
    found = [mutant for file in files for mutant in mutants(file)]
    if arguments.area:
        found = [mutant for mutant in found if mutant.area in arguments.area]
    if arguments.only:
        found = [mutant for mutant in found if mutant.file in arguments.only]
    random.Random(arguments.seed).shuffle(found)
    chosen = list(itertools.islice(filter(compiles, found), arguments.count))
    chosen = [mutant for mutant in chosen if arguments.match in mutant.row]
    if arguments.list:
        print(*(f"{mutant.row} |" for mutant in chosen), sep="\n")
        return 0
    return report(chosen, arguments.map, arguments.rounds)


if __name__ == "__main__":
    sys.exit(main())
