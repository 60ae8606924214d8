"""Small random pipelines saved as folders, as a user would have them on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffatlas.params import GenerationParams


@pytest.fixture(scope="session")
def save_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Save a pipeline under a name and return its folder."""

    def save(name: str, pipe: Any) -> Path:
        folder = tmp_path_factory.mktemp("pipelines") / name
        pipe.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def folders(save_pipeline) -> Callable[[str], Path]:
    """Return the folder of a pipeline of `tests.pipelines`, built and saved once."""
    from tests import pipelines

    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = save_pipeline(name, getattr(pipelines, f"build_{name}")())
        return made[name]

    return folder


@pytest.fixture(scope="session")
def sd_folder(folders) -> Path:
    return folders("sd")


@pytest.fixture(scope="session")
def backend() -> Any:
    """One backend for the session: loading is what costs."""
    from diffatlas.backends import open_backend

    return open_backend("local", device="cpu")


@pytest.fixture
def asked(sd_folder: Path) -> GenerationParams:
    """A request that works."""
    return GenerationParams(
        model=str(sd_folder), prompt="a red circle", seed=7, num_inference_steps=4, width=64, height=64
    )
