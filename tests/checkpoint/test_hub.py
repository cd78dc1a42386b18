"""Hub ids against a server on this machine that plays the hub; local folders without it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import pytest

import yosort
from yosort.checkpoint import hub, resolve
from yosort.cli.inspecting import collect
from yosort.conversion import convert
from yosort.errors import CheckpointError, ConfigError, YosortError

needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed"
)

LISTS = importlib.util.find_spec("huggingface_hub") is not None and hasattr(
    importlib.import_module("huggingface_hub.errors"), "IncompleteSnapshotError"
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# Every content is another: the cache fetches equal files once.
COMMON = {"config.json": b"{}", "tokenizer.json": b"[]", "README.md": b"# model", "big.h5": b"no"}
TOKENIZERS = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "vocab.txt", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip
SENTENCES = (
    "modules.json", "1_Pooling/config.json", "sentence_bert_config.json",
    "config_sentence_transformers.json",
)  # fmt: skip
REPOSITORIES = {
    "owner/safe": {**COMMON, "model.safetensors": b"weights", "pytorch_model.bin": b"old"},
    "owner/sharded": {
        **COMMON,
        "model.safetensors.index.json": b"index",
        "model-00001-of-00002.safetensors": b"1",
        "model-00002-of-00002.safetensors": b"2",
        "pytorch_model.bin": b"old",
    },
    "owner/torch": {**COMMON, "pytorch_model.bin": b"weights"},
    # Every file that a tokenizer may consist of, by name: nothing else says that one is. And
    # sentence-transformers', but for a layer that is not computed here.
    "owner/words": {
        "config.json": b"{}",
        "model.safetensors": b"weights",
        **{name: name.encode() for name in (*TOKENIZERS, *SENTENCES)},
        "2_Dense/model.safetensors": b"dense",
    },
    # More than a model needs, all of it within the names that are fetched.
    "owner/rich": {
        **COMMON,
        "tokenizer_config.json": b"{  }",
        "vocab.json": b"{ }",
        "merges.txt": b"#",
        "model.safetensors": b"weights",
        "model.fp16.safetensors": b"half",
    },
}


class Hub(BaseHTTPRequestHandler):
    """The routes that huggingface_hub asks for a snapshot; anything else is 404."""

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        server: Any = self.server
        server.log.append((self.command, self.path, self.headers.get("Authorization")))
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if api else parts[:2])
        files = REPOSITORIES.get(name)
        if name == "owner/private" and self.headers.get("Authorization") == "Bearer secret":
            files = REPOSITORIES["owner/safe"]
        if name == "owner/gated":
            self._send(403, b"{}", body, {"X-Error-Code": "GatedRepo"})
            return
        if files is None:
            self._send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})
            return
        revision = parts[5] if api and len(parts) > 5 else (parts[3] if not api else "main")
        if revision not in ("main", "v1", COMMIT):
            self._send(404, b"{}", body, {"X-Error-Code": "RevisionNotFound"})
        elif api and parts[4:5] in ([], ["revision"]):
            siblings = [{"rfilename": file} for file in files]
            info = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": []}
            info |= {
                "private": False,
                "gated": False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
            }
            self._send(200, json.dumps(info).encode(), body)
        elif api and parts[4] == "tree":
            tree = [
                {"type": "file", "path": file, "size": len(data), "oid": _etag(data)}
                for file, data in files.items()
            ]
            self._send(200, json.dumps(tree).encode(), body)
        elif not api and parts[2] == "resolve" and "/".join(parts[4:]) in files:
            data = files["/".join(parts[4:])]
            headers = {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": COMMIT}
            self._send(200, data, body, headers)
        else:
            self._send(404, b"{}", body, {"X-Error-Code": "EntryNotFound"})

    def _send(
        self, status: int, data: bytes, body: bool, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextlib.contextmanager
def serve() -> Iterator[tuple[str, list[tuple[str, str, str | None]]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    log: list[tuple[str, str, str | None]] = []
    server.log = log  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", log
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# huggingface_hub reads its environment when it is imported, so each case has its own process: the
# fork of one that has imported all the rest. Where nothing forks, each is a new interpreter.
SCRIPT = """
import json, os, signal, sys, warnings
warnings.simplefilter("ignore")
import huggingface_hub
from huggingface_hub import snapshot_download, try_to_load_from_cache
from yosort.checkpoint import resolve
from yosort.errors import CheckpointError
for name in [name for name in sys.modules if name.split(".")[0] == "huggingface_hub"]:
    del sys.modules[name]
