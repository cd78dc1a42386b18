"""`yosort serve` on the command line: its words, its errors; without its extra, too."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from types import SimpleNamespace

import pytest
from tasks.models import make

from yosort.cli import build_parser, main, serving
from yosort.errors import ConfigError
from yosort.serve.limits import Limits

ROOT = Path(__file__).resolve().parent.parent


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["serve", *arguments]) == 1
    return capsys.readouterr().err


def test_limits_are_options_with_the_same_defaults() -> None:
    found = build_parser().parse_args(["serve"])
    assert {f.name: getattr(found, f.name) for f in fields(Limits)} == vars(Limits())
    page = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    for each in fields(Limits):
        row = rf"^\| `--{each.name.replace('_', '-')}` \| {each.default:,} \| "
        assert re.search(row, page, re.M), each.name


def test_by_default_only_this_machine_reaches_it() -> None:
    found = build_parser().parse_args(["serve"])
    assert (found.host, found.port) == ("127.0.0.1", 8080)


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "1", None])
def test_a_limit_that_is_none(value: object) -> None:
    with pytest.raises(ConfigError, match="max_batch_tokens: wanted an integer of at least 1"):
        Limits(max_batch_tokens=value)  # type: ignore[arg-type]
    assert Limits(max_wait_ms=0).max_wait_ms == 0


@pytest.mark.parametrize("name", [each.name for each in fields(Limits)])
def test_nothing_but_a_wait_may_be_of_none(name: str) -> None:
    least = 0 if name in ("max_wait_ms", "shutdown_timeout") else 1
    assert getattr(Limits(**{name: least}), name) == least
    with pytest.raises(ConfigError, match=f"{name}: wanted an integer of at least {least}, got"):
        Limits(**{name: least - 1})


def test_keys() -> None:
    assert serving.read_keys({}) == ()
    assert serving.read_keys({"YOSORT_API_KEY": "one"}) == ("one",)
    assert serving.read_keys({"YOSORT_API_KEY": "old, new"}) == ("old", "new")
    for empty in ("", " ", "one,", ",one"):
        with pytest.raises(ConfigError, match="YOSORT_API_KEY: wanted keys parted by commas"):
            serving.read_keys({"YOSORT_API_KEY": empty})


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    for name in ("starlette", "uvicorn", "prometheus_client"):
        code = (
            f"import sys; sys.modules[{name!r}] = None\n"
            "from yosort.cli import main; sys.exit(main(['serve', '--port', '0']))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert re.fullmatch(
            r"yosort: error: yosort serve needs \w+: pip install '\.\[serve\]' .*\n", done.stderr
        )


def test_what_else_cannot_be_imported_is_no_matter_of_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "yosort.serve.app", None)
    with pytest.raises(ModuleNotFoundError, match=r"yosort\.serve\.app"):
        main(["serve", "--port", "0"])


def test_names_that_clients_may_write() -> None:
    given = ["--served-model-name", "one", "two words", "--served-model-name", "three"]
    found = build_parser().parse_args(["serve", *given])
    assert found.served_model_name == ["one", "two words", "three"]


def test_nothing_of_it_is_imported_but_by_its_command(tmp_path: Path) -> None:
    code = (
        "import sys, yosort, yosort.cli; yosort.pipeline; yosort.cli.build_parser()\n"
        "found = {'starlette', 'uvicorn', 'prometheus_client', 'asyncio'} & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000", "--model", "/no/such"], "--port: wanted 0 to 65535, got 70000"),
        (["--port", "65536", "--model", "/no/such"], "--port: wanted 0 to 65535, got 65536"),
        (["--port", "-1", "--model", "/no/such"], "--port: wanted 0 to 65535, got -1"),
        (["--max-batch-tokens", "0"], "--max-batch-tokens: wanted an integer of at least 1, got 0"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid, port 8080: "),
        (["--port", "0", "--model", "a", "b"], "--model: wanted one, got b and a"),
        (["--port", "0", "--model", "/no/such"], "/no/such"),
        (["--port", "0", "--task", "text-classification"], "wanted one for text-classification"),
        (["--port", "0", "--allow-random-head"], "--allow-random-head: wanted with --task"),
        (["--port", "0", "--dtype", "int3"], "--dtype: wanted"),
    ],
)
def test_errors(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    pytest.importorskip("prometheus_client")
    error = said(capsys, *arguments)
    assert error.startswith("yosort: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_port_that_somebody_has(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    pytest.importorskip("prometheus_client")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = said(capsys, "--port", str(port))
    assert f"cannot listen on 127.0.0.1, port {port}: " in error
    assert "in use" in error.lower()


@pytest.mark.parametrize(
    ("host", "keys", "where", "reachable"),
    [
        ("127.0.0.1", None, "127.0.0.1:80", False),
        ("::1", None, "[::1]:80", False),
        ("0.0.0.0", None, "0.0.0.0:80", True),
        ("::", None, "[::]:80", True),
        ("fe80::1%eth0", None, "[fe80::1%eth0]:80", True),
        ("0.0.0.0", "one", "0.0.0.0:80", False),
    ],
)
def test_it_says_where_it_listens_and_who_may_ask(
    host: str, keys: str | None, where: str, reachable: bool,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    class Socket:
        def getsockname(self) -> tuple[str | int, ...]:
            return (host, 80, 0, 0)[: 4 if ":" in host else 2]

    class Server:
        def __init__(self, app: object, service: object, started: Callable[[], None]) -> None:
            self.started = started

        def run(self, sockets: list[Socket]) -> None:
            self.started()

    # In place of what the extra is needed for.
    for name, parts in {
        "app": {"build": lambda service, keys: None},
        "server": {"Server": Server, "bind": lambda host, port: nullcontext(Socket())},
        "service": {"Service": lambda *_, **__: None},
    }.items():
        monkeypatch.setitem(sys.modules, f"yosort.serve.{name}", SimpleNamespace(**parts))
    monkeypatch.delenv("YOSORT_API_KEY", raising=False)
    if keys:
        monkeypatch.setenv("YOSORT_API_KEY", keys)
    assert main(["serve", "--device", "cpu", "--host", host, "--port", "80"]) == 0
    first, *others = capsys.readouterr().err.splitlines()
    assert first == f"yosort: serving bundled (fill-mask, feature-extraction) on http://{where}"
    note = f"yosort: whoever reaches {where} may ask; YOSORT_API_KEY in the environment sets a key"
    assert others == [note] * reachable


def test_a_model_has_its_own_tasks_and_its_encoder_s(tmp_path: Path) -> None:
    folder = make(tmp_path / "labels", "YosoForSequenceClassification")
    found = serving._load(arguments(str(folder)))
    assert list(found) == ["text-classification", "feature-extraction"]
    one, other = (pipeline.model for pipeline in found.values())
    assert one._encoder is other._encoder
    assert serving._name(str(folder)) == "labels"
    assert serving._name("org/model") == "org/model"
    assert list(serving._load(arguments(None))) == ["fill-mask", "feature-extraction"]
    assert serving._name(None) == "bundled"
    chosen = arguments(None, "--task", "ner", "--allow-random-head")
    assert list(serving._load(chosen)) == ["token-classification", "feature-extraction"]


def arguments(model: str | None, *more: str) -> object:
    found = build_parser().parse_args(["serve", "--device", "cpu", *more])
    found.model = model
    return found


def test_the_bounds_of_a_service_that_says_nothing() -> None:
    """As docs/serving.md has them."""
    assert asdict(Limits()) == {
        "max_batch_tokens": 16_384,
        "max_wait_ms": 2,
        "max_concurrent_requests": 512,
        "max_waiting_tokens": 1_048_576,
        "max_client_batch_size": 2_048,
        "payload_limit": 2_000_000,
        "answer_limit": 64_000_000,
        "body_timeout": 30,
        "shutdown_timeout": 30,
    }
