"""The differences of half precision are those of two plain calls of the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.errors import InvalidParams
from diffatlas.operations.precision import compare_dtypes
from diffatlas.params import GenerationParams
from tests import pipelines

STEPS = 3


def _plain(folder: Path, dtype: torch.dtype) -> tuple[list[np.ndarray], np.ndarray]:
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(folder, dtype=dtype, local_files_only=True)
    latents = []

    def keep(pipe: Any, step: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        latents.append(given["latents"].double().numpy())
        return given

    noise = torch.Generator().manual_seed(5)
    asked = {"num_inference_steps": STEPS, "guidance_scale": 4.0, "callback_on_step_end": keep}
    image = pipe("a red circle", generator=noise, **asked).images[0]
    return latents, np.asarray(image).astype(int)


def test_it_is_the_difference_of_two_plain_calls(tmp_path: Path) -> None:
    folder = tmp_path / "sd"
    pipelines.build_sd().save_pretrained(folder)
    asked = GenerationParams(
        str(folder), "a red circle", seed=5, num_inference_steps=STEPS, guidance_scale=4.0
    )
    (found,) = compare_dtypes(asked, ("bf16",), "cpu")
    whole, half = _plain(folder, torch.float32), _plain(folder, torch.bfloat16)
    apart = [np.abs(b - a) for a, b in zip(whole[0], half[0], strict=True)]
    assert found.dtype == "bf16"
    assert np.array_equal(found.largest, [one.max() for one in apart])
    assert np.allclose(found.mean, [one.mean() for one in apart], rtol=1e-12)
    norms = [np.sqrt((a**2).sum()) for a in whole[0]]
    assert np.allclose(found.relative, [np.sqrt((d**2).sum()) for d in apart] / np.array(norms), rtol=1e-12)
    assert found.image_largest == np.abs(whole[1] - half[1]).max() > 0
    assert found.image_mean == pytest.approx(np.abs(whole[1] - half[1]).mean())


def test_another_dtype_is_refused_before_anything_runs() -> None:
    with pytest.raises(InvalidParams, match="give bf16 or fp16"):
        compare_dtypes(GenerationParams("no such model", "a"), ("fp8",))