for line in sys.stdin:
    if hasattr(os, "fork"):
        child = os.fork()
        if child:
            if os.waitpid(child, 0)[1]:
                break
            continue
        signal.alarm(120)
    environment, source, options = json.loads(line)
    os.environ.clear()
    os.environ.update(environment)
    try:
        folder = resolve(source, **options)
        found = [p for p in folder.rglob("*") if not p.is_dir()]
        files = sorted(p.relative_to(folder).as_posix() for p in found)
        result = {"folder": str(folder), "files": files}
    except CheckpointError as error:
        result = {"error": str(error)}
    print(json.dumps(result), flush=True)
    break
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start the process that forks, again where it has ended."""
    started: list[subprocess.Popen[str]] = []

    def running() -> subprocess.Popen[str]:
        if not started or started[-1].poll() is not None:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            command = [sys.executable, "-c", SCRIPT]
            started.append(subprocess.Popen(command, env=environment, text=True, **pipes))
        return started[-1]

    yield running
    for process in started:
        process.communicate()


class Run(Protocol):
    def __call__(
        self,
        source: str,
        home: Path,
        endpoint: str,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> dict[str, Any]: ...


@pytest.fixture
def run(server: Callable[[], subprocess.Popen[str]]) -> Run:
    """Resolve in a process of its own, and return the folder and its files, or the error."""

    def run(
        source: str,
        home: Path,
        endpoint: str,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        clean |= {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            **(environment or {}),
        }
        process = server()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([clean, source, options]) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, "the process died; see its stderr above"
        result: dict[str, Any] = json.loads(line)
        assert "\n" not in result.get("error", "")
        return result

    return run


WANTED = {
    "owner/safe": ["config.json", "model.safetensors", "tokenizer.json"],
    "owner/sharded": [
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
    ],
    "owner/torch": ["config.json", "pytorch_model.bin", "tokenizer.json"],
    "owner/words": sorted(["config.json", "model.safetensors", *TOKENIZERS, *SENTENCES]),
}


@needs_hub
@pytest.mark.parametrize("name", WANTED)
def test_fetches_what_is_needed_and_keeps_it(run: Run, tmp_path: Path, name: str) -> None:
    with serve() as (endpoint, log):
        result = run(name, tmp_path, endpoint)
        assert result.get("files") == WANTED[name], result
        assert Path(result["folder"]).is_relative_to(tmp_path)
        fetched = {path for method, path, _ in log if method == "GET" and "/resolve/" in path}
        assert len(fetched) == len(WANTED[name])
        asked = len(log)
        for options, environment in (
            ({"local_files_only": True}, {}),
            ({}, {"HF_HUB_OFFLINE": "1"}),
        ):
            assert run(name, tmp_path, endpoint, environment, **options) == result
        assert len(log) == asked
    assert run(name, tmp_path, endpoint) == result, "the cache serves when the hub is away"


@needs_hub
def test_revision_cache_dir_and_token(run: Run, tmp_path: Path) -> None:
    with serve() as (endpoint, log):
        cache = tmp_path / "cache"
        result = run("owner/safe", tmp_path, endpoint, revision="v1", cache_dir=str(cache))
        assert Path(result["folder"]).is_relative_to(cache)
        assert any("/v1" in path for _, path, _ in log)
        assert "error" in run("owner/private", tmp_path, endpoint)
        for environment, options in (({}, {"token": "secret"}), ({"HF_TOKEN": "secret"}, {})):
            result = run("owner/private", tmp_path, endpoint, environment, **options)
            assert "model.safetensors" in result["files"]


@needs_hub
def test_what_goes_wrong_is_named(run: Run, tmp_path: Path) -> None:
    with serve() as (endpoint, _):
        error = run("owner/none", tmp_path, endpoint)["error"]
        assert error.startswith("owner/none: cannot be fetched from the hub: ")
        assert "no such repository" in error
        assert "nor is there a folder of this name" in error
        error = run("owner/gated", tmp_path, endpoint)["error"]
        assert "access to it must be granted on the hub, and a token given (HF_TOKEN)" in error
        error = run("owner/safe", tmp_path, endpoint, revision="v9")["error"]
        assert "at revision 'v9'" in error
        assert "no such revision" in error
        error = run("owner/torch", tmp_path, endpoint, local_files_only=True)["error"]
        assert "not in the local cache" in error
        assert "local_files_only is set" in error
        error = run("owner/torch", tmp_path, endpoint, {"HF_HUB_OFFLINE": "1"})["error"]
        assert "not in the local cache" in error
        assert "HF_HUB_OFFLINE" in error
    assert "cannot be reached" in run("owner/torch", tmp_path, endpoint)["error"]


@needs_hub
def test_a_cache_with_all_that_is_needed_serves(run: Run, tmp_path: Path) -> None:
    with serve() as (endpoint, _):
        folder = Path(run("owner/rich", tmp_path, endpoint)["folder"])
        for name in ("vocab.json", "merges.txt", "model.fp16.safetensors"):
            (folder / name).unlink()
        files = [*WANTED["owner/safe"], "tokenizer_config.json"]
        wanted = {"files": files, "folder": str(folder)}
        assert run("owner/rich", tmp_path, endpoint, local_files_only=True) == wanted
        assert run("owner/rich", tmp_path, endpoint, {"HF_HUB_OFFLINE": "1"}) == wanted
    assert run("owner/rich", tmp_path, endpoint) == wanted, "the hub is away"
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).unlink()
        error = run("owner/rich", tmp_path, endpoint, local_files_only=True).get("error", "")
        # Before huggingface_hub 1.22 it gives what it has, and the readers name what is missing.
        assert name in error or not LISTS
    assert run("owner/rich", tmp_path, endpoint, local_files_only=True, weights=False)


@needs_hub
def test_a_cache_without_a_shard_says_which(run: Run, tmp_path: Path) -> None:
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    with serve() as (endpoint, _):
        folder = Path(run("owner/sharded", tmp_path, endpoint)["folder"])
        index = folder / "model.safetensors.index.json"
        index.unlink()
        index.write_text(json.dumps({"weight_map": shards}))
        (folder / shards["b"]).unlink()
        error = run("owner/sharded", tmp_path, endpoint, local_files_only=True).get("error", "")
    assert ("the local cache lacks " in error and shards["b"] in error) or not LISTS


@needs_hub
@pytest.mark.parametrize("told", [True, False], ids=["since 1.23", "in 1.22"])
def test_an_incomplete_snapshot_is_where_the_error_says_or_the_cache_has_it(
    told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    class IncompleteSnapshotError(Exception):
        snapshot_path = str(tmp_path / "there") if told else None

    def download(*_: Any, **__: Any) -> str:
        raise IncompleteSnapshotError("a file is missing")

    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "model.safetensors").touch()
    found = None if told else str(tmp_path / "there" / "config.json")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: found)
    monkeypatch.setattr(hub, "_missing", lambda *_: [])
    assert resolve("owner/name") == tmp_path / "there"
    monkeypatch.setattr(hub, "_missing", lambda *_: ["a.json", "b.json"])
    with pytest.raises(CheckpointError, match=r"owner/name: the local cache lacks a.json, b.json "):
        resolve("owner/name")
    IncompleteSnapshotError.snapshot_path = found = None
    with pytest.raises(CheckpointError, match="cannot be fetched from the hub: Incomplete"):
        resolve("owner/name")


@needs_hub
def test_config_and_tokenizer_without_weights(run: Run, tmp_path: Path) -> None:
    with serve() as (endpoint, _):
        result = run("owner/torch", tmp_path, endpoint, weights=False)
        assert result["files"] == ["config.json", "tokenizer.json"]
        assert (
            run("owner/torch", tmp_path, endpoint, weights=False, local_files_only=True) == result
        )
        assert "pytorch_model.bin" in run("owner/torch", tmp_path, endpoint)["files"]


@needs_hub
def test_options_reach_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    seen: list[dict[str, Any]] = []

    def download(name: str, *, allow_patterns: list[str], **options: Any) -> str:
        seen.append({"name": name, **options})
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    options = {"revision": "v1", "local_files_only": True, "cache_dir": tmp_path, "token": "t"}
    for call in (resolve, yosort.load, yosort.YosoModel.from_pretrained, collect):
        seen.clear()
        with contextlib.suppress(ConfigError):  # an empty folder has no config
            call("owner/name", **options)  # type: ignore[operator]
        assert seen
        assert all(entry == {"name": "owner/name", **options} for entry in seen)
    seen.clear()
    with contextlib.suppress(YosortError):
        yosort.pipeline("fill-mask", tokenizer="owner/name", **options)
    assert seen
    assert all(entry == {"name": "owner/name", **options} for entry in seen)
    seen.clear()
    with contextlib.suppress(YosortError):
        convert("owner/name", tmp_path / "out", **options)  # type: ignore[arg-type]
    assert all(entry == {"name": "owner/name", **options} for entry in seen)
    assert seen
