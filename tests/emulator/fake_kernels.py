"""Kernels of the stand-in for CuPy: compiled for the emulator, launched with CUDA's own checks."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np

from emulator import build, devices, fake_cupy
from emulator.devices import EmulatorError

#: Limits of every device.
THREADS, SHARED = 1024, 48 << 10
#: Options that the stand-in knows, besides -D; it obeys -ftz=true, which CuPy itself adds.
OPTIONS = {"--std=c++14"}
#: The emulator runs one launch at a time.
_running = threading.Lock()


class _Region(ctypes.Structure):
    _fields_ = (
        ("base", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("written", ctypes.c_void_p),
        ("item", ctypes.c_uint64),
    )


class _Counters(ctypes.Structure):
    names = (
        "read_bytes",
        "written_bytes",
        "shared_accesses",
        "barriers",
        "warp_ops",
        "atomics",
        "shared_loads",
        "shared_load_wavefronts",
        "shared_stores",
        "shared_store_wavefronts",
        "global_instructions",
        "global_sectors",
    )
    _fields_ = tuple((name, ctypes.c_uint64) for name in names)


class _Launch(ctypes.Structure):
    _fields_ = (
        ("call", ctypes.c_void_p),
        ("arguments", ctypes.c_void_p),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared_bytes", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("regions", ctypes.c_void_p),
        ("region_count", ctypes.c_uint64),
        ("by_warps", ctypes.c_uint64),
        ("counters", _Counters),
        ("fault_pc", ctypes.c_uint64),
        ("error", ctypes.c_char * 400),
    )


class RawModule:
    """A source for the emulator."""

    def __init__(self, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc") -> None:
        unknown = {option for option in options if not option.startswith("-D")} - OPTIONS
        if unknown:
            raise devices.CompileException(f"unrecognized options: {sorted(unknown)}")
        self.code = code
        self.defines = tuple(
            option[2:] if "=" in option else f"{option[2:]}=1"
            for option in options
            if option.startswith("-D")
        )

    def compile(self) -> None:
        """Compile all of it."""
        with _running:
            build.library(self.code, self.defines)

    def get_function(self, name: str) -> RawKernel:
        """Compile, and return one kernel."""
        return RawKernel(self, name)


class RawKernel:
    """A kernel, called as (grid, block, arguments, shared_mem)."""

    def __init__(self, module: RawModule, name: str) -> None:
        self.module, self.name = module, name
        with _running:
            self.library = build.library(module.code, module.defines)
        kinds = ctypes.create_string_buffer(256)
        getattr(self.library, f"emu_kinds_{name}")(kinds)
        text = kinds.value.decode()
        self.kinds = [text[i : i + 2] for i in range(0, len(text), 2)]
        self.library.emu_static_shared.restype = ctypes.c_uint64
        self.max_dynamic_shared_size_bytes = SHARED
        shared = int(self.library.emu_static_shared())
        self.attributes = {"num_regs": 0, "local_size_bytes": 0, "shared_size_bytes": shared}

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: tuple[Any, ...],
        *,
        shared_mem: int = 0,
    ) -> None:
        grid, block = (tuple((*size, 1, 1)[:3]) for size in (grid, block))
        self._check_limits(grid, block, shared_mem)
        pointers, _kept = self._arguments(arguments)
        regions = _regions([one for one in arguments if isinstance(one, fake_cupy.ndarray)])
        launch = _Launch(
            call=ctypes.cast(getattr(self.library, f"emu_call_{self.name}"), ctypes.c_void_p),
            arguments=ctypes.cast(pointers, ctypes.c_void_p),
            grid=(ctypes.c_uint32 * 3)(*grid),
            block=(ctypes.c_uint32 * 3)(*block),
            shared_bytes=shared_mem,
            seed=fake_cupy.seed,
            region_count=len(regions),
            by_warps=fake_cupy.by_warps,
        )
        table = (_Region * max(len(regions), 1))(*regions)
        launch.regions = ctypes.cast(table, ctypes.c_void_p)
        with _running:
            failed = self.library.emu_launch(ctypes.byref(launch))
            counters = {name: getattr(launch.counters, name) for name in _Counters.names}
            fake_cupy.launches.append((self.name, counters))
            fake_cupy.places.append((devices.current_device(), devices.current_stream().ptr))
        if failed:
            line = build.line_of(self.module.code, self.module.defines, launch.fault_pc)
            raise EmulatorError(f"{self.name}: {launch.error.decode()} [{line}]")

    def _arguments(self, arguments: tuple[Any, ...]) -> Any:
        if len(arguments) != len(self.kinds):
            raise EmulatorError(
                f"{self.name}: wanted {len(self.kinds)} arguments, got {len(arguments)}"
            )
        kept = []
        pointers = (ctypes.c_void_p * len(arguments))()
        for i, (kind, value) in enumerate(zip(self.kinds, arguments, strict=True)):
            if isinstance(value, fake_cupy.ndarray):
                got, raw = (
                    kind if kind[0] in "pc" else "p8",
                    np.uint64(value._a.__array_interface__["data"][0]),
                )
                allocation = value._allocation
                if allocation.device != devices.current_device():
                    raise EmulatorError(
                        f"{self.name}: argument {i} lies on device {allocation.device}, "
                        f"the launch is on {devices.current_device()}"
                    )
                allocation.note(writes=kind == "p8")
            elif isinstance(value, np.uintp) and kind[0] in "pc" and value == 0:
                got, raw = kind, np.uint64(0)
            elif isinstance(value, (int, float)) and not isinstance(value, np.generic):
                # CuPy passes these as 8 bytes, whatever the kernel takes.
                got, raw = ("f8" if isinstance(value, float) else "i8"), np.array(value)
            elif isinstance(value, np.generic):
                got, raw = ("f" if value.dtype.kind == "f" else "i") + str(value.itemsize), value
            else:
                raise TypeError(f"{self.name}: argument {i}: unsupported type {type(value)}")
            if got != kind:
                raise EmulatorError(
                    f"{self.name}: argument {i}: the kernel takes {kind}, got {got}"
                )
            held = np.array([raw])
            kept.append(held)
            pointers[i] = held.ctypes.data
        return pointers, kept

    def _check_limits(self, grid: Any, block: Any, shared: int) -> None:
        threads = int(np.prod(block))
        static = int(self.library.emu_static_shared())
        most = devices.SHARED_KB[devices.Device().compute_capability] << 10
        asked = self.max_dynamic_shared_size_bytes
        faults = (
            (min(grid) < 1 or min(block) < 1, f"an empty launch, grid {grid}, block {block}"),
            (threads > THREADS, f"{threads} threads a block"),
            (max(grid[1:]) > 65535, f"a grid of {grid}"),
            (static > SHARED, f"{static} bytes of static shared memory"),
            (
                static + shared > most or shared > max(asked, SHARED),
                f"{static} + {shared} bytes of shared memory, {asked} of it asked for",
            ),
        )
        for wrong, what in faults:
            if wrong:
                raise EmulatorError(f"{self.name}: no device launches {what}")


def _regions(arrays: list[Any]) -> list[_Region]:
    """Return the memory that a launch may touch: of an array with gaps, all of its allocation."""
    found: list[tuple[int, int, Any]] = []
    for array in arrays:
        allocation = array._allocation
        begin, size = allocation.bytes.ctypes.data, allocation.nbytes
        if array.flags.c_contiguous:
            begin, size = array._a.__array_interface__["data"][0], array.nbytes
        if size:
            found.append((begin, begin + size, array))
    regions: list[_Region] = []
    for begin, end, array in sorted(found, key=lambda one: one[:2]):
        if regions and begin < regions[-1].base + regions[-1].size:  # arrays that share memory
            regions[-1].size = max(regions[-1].size, end - regions[-1].base)
            continue
        allocation = array._allocation
        flags = allocation.written.ctypes.data + begin - allocation.bytes.ctypes.data
        regions.append(_Region(begin, end - begin, flags, array.itemsize))
    return regions
