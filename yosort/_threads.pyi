from yosort._workspace import Workspace

class ThreadPool:
    workspace: Workspace

    def __init__(self, num_threads: int) -> None: ...
    @property
    def num_threads(self) -> int: ...
