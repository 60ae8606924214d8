"""The embedded model on the CPU, and a count of what its denoiser does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from diffatlas.params import GenerationParams


@pytest.fixture(scope="session")
def shapes_backend() -> Any:
    """One backend for the session: loading is what costs."""
    from diffatlas.backends import open_backend

    return open_backend("local", device="cpu")


@pytest.fixture
def shapes_asked() -> GenerationParams:
    """A request of the embedded model that runs in a second."""
    return GenerationParams(prompt="a red circle", seed=7, num_inference_steps=4)


@dataclass
class Count:
    """What the process did since the fixture was made."""

    #: Calls of any UNet.
    denoiser: int = 0
    #: Pipelines loaded.
    loads: int = 0


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Iterator[Count]:
    from diffusers import UNet2DConditionModel

    from diffatlas.backends import loading

    counted = Count()
    forward, load = UNet2DConditionModel.forward, loading.load

    def counting_forward(*args: Any, **options: Any) -> Any:
        counted.denoiser += 1
        return forward(*args, **options)

    def counting_load(*args: Any, **options: Any) -> Any:
        counted.loads += 1
        return load(*args, **options)

    monkeypatch.setattr(UNet2DConditionModel, "forward", counting_forward)
    monkeypatch.setattr(loading, "load", counting_load)
    return counted
