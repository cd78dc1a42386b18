"""Fuzz one target, or all of them in turn, and print one line of JSON for each.

    python tests/fuzz/run.py --seconds 5                  # all targets, the mutator below
    python tests/fuzz/run.py torch --seconds 600 --atheris --keep FOLDER

With --atheris (`pip install atheris`) libFuzzer mutates, led by what the bytes reach in yosort's
readers; without, a mutator of our own, which needs nothing. Either runs under bounds: an input may
add 1 GB of address space to the process at most (the readers get files of a few kB), and 20
seconds of processor time. The exit status is 1 if anything was found.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

MEMORY = 1 << 30
CPU_SECONDS = 20
MAX_BYTES = 1 << 14
#: Numbers at the edges of what sizes and lengths can be.
NUMBERS = [0, 1, 127, 128, 255, 256, 65535, 1 << 31, (1 << 32) - 1, 1 << 48, (1 << 63) - 1, -1]


class Hang(BaseException):
    """Processor time ran out. No Exception, so that no reader can take it for a broken file."""


def mutate(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """Return a damaged copy: some of bits flipped, runs moved, numbers and other files put in."""
    result = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        at = draw.randrange(len(result) + 1)
        length = min(draw.choice((1, 1, 2, 4, 8, 64)), len(result) - at)
        kind = draw.randrange(8)
        if kind == 0 and length:
            result[at] ^= 1 << draw.randrange(8)
        elif kind == 1 and length:
            result[at : at + length] = draw.randbytes(length)
        elif kind == 2:
            del result[at : at + length]
        elif kind == 3:
            result[at:at] = result[at : at + length] * draw.choice((1, 2, 50))
        elif kind == 4:
            number = draw.choice(NUMBERS)
            width = draw.choice((1, 2, 4, 8))
            result[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, "little")
        elif kind == 5:
            other = draw.choice(others)
            start = draw.randrange(len(other) + 1)
            result[at : at + length] = other[start : start + draw.choice((1, 8, 64))]
        elif kind == 6:
            # A whole number or word of a text, where there is one.
            words = list(re.finditer(rb"-?\d+|true|false|null|\"[^\"]*\"", bytes(result)))
            if words:
                word = draw.choice(words)
                new = draw.choice((b"true", b"null", b"[]", b"{}", b'"a"', b"1e999", b"NaN"))
                if draw.random() < 0.6:
                    new = str(draw.choice(NUMBERS) + draw.choice((0, 0, 1))).encode()
                result[word.start() : word.end()] = new
        else:
            del result[at:]
    return bytes(result[:MAX_BYTES])


def limit_memory() -> None:
    """Bound the address space to what the process has now and MEMORY more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    bound = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (bound, resource.getrlimit(resource.RLIMIT_AS)[1]))


def fuzz(name: str, seconds: float, seed: int, keep: Path | None) -> dict[str, object]:
    """Run our own mutator on one target; return its statistics."""
    from targets import make_targets

    def ran_out(*_: object) -> None:
        raise Hang

    draw = random.Random(seed)
    findings: list[str] = []
    executions = accepted = 0
    with tempfile.TemporaryDirectory(dir=_memory_folder()) as scratch:
        target = make_targets(Path(scratch))[name]
        signal.signal(signal.SIGVTALRM, ran_out)
        limit_memory()
        begun = time.process_time()
        pool = list(target.seeds)
        for data in _inputs(target.seeds, pool, draw):
            if time.process_time() - begun > seconds:
                break
            executions += 1
            signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
            try:
                if target(Path(scratch), data):
                    accepted += 1
                    if accepted % 8 == 0:  # damage upon damage, while the file can be read
                        pool.append(data)
                        del pool[len(target.seeds) : -200]
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                findings.append(_report(name, data, error, keep))
                if len(findings) >= 20:
                    break
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        used = time.process_time() - begun
    return _line(name, "own", used, executions, findings, accepted=accepted)


def _inputs(seeds: list[bytes], pool: list[bytes], draw: random.Random) -> Iterator[bytes]:
    yield from seeds
    while True:
        yield mutate(draw.choice(pool), seeds, draw)


