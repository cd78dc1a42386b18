"""A pickle machine that can only build data: what `torch.save` writes for a dict of tensors.

Python's own unpickler is not used, not even a restricted one. It allocates what an opcode asks for
before it looks at the file (BINBYTES8, LONG_BINPUT), and its safety depends on every object that a
`find_class` returns. This one knows the opcodes of dicts, lists, tuples, strings, numbers and the
globals listed in `GLOBALS`; any other opcode or global is refused. Nothing is ever imported or
called but the functions below, every value is at most as large as its bytes in the file, and no
step recurses, so a pickle can do no more than describe tensors.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from yosort.errors import CheckpointError, quote

# A state dict of 200 tensors takes 50 kB, a training checkpoint three times that; but one byte of a
# pickle can make an object of 80 bytes.
MAX_PICKLE_BYTES = 2 << 20
MAX_DIMS = 32  # NumPy's limit before 2.0; weights have at most four


@dataclass(frozen=True, slots=True)
class StorageType:
    """A storage class of torch, as an inert marker of its dtype."""

    dtype: str


@dataclass(frozen=True, slots=True)
class Storage:
    """One storage of the archive: its dtype, its key there, its length in elements."""

    dtype: str
    key: str
    numel: int


@dataclass(frozen=True, slots=True)
class StridedTensor:
    """A tensor as the pickle describes it: not yet checked against its storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Function:
    """A global that a pickle may call, as a name and our own stand-in for it."""

    __slots__ = ("build", "name")

    def __init__(self, name: str, build: Callable[[tuple[Any, ...]], Any]) -> None:
        self.name = name
        self.build = build


def _ordered_dict(args: tuple[Any, ...]) -> dict[Any, Any]:
    if args:
        raise CheckpointError.wanted("OrderedDict", "no arguments", got=len(args))
    return {}


def _rebuild_tensor(args: tuple[Any, ...]) -> StridedTensor:
    # (storage, offset, size, stride, requires_grad, backward_hooks[, metadata])
    if len(args) not in (6, 7):
        raise CheckpointError.wanted("_rebuild_tensor_v2", "6 or 7 arguments", got=len(args))
    storage, offset, shape, strides = args[:4]
    if not isinstance(storage, Storage):
        raise CheckpointError.wanted("_rebuild_tensor_v2", "a storage", got=_kind(storage))
    if not (_is_size(offset) and _are_sizes(shape) and _are_sizes(strides)):
        raise CheckpointError(
            f"_rebuild_tensor_v2: wanted at most {MAX_DIMS} sizes that are non-negative integers"
        )
    if len(shape) != len(strides):
        raise CheckpointError.wanted(
            "_rebuild_tensor_v2", f"as many strides as sizes ({len(shape)})", got=len(strides)
        )
    # Metadata marks a tensor as the negative or conjugate of its storage.
    if len(args) == 7 and args[6]:
        raise CheckpointError.wanted("_rebuild_tensor_v2", "a tensor without metadata", got="some")
    return StridedTensor(storage, offset, shape, strides)


def _rebuild_parameter(args: tuple[Any, ...]) -> StridedTensor:
    # (data, requires_grad, backward_hooks)
    if len(args) != 3 or not isinstance(args[0], StridedTensor):
        raise CheckpointError("_rebuild_parameter: wanted a tensor and two more arguments")
    return args[0]


# The whole of what a pickle may name. Each is inert: a marker of a dtype, or a function above.
# _rebuild_parameter is what a dict of nn.Parameters is written with; it stands for its tensor.
GLOBALS: Mapping[str, StorageType | _Function] = {
    "collections.OrderedDict": _Function("OrderedDict", _ordered_dict),
    "torch._utils._rebuild_tensor_v2": _Function("_rebuild_tensor_v2", _rebuild_tensor),
    "torch._utils._rebuild_parameter": _Function("_rebuild_parameter", _rebuild_parameter),
    "torch.FloatStorage": StorageType("F32"),
    "torch.LongStorage": StorageType("I64"),
    "torch.HalfStorage": StorageType("F16"),
    "torch.BFloat16Storage": StorageType("BF16"),
    "torch.DoubleStorage": StorageType("F64"),
    "torch.IntStorage": StorageType("I32"),
    "torch.ShortStorage": StorageType("I16"),
    "torch.CharStorage": StorageType("I8"),
    "torch.ByteStorage": StorageType("U8"),
    "torch.BoolStorage": StorageType("BOOL"),
}


class _Mark:
    """The opcode MARK's place on the stack."""


_MARK = _Mark()


def loads(data: bytes) -> Any:
    """Run a pickle of tensors.

    Args:
        data: the pickle, of protocol 2 to 5.

    Returns:
        Data of dict, list, tuple, str, int, float, bool, None, `StorageType`, `Storage` and
        `StridedTensor`. It may contain itself, and one object may stand in many places.

    Raises:
        CheckpointError: the pickle is damaged, over 2 MB, or asks for anything else.
    """
    if len(data) > MAX_PICKLE_BYTES:
        raise CheckpointError(
            f"wanted a pickle of at most {MAX_PICKLE_BYTES} bytes, got {len(data)}"
        )
    return _Machine(data).run()


