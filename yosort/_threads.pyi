from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

SMALL: int
KEPT: int

def on_a_cache_line(size: int) -> npt.NDArray[np.uint8]: ...

class Workspace:
    def recycling(self) -> AbstractContextManager[None]: ...
    @property
    def kept(self) -> int: ...
    def empty(self, shape: tuple[int, ...], dtype: Any = ...) -> npt.NDArray[Any]: ...
    def floats(self, count: int) -> npt.NDArray[np.float32]: ...

class ThreadPool:
    workspace: Workspace

    def __init__(self, num_threads: int) -> None: ...
    @property
    def num_threads(self) -> int: ...