def _report(name: str, data: bytes, error: BaseException, keep: Path | None) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = (
        f"{type(error).__name__}: {str(error)[:200]} ({Path(where.filename).name}:{where.lineno})"
    )
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        path = keep / f"{name}-{time.monotonic_ns():x}"
        path.write_bytes(data)
        path.with_suffix(".txt").write_text("".join(traceback.format_exception(error)))
        text += f" [{path.name}]"
    return text


def _memory_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _line(
    name: str, engine: str, used: float, executions: int, findings: list[str], **more: object
) -> dict[str, object]:
    return {
        "target": name,
        "engine": engine,
        "cpu_seconds": round(used, 1),
        "executions": executions,
        "findings": findings,
        **more,
    }


def fuzz_with_atheris(name: str, seconds: float, keep: Path | None) -> dict[str, object]:
    """Run libFuzzer in child processes until the time is up; return the statistics of all."""
    findings: list[str] = []
    executions, coverage = 0, 0
    end, before = time.monotonic() + seconds, _children_seconds()
    with tempfile.TemporaryDirectory(dir=_memory_folder()) as scratch:
        corpus = (keep or Path(scratch)) / f"corpus-{name}"
        corpus.mkdir(parents=True, exist_ok=True)
        crashes = (keep or Path(scratch)) / f"crashes-{name}"
        crashes.mkdir(parents=True, exist_ok=True)
        while (left := int(end - time.monotonic())) > 0 and len(findings) < 20:
            folder = tempfile.mkdtemp(dir=scratch)
            child = subprocess.run(
                [
                    sys.executable, __file__, name, "--child", folder, f"-max_total_time={left}",
                    f"-artifact_prefix={crashes}/", f"-max_len={MAX_BYTES}", "-timeout=120",
                    "-rss_limit_mb=2048", "-print_final_stats=1", str(corpus),
                ],
                capture_output=True, text=True, errors="replace", check=False,
            )  # fmt: skip
            log = child.stderr + child.stdout
            units = re.findall(r"stat::number_of_executed_units:\s*(\d+)", log)
            executions += int(units[-1]) if units else 0
            covered = re.findall(r"cov: (\d+)", log)
            coverage = max([coverage, *map(int, covered[-1:])])
            if child.returncode:
                lines = [
                    line for line in log.splitlines() if re.match(r"\S*(Error|Exception)", line)
                ]
                findings.append((lines or log.splitlines()[-3:])[-1][:300])
                (crashes / f"log-{len(findings)}.txt").write_text(log[-20000:])
                if not units and "libFuzzer" not in log:
                    break
    used = _children_seconds() - before
    return _line(name, "atheris", used, executions, findings, coverage=coverage)


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def child(name: str, folder: Path, arguments: list[str]) -> None:
    """Be the process that libFuzzer runs in, with its corpus as the last argument."""
    import atheris

    with atheris.instrument_imports(include=["yosort", "json", "zipfile", "safetensors"]):
        from targets import make_targets
    target = make_targets(folder)[name]
    for i, seed in enumerate(target.seeds):
        Path(arguments[-1], f"seed-{i}").write_bytes(seed)
    limit_memory()
    atheris.Setup([sys.argv[0], *arguments], lambda data: target(folder, data) and None)
    atheris.Fuzz()


def main() -> int:
    """Read the command line."""
    sys.path.insert(0, str(Path(__file__).parent))
    if sys.argv[2:3] == ["--child"]:
        child(sys.argv[1], Path(sys.argv[3]), sys.argv[4:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="?", help="all of them by default")
    parser.add_argument("--seconds", type=float, default=2, help="for each target (2)")
    parser.add_argument("--seed", type=int, default=0, help="of our own mutator (0)")
    parser.add_argument("--atheris", action="store_true", help="let libFuzzer mutate")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="corpus and findings")
    arguments = parser.parse_args()
    if arguments.target is None:
        from targets import make_targets

        with tempfile.TemporaryDirectory() as scratch:
            names = list(make_targets(Path(scratch)))
    else:
        names = [arguments.target]
    found = False
    for name in names:
        if arguments.atheris:
            line = fuzz_with_atheris(name, arguments.seconds, arguments.keep)
        else:
            line = fuzz(name, arguments.seconds, arguments.seed, arguments.keep)
        found = found or bool(line["findings"])
        print(json.dumps(line), flush=True)
    return int(found)


if __name__ == "__main__":
    raise SystemExit(main())
