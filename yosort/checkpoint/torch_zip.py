"""pytorch_model.bin without torch: the zip layout that `torch.save` writes since torch 1.6.

An archive `NAME/` holds `data.pkl` (the object, with references to storages), `byteorder` since
torch 2.1, and one entry `data/KEY` a storage. torch stores entries uncompressed and aligned to 64
bytes, so tensors are views of the mapped file. CRCs are not verified, as torch does not either.
"""

from __future__ import annotations

import math
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.checkpoint.stored import BITS, State, Tensor
from yosort.checkpoint.unpickle import MAX_PICKLE_BYTES, Storage, StridedTensor, loads
from yosort.errors import CheckpointError, quote
from yosort.files import map_file

# Where a training checkpoint keeps its weights: the authors' name first.
STATE_KEYS = ("model_state_dict", "state_dict")

_RESAVE = (
    "torch.save(torch.load(path, map_location='cpu', weights_only=True), new_path) in torch 1.6 or "
    "later writes it in the zip layout"
)


def read_torch_zip(path: Path) -> State:
    """Read the weights of a file that `torch.save` wrote.

    Accepted is a dict of tensors, or a dict with one under `model_state_dict` or `state_dict`.

    Raises:
        CheckpointError: the file is damaged, in torch's old layout, holds no such dict, or its
            pickle asks for anything that weights do not need.
    """
    archive = _Archive(path)
    if (
        archive.has("byteorder")
        and (order := archive.bytes("byteorder").tobytes()[:16]) != b"little"
    ):
        raise CheckpointError.wanted(path, "little-endian data", got=f"byteorder {order!r}")
    pickle = archive.bytes("data.pkl")
    if pickle.size > MAX_PICKLE_BYTES:
        raise CheckpointError.wanted(
            f"{path}: data.pkl", f"at most {MAX_PICKLE_BYTES} bytes", got=pickle.size
        )
    try:
        content = loads(pickle.tobytes())
    except CheckpointError as error:
        raise CheckpointError(f"{path}: data.pkl: {error}") from None
    storages: dict[Storage, npt.NDArray[np.generic]] = {}
    tensors: dict[str, Tensor] = {}
    for name, value in _weights(path, content).items():
        what = f"{path}: {quote(name)}"
        if not isinstance(name, str) or not isinstance(value, StridedTensor):
            raise CheckpointError.wanted(what, "a tensor by its name", got=type(value).__name__)
        if value.storage not in storages:
            storages[value.storage] = archive.storage(value.storage)
        tensors[name] = Tensor(value.storage.dtype, _strided(what, storages[value.storage], value))
    return State(tensors)


def _weights(path: Path, content: Any) -> dict[Any, Any]:
    if not isinstance(content, dict):
        raise CheckpointError.wanted(path, "a dict of tensors", got=type(content).__name__)
    nested = (content.get(key) for key in STATE_KEYS)
    weights: dict[Any, Any] = next((it for it in nested if isinstance(it, dict)), content)
    if not any(isinstance(value, StridedTensor) for value in weights.values()):
        keys = ", ".join(quote(key) for key in list(weights)[:8]) or "nothing"
        raise CheckpointError(
            f"{path}: wanted a dict of tensors, or one under {' or '.join(STATE_KEYS)}; "
            f"got a dict of {keys}"
        )
    return weights


