"""safetensors files: read through a memory map, written in one pass.

The format: 8 bytes of header length (little-endian), a JSON header `{name: {dtype, shape,
data_offsets}}` with an optional `__metadata__` of strings, then the tensors' bytes, which fill the
rest of the file without holes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize, safe_open

from yosort.checkpoint.stored import BITS, Array, State, Tensor
from yosort.errors import CheckpointError, quote
from yosort.files import is_mapped, map_file, parse_json
from yosort.replacing import replace_file

MAX_HEADER_BYTES = 100_000_000  # the limit of the format's reference implementation
MAX_DIMS = 32  # NumPy's limit before 2.0; weights have at most four
MAX_ELEMENTS = 1 << 48
_COPY_ELEMENTS = 1 << 22


def read_safetensors(path: Path) -> State:
    """Read a safetensors file: arrays are views of the mapped file.

    Raises:
        CheckpointError: the file is damaged, or holds a dtype that NumPy cannot take (float8 ...).
    """
    data = map_file(path)
    if data.size < 8:
        raise CheckpointError.wanted(path, "8 bytes of header length", got=f"{data.size} bytes")
    if data[:4].tobytes() == b"PK\x03\x04":
        raise CheckpointError(
            f"{path}: wanted safetensors, got a zip file; if torch.save wrote it, name it "
            "pytorch_model.bin, else unpack it"
        )
    (length,) = struct.unpack("<Q", data[:8].tobytes())
    if length > min(data.size - 8, MAX_HEADER_BYTES):
        raise CheckpointError(
            f"{path}: wanted a header within the {data.size} bytes of the file (and of at most "
            f"{MAX_HEADER_BYTES}), got a length of {length}; the file is truncated or no "
            "safetensors file"
        )
    raw = data[8 : 8 + length].tobytes()
    if not raw.startswith(b"{"):
        raise CheckpointError.wanted(path, "a header that starts with '{'", got=repr(raw[:8]))
    header = parse_json(raw, f"{path}: header")
    _check_metadata(path, header.pop("__metadata__", None))
    body = data[8 + length :]
    tensors: dict[str, Tensor] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        dtype, shape, start, stop = _parse_entry(f"{path}: {quote(name)}", entry, body.size)
        spans.append((start, stop, name))
        bits = body[start:stop].view(BITS[dtype]).reshape(shape)
        tensors[name] = Tensor(dtype, bits)
    _check_cover(path, spans, body.size)
    _check_by_reference(path, data)
    return State(tensors)


def write_safetensors(path: Path, tensors: Mapping[str, Array]) -> int:
    """Write a safetensors file with the metadata {"format": "pt"}, which transformers asks for.

    The old file is replaced in one step, after the new one has reached the disk. Tensors are
    written one after another: no second copy of them is made in memory.

    Args:
        path: the file.
        tensors: arrays by name, of any shape and strides; a `State` keeps BF16 as it is.

    Returns:
        The size of the tensors in bytes.

    Raises:
        CheckpointError: a dtype that this reader lacks, or the file cannot be written.
    """
    state = State.of(tensors)
    # Wide items first, so that each tensor is aligned to its item size; as safetensors itself does.
    names = sorted(state, key=lambda name: (-state.tensor(name).bits.itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in names:
        tensor = state.tensor(name)
        stop = offset + tensor.bits.nbytes
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, stop],
        }
        offset = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    try:
        with replace_file(path) as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for name in names:
                _write_bits(file, state.tensor(name))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error}") from error
    return offset


def _write_bits(file: BinaryIO, tensor: Tensor) -> None:
    bits = tensor.bits.reshape(-1) if tensor.bits.flags.c_contiguous else tensor.bits.ravel()
    for start in range(0, bits.size, _COPY_ELEMENTS):
        chunk = np.ascontiguousarray(bits[start : start + _COPY_ELEMENTS], BITS[tensor.dtype])
        file.write(chunk.view(np.uint8).data)


def _parse_entry(what: str, entry: object, size: int) -> tuple[str, tuple[int, ...], int, int]:
    """Check one tensor's header entry; `what` starts the messages, `size` is the body's."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        got = sorted(entry) if isinstance(entry, dict) else type(entry).__name__
        raise CheckpointError.wanted(what, "dtype, shape and data_offsets", got=quote(got))
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise CheckpointError.wanted(what, f"one of the dtypes {', '.join(BITS)}", got=quote(dtype))
    # The product without its zeros is what NumPy's own limit is about.
    if (
        not _is_sizes(shape)
        or len(shape) > MAX_DIMS
        or math.prod(filter(None, shape)) > MAX_ELEMENTS
    ):
        raise CheckpointError.wanted(
            what, f"a shape of at most {MAX_DIMS} sizes that a file can hold", got=quote(shape)
        )
    if not _is_sizes(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= size:
        raise CheckpointError.wanted(
            what,
            f"data_offsets within the {size} bytes of data",
            got=quote(offsets),
            hint="a file that was not copied to its end?",
        )
    wanted = math.prod(shape) * BITS[dtype].itemsize
    if offsets[1] - offsets[0] != wanted:
        raise CheckpointError(
            f"{what}: wanted {quote(wanted)} bytes for the shape {quote(shape)} in {dtype}, "
            f"got {offsets[1] - offsets[0]}"
        )
    return dtype, tuple(shape), offsets[0], offsets[1]


def _is_sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_metadata(path: Path, metadata: object) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"{path}: __metadata__: wanted an object of strings")


def _check_cover(path: Path, spans: list[tuple[int, int, str]], size: int) -> None:
    """Tensors must lie end to end: neither an overlap nor bytes that belong to none."""
    position = 0
    for start, stop, name in sorted(spans):
        if start != position:
            raise CheckpointError(
                f"{path}: {quote(name)}: wanted its data to start at {position}, where the tensor "
                f"before it ends, got {start}"
            )
        position = stop
    if position != size:
        raise CheckpointError.wanted(
            path, f"{position} bytes of data, as the header says", got=size
        )


def _check_by_reference(path: Path, data: npt.NDArray[np.uint8]) -> None:
    """Let the reference implementation read the header too: no file may mean two things."""
    try:
        if not is_mapped(data):  # the library's own reading of a file maps it, too
            deserialize(data.tobytes())  # type: ignore[no-untyped-call]
            return
        with safe_open(str(path), framework="numpy"):
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: refused by the safetensors library: {error}") from error
