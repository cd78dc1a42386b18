"""Small models, which all tests of the service share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what gives the pipelines of a task's model: itself and the encoder's."""
    from serve.clients import pipelines_of

    folder: Path = tmp_path_factory.mktemp("serve")
    made: dict[str, Any] = {}

    def get(task: str) -> Any:
        if task not in made:
            made[task] = pipelines_of(task, folder / task)
        return made[task]

    return get
