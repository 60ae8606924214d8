"""Small checkpoints, each built once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.bench import judges


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a checkpoint of `tests.bench.judges` by its name."""
    root = tmp_path_factory.mktemp("judges")

    def folder(name: str) -> Path:
        found = root / name
        return found if found.is_dir() else getattr(judges, name)(found)

    return folder


@pytest.fixture(scope="session")
def photos() -> list[np.ndarray]:
    """Pictures of one size, of patches of colour."""
    rng = np.random.default_rng(5)
    return [np.kron(rng.integers(0, 256, (4, 5, 3)), np.ones((10, 10, 1))).astype(np.uint8) for _ in range(5)]
