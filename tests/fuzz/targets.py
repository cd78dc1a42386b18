"""What is fuzzed: for each file of a model folder, small whole examples, and how it is read.

A target takes bytes in the place of one file, the others being whole, and reads the folder as a
user's program would. Whatever the bytes are, it may return or raise a YosortError: anything else
is a finding.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "checkpoint"))

from checkpoint_builders import CONFIG, by_authors, weights, write_torch  # noqa: E402

import yosort  # noqa: E402
from yosort.checkpoint import read_state, to_canonical, write_state  # noqa: E402
from yosort.checkpoint.unpickle import loads  # noqa: E402
from yosort.conversion import convert  # noqa: E402
from yosort.tokenizer import Tokenizer  # noqa: E402

GOLDEN = TESTS / "checkpoint" / "golden"


@dataclass(frozen=True)
class Target:
    """One file of a folder under attack.

    Attributes:
        file: the name under which the fuzzed bytes are written.
        read: reads the folder.
        seeds: whole examples of the file.
    """

    file: str
    read: Callable[[Path], None]
    seeds: list[bytes]

    def __call__(self, folder: Path, data: bytes) -> bool:
        """Read the bytes; whether they were accepted."""
        (folder / self.file).write_bytes(data)
        with contextlib.suppress(yosort.YosortError):
            self.read(folder)
            return True
        return False


def make_targets(folder: Path) -> dict[str, Target]:
    """Return the targets, and fill `folder` with a whole model that they share."""
    logging.getLogger("yosort").setLevel(logging.ERROR)  # a line an input would fill the disk
    _fill(folder)
    config = (folder / "config.json").read_bytes()
    tensors = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.arange(3)}
    shards = [_index(folder, "a"), _index(folder, "b")]
    with tempfile.TemporaryDirectory() as scratch:
        made = [
            write_torch(Path(scratch, "x.bin"), tensors, wrap).read_bytes()
            for wrap in (None, "state_dict")
        ]
        write_state(scratch, {**tensors, "h": np.arange(4, dtype="f2")})
        whole = Path(scratch, "model.safetensors").read_bytes()
    golden = [path.read_bytes() for path in sorted(GOLDEN.glob("*.bin"))]
    return {
        "pickle": Target("data.pkl", _read_pickle, [_pickle_of(data) for data in made + golden]),
        "torch": Target("fuzzed.bin", lambda f: _read_weights(f / "fuzzed.bin"), made + golden),
        "safetensors": Target(
            "fuzzed.safetensors", lambda f: _read_weights(f / "fuzzed.safetensors"), [whole]
        ),
        "index": Target("sharded/model.safetensors.index.json", _read_shards, shards),
        "config": Target("config.json", _read_model, [config, _authors_config()]),
        "int8": Target("int8/yosort-int8.safetensors", _read_integers, _integers(folder)),
        "convert": Target("given.json", _convert, [config, _authors_config()]),
        "tokenizer": Target(
            "tokenizer/tokenizer.json",
            lambda f: _read_tokenizer(f / "tokenizer"),
            [(folder / "tokenizer.json").read_bytes(), *_other_tokenizers()],
        ),
        "roles": Target(
            "tokenizer_config.json", _read_tokenizer, [(folder / "roles.json").read_bytes()]
        ),
        "vocab": Target(
            "bpe/vocab.json",
            lambda f: _read_tokenizer(f / "bpe"),
            [(folder / "bpe" / "vocab.json").read_bytes()],
        ),
        "merges": Target(
            "bpe2/merges.txt",
            lambda f: _read_tokenizer(f / "bpe2"),
            [(folder / "bpe2" / "merges.txt").read_bytes()],
        ),
    }


def _fill(folder: Path) -> None:
    arrays = {name: array * np.float32(0.1) for name, array in weights().items()}
    write_state(folder, arrays)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    theirs = by_authors(arrays, "transformer_{}")
    (folder / "authors").mkdir()
    write_torch(folder / "authors" / "pytorch_model.bin", theirs, "model_state_dict")
    (folder / "sharded").mkdir()
    for name in ("bpe", "bpe2"):
        (folder / name).mkdir()
        backend = _small_bpe()
        backend.model.save(str(folder / name))
    _small_bpe().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer").mkdir()
    roles = {"mask_token": "<mask>", "pad_token": {"content": "<pad>"}, "add_prefix_space": True}
    (folder / "roles.json").write_text(json.dumps(roles))
    shutil.copy(folder / "roles.json", folder / "tokenizer" / "tokenizer_config.json")


def _integers(folder: Path) -> list[bytes]:
    """Write the model as int8; return the file, and whole files that are wrong in one weight.

    To damage one weight's type or size, mutations would have to move the data of all that follow.
    """
    convert(folder, folder / "int8", dtype="int8")
    state = read_state(folder / "int8")
    name = "yoso.encoder.layer.1.output.dense.weight"
    values, scales = state[name], state[name + "_scale"]
    wrong: list[dict[str, np.ndarray]] = [
        {name: values[:, :4]},
        {name: values.astype("f4")},
        {name: np.full_like(values, -128)},
        {name: values.reshape(-1)},
        {name + "_scale": scales[:4]},
        {name + "_scale": scales[:, None]},
        {name + "_scale": scales.astype("f2")},
        {name + "_scale": np.full_like(scales, 1e38)},
        {name + "_scale": np.full_like(scales, np.nan)},
        {name + "_scale_scale": scales},
        {name.replace("weight", "bias"): np.ones(len(values), "i1")},
    ]
    made = []
    with tempfile.TemporaryDirectory() as scratch:
        for changes in [{}, *wrong]:
            write_state(scratch, {**dict(state), **changes})
            made.append(Path(scratch, "yosort-int8.safetensors").read_bytes())
        write_state(scratch, {k: v for k, v in state.items() if k != name + "_scale"})
        made.append(Path(scratch, "yosort-int8.safetensors").read_bytes())
    return made


def _small_bpe() -> tokenizers.Tokenizer:
    from tokenizers import decoders, models, pre_tokenizers, processors

    vocab = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "b", "\u0120", "ab", "\u0120a", "c"]
    backend = tokenizers.Tokenizer(
        models.BPE({t: i for i, t in enumerate(vocab)}, [("a", "b"), ("\u0120", "a")])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    backend.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return backend


def _other_tokenizers() -> list[bytes]:
    """Other kinds that tokenizer.json may hold."""
    from tokenizers import models, normalizers, pre_tokenizers, processors

    words = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[MASK]": 3, "a": 4, "##b": 5}
    piece = tokenizers.Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    piece.normalizer = normalizers.BertNormalizer()
    piece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    piece.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    piece.enable_truncation(5)
    piece.enable_padding(length=7)
    unigram = tokenizers.Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0, False))
    unigram.normalizer = normalizers.NFKC()
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    return [backend.to_str().encode() for backend in (piece, unigram)]


def _index(folder: Path, tag: str) -> bytes:
    """Write two shards, and return the index that lists them."""
    names = ["yoso.x", "yoso.y"]
    for i, name in enumerate(names):
        write_state(folder / "sharded", {name: np.arange(4, dtype="f4")})
        source = folder / "sharded" / "model.safetensors"
        source.rename(folder / "sharded" / f"{tag}{i}.safetensors")
    placed = {name: f"{tag}{i}.safetensors" for i, name in enumerate(names)}
    return json.dumps({"metadata": {"total_size": 32}, "weight_map": placed}).encode()


def _authors_config() -> bytes:
    """Return the authors' JSON for the same sizes."""
    model = {
        "attn_type": "yoso-v1", "vocab_size": 11, "num_sen_type": 2, "max_seq_len": 6, "dim": 8,
        "embedding_dim": 8, "hidden_dim": 12, "num_layers": 2, "num_head": 2, "head_dim": 4,
        "conv_window": 3, "use_fast_hash": True, "hash_code_len": 4, "num_hash": 5,
    }  # fmt: skip
    return json.dumps({"model": model}).encode()