class _Machine:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        if self.data[:1] != b"\x80":
            raise CheckpointError("wanted a pickle of protocol 2 or later")
        while True:
            at = self.position
            opcode = self.take(1)[0]
            if opcode == 0x2E:  # STOP
                if len(self.stack) != 1:
                    raise CheckpointError(
                        f"wanted one value at the end of the pickle, got {len(self.stack)}"
                    )
                return self.pop()
            action = _ACTIONS.get(opcode)
            if action is None:
                raise CheckpointError(
                    f"opcode 0x{opcode:02x} at byte {at} of the pickle is none that a dict of "
                    "tensors needs"
                )
            action(self)

    def take(self, count: int) -> bytes:
        chunk = self.data[self.position : self.position + count]
        if len(chunk) != count:
            raise CheckpointError("the pickle ends in the middle of a value")
        self.position += count
        return chunk

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise CheckpointError("the pickle ends in the middle of a name")
        text = _decode(self.take(end - self.position))
        self.position += 1
        return text

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise CheckpointError("the pickle takes a value from an empty stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise CheckpointError("the pickle closes a group that it did not open")

    def peek(self, kind: type, name: str) -> Any:
        top = self.stack[-1] if self.stack else _MARK
        if not isinstance(top, kind):
            raise CheckpointError.wanted(name, f"a {kind.__name__}", got=_kind(top))
        return top

    def frame(self) -> None:
        length = self.number("<Q")
        if length > len(self.data) - self.position:
            raise CheckpointError(f"the pickle ends inside a frame of {length} bytes")

    def protocol(self) -> None:
        version = self.take(1)[0]
        if not 2 <= version <= 5:
            raise CheckpointError(f"wanted a pickle of protocol 2 to 5, got {version}")

    def text(self, layout: str) -> None:
        self.push(_decode(self.take(self.number(layout))))

    def long1(self) -> None:
        size = self.take(1)[0]
        if size > 8:
            raise CheckpointError(f"wanted integers of at most 64 bits, got {8 * size}")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def tuple_of(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def remember(self, index: int) -> None:
        if not self.stack or self.stack[-1] is _MARK:
            raise CheckpointError("the pickle names a value from an empty stack")
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise CheckpointError(f"the pickle asks for value {index}, which it did not name")
        self.push(self.memo[index])

    def append(self, values: list[Any]) -> None:
        self.peek(list, "APPEND").extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.peek(dict, "SETITEMS")
        if len(values) % 2:
            raise CheckpointError.wanted("SETITEMS", "pairs", got="a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Hashing a tuple of shared tuples can take exponential time, so scalars only.
            if type(key) not in (str, int, bool, type(None)):
                raise CheckpointError(f"wanted dict keys that are scalars, got {_kind(key)}")
            target[key] = value

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def named(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise CheckpointError("STACK_GLOBAL: wanted two names")
        # A dotted name would reach into another object: "a.b" + "c" is not "a" + "b.c".
        found = None if "." in name else GLOBALS.get(f"{module}.{name}")
        if found is None:
            raise CheckpointError(
                f"refused: its pickle names {quote(f'{module}.{name}')}, which is not among what "
                "weights need; it was not imported or run. If you trust the file, save only the "
                "weights from torch: torch.save(model.state_dict(), path)"
            )
        self.push(found)

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        self.named(module, name)

    def reduce(self) -> None:
        args, function = self.pop(), self.pop()
        if not isinstance(function, _Function) or not isinstance(args, tuple):
            raise CheckpointError.wanted("REDUCE", "a function and a tuple", got=_kind(function))
        self.push(function.build(args))

    def build(self) -> None:
        # torch sets `_metadata` on the OrderedDict of a state dict; nothing here needs attributes.
        self.pop()
        self.peek(dict, "BUILD")

    def persistent(self) -> None:
        # ("storage", class, key, location, numel)
        value = self.pop()
        if (
            not isinstance(value, tuple)
            or len(value) != 5
            or value[0] != "storage"
            or not isinstance(value[1], StorageType)
            or not isinstance(value[2], str)
            or not _is_size(value[4])
        ):
            raise CheckpointError(f"wanted a reference to a storage, got {_kind(value)}")
        self.push(Storage(value[1].dtype, value[2], value[4]))


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise CheckpointError(f"wanted text in UTF-8, got {data[:20]!r}") from None


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _are_sizes(value: object) -> bool:
    # The length is checked first: one long tuple can be named in a million calls.
    return isinstance(value, tuple) and len(value) <= MAX_DIMS and all(map(_is_size, value))


def _kind(value: object) -> str:
    """Name a value's type; the value itself may be endless to print."""
    if isinstance(value, _Function):
        return value.name
    return "nothing" if value is _MARK else type(value).__name__


_ACTIONS: Mapping[int, Callable[[_Machine], None]] = {
    0x80: _Machine.protocol,
    0x95: _Machine.frame,
    ord("("): lambda m: m.push(_MARK),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("J"): lambda m: m.push(m.number("<i")),
    0x8A: _Machine.long1,
    ord("G"): lambda m: m.push(m.number(">d")),
    0x8C: lambda m: m.text("<B"),
    ord("X"): lambda m: m.text("<I"),
    0x8D: lambda m: m.text("<Q"),
    ord("}"): lambda m: m.push({}),
    ord("]"): lambda m: m.push([]),
    ord(")"): lambda m: m.push(()),
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    ord("t"): lambda m: m.push(tuple(m.pop_to_mark())),
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.pop_to_mark()),
    ord("s"): _Machine.set_item,
    ord("u"): lambda m: m.set_items(m.pop_to_mark()),
    ord("q"): lambda m: m.remember(m.number("<B")),
    ord("r"): lambda m: m.remember(m.number("<I")),
    0x94: lambda m: m.remember(len(m.memo)),
    ord("h"): lambda m: m.recall(m.number("<B")),
    ord("j"): lambda m: m.recall(m.number("<I")),
    ord("c"): lambda m: m.named(m.line(), m.line()),
    0x93: _Machine.stack_global,
    ord("R"): _Machine.reduce,
    ord("b"): _Machine.build,
    ord("Q"): _Machine.persistent,
}
