"""Fixtures that several folders share: small random pipelines, built once per session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_models_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave the registry of whoever runs the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFATLAS_USER_MODELS", str(tmp_path_factory.mktemp("user") / "models.md"))
        yield


@pytest.fixture(scope="session")
def shapes_pipe() -> Any:
    """The embedded model, in float32."""
    import torch
    from diffusers import StableDiffusionPipeline

    folder = Path(__file__).parents[1] / "models" / "shapes"
    pipe = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True).to(torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="session")
def sd_pipe() -> Any:
    import pipelines

    return pipelines.build_sd()


@pytest.fixture(scope="session")
def sdxl_pipe() -> Any:
    import pipelines

    return pipelines.build_sdxl()


@pytest.fixture(scope="session")
def sd3_pipe() -> Any:
    import pipelines

    return pipelines.build_sd3()


@pytest.fixture(scope="session")
def flux_pipe() -> Any:
    """FLUX with embedded guidance."""
    import pipelines

    return pipelines.build_flux()


@pytest.fixture(scope="session")
def flux_cfg_pipe() -> Any:
    """FLUX without embedded guidance: true CFG by two denoiser calls."""
    import pipelines

    return pipelines.build_flux(guidance_embeds=False)


@pytest.fixture(scope="session")
def pixart_pipe() -> Any:
    import pipelines

    return pipelines.build_pixart()


@pytest.fixture(scope="session")
def qwen_pipe() -> Any:
    import pipelines

    return pipelines.build_qwen()


@pytest.fixture(scope="session")
def zimage_pipe() -> Any:
    import pipelines

    return pipelines.build_zimage()


@pytest.fixture(scope="session")
def flux2_pipe() -> Any:
    import pipelines

    return pipelines.build_flux2()