def _pickle_of(data: bytes) -> bytes:
    import io
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            return archive.read(name)
    except zipfile.BadZipFile:  # torch's old layout
        return data


def _read_pickle(folder: Path) -> None:
    loads((folder / "data.pkl").read_bytes())


def _read_weights(path: Path) -> None:
    state = read_state(path)
    for name in state:
        # Every element is read: one that lies outside the file would be a crash.
        state[name].tobytes()
    with contextlib.suppress(yosort.YosortError):  # whole files may hold what is no weight
        to_canonical(state)


def _read_shards(folder: Path) -> None:
    _read_weights(folder / "sharded")


def _read_model(folder: Path) -> None:
    model = yosort.load(folder, device="cpu", num_threads=1)
    model([[0, 5, 2]])


def _read_integers(folder: Path) -> None:
    for dtype in ("int8", "float32"):
        # A warning of numpy's would be a value that no check has seen.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = yosort.load(folder / "int8", device="cpu", dtype=dtype, num_threads=1)
            model([[0, 5, 2]])


def _convert(folder: Path) -> None:
    out = folder / "converted"
    convert(folder / "authors", out, config=folder / "given.json", overwrite=True)


def _read_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(folder)
    for role in ("mask_token", "pad_token"):
        with contextlib.suppress(yosort.YosortError):
            tokenizer.id_of(role)
    tokenizer.token_id("a")