def _strided(
    what: str, storage: npt.NDArray[np.generic], tensor: StridedTensor
) -> npt.NDArray[np.generic]:
    """Return the view that a tensor is of its storage, once it is known to lie within it."""
    shape, strides = tensor.shape, tensor.strides
    numel = math.prod(shape)
    # A stride of zero lets one element stand for any number: no weight is stored so, and whoever
    # copies the tensor would allocate what the file never held.
    if numel > storage.size or math.prod(filter(None, shape)) > 1 << 48:
        raise CheckpointError(
            f"{what}: wanted at most the {storage.size} elements of its storage, "
            f"got the shape {quote(shape)}"
        )
    if numel == 0:
        return np.empty(shape, storage.dtype)
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(shape, strides, strict=True)
    )
    if last >= storage.size:
        raise CheckpointError.wanted(
            what, f"elements within the {storage.size} of its storage", got=f"one at {quote(last)}"
        )
    # Over one element a stride may be anything, beyond 64 bits of bytes too.
    steps = [
        stride * storage.itemsize if size > 1 else storage.itemsize
        for size, stride in zip(shape, strides, strict=True)
    ]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], shape, steps, writeable=False)


class _Archive:
    """The entries of a zip file, as views of the mapped file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = map_file(path)
        start = self.data[:4].tobytes()
        if self.data[8:9].tobytes() == b"{":
            raise CheckpointError(
                f"{path}: wanted a zip file as torch writes, got what looks like safetensors; "
                "name it model.safetensors"
            )
        if start != b"PK\x03\x04":
            raise CheckpointError(
                f"{path}: wanted a zip file as torch 1.6 and later write, got one that starts with "
                f"{start!r}; if torch before 1.6 wrote it, {_RESAVE}"
            )
        try:
            with zipfile.ZipFile(path) as file:
                entries = file.infolist()
        # zipfile raises nearly anything on damaged files, struct.error and IndexError included.
        except Exception as error:
            raise CheckpointError(f"{path}: the zip directory is damaged: {error}") from error
        self.entries = {entry.filename: entry for entry in entries}
        if len(self.entries) != len(entries):
            raise CheckpointError.wanted(path, "each zip entry once", got="one of them twice")
        self.prefix = next(
            (name[: -len("data.pkl")] for name in self.entries if _is_pickle(name)), None
        )
        if self.prefix is None:
            raise CheckpointError(
                f"{path}: wanted an entry NAME/data.pkl in the zip file, got "
                f"{', '.join(quote(name) for name in list(self.entries)[:8]) or 'no entries'}"
            )

    def has(self, name: str) -> bool:
        return f"{self.prefix}{name}" in self.entries

    def bytes(self, name: str) -> npt.NDArray[np.uint8]:
        """Return the content of an entry, uint8 [its size]."""
        what = f"{self.path}: entry {quote(name)}"
        entry = self.entries.get(f"{self.prefix}{name}")
        if entry is None:
            raise CheckpointError(f"{what}: wanted by the pickle, not in the zip file")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise CheckpointError.wanted(
                what, "it stored as torch does", got="it compressed or encrypted"
            )
        # The directory's length of the extra field is not that of the entry's own header.
        begin = entry.header_offset
        header = self.data[begin : begin + 30].tobytes() if begin >= 0 else b""
        if len(header) != 30 or not header.startswith(b"PK\x03\x04"):
            raise CheckpointError.wanted(what, f"a zip entry at byte {begin}", got="none")
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        start = begin + 30 + name_length + extra_length
        stop = start + entry.file_size
        if entry.compress_size != entry.file_size or stop > self.data.size:
            raise CheckpointError.wanted(
                what, f"{entry.file_size} bytes at {start}", got=f"a file of {self.data.size}"
            )
        return self.data[start:stop]

    def storage(self, storage: Storage) -> npt.NDArray[np.generic]:
        """Return a storage, [its numel]; unaligned if the archive says so."""
        content = self.bytes(f"data/{storage.key}")
        dtype = BITS[storage.dtype]
        if content.size != storage.numel * dtype.itemsize:
            raise CheckpointError(
                f"{self.path}: storage {quote(storage.key)}: wanted "
                f"{storage.numel * dtype.itemsize} bytes for {storage.numel} elements of "
                f"{storage.dtype}, got {content.size}"
            )
        return content.view(dtype)


def _is_pickle(name: str) -> bool:
    return name.endswith("/data.pkl") and name.count("/") == 1
