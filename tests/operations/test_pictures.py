"""The pictures of a stored step, without the model and with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.capture import Capture, observe, preview
from diffatlas.capture.latent_grid import lay_out, unpack
from diffatlas.events import Finished, Started, Step
from diffatlas.library import Library, StoredRun
from diffatlas.operations.pictures import estimate, step_pictures
from diffatlas.params import GenerationParams
from diffatlas.run import collect
from tests.pipelines import arguments

KEYS = {"x0", "x_t", "cond", "uncond"}


def record(pipe: Any, folder: Path, capture: Capture, **call: Any) -> StoredRun:
    """Observe one call and store it as the local backend does."""
    with observe(pipe, capture) as trace:
        pipe(**arguments(pipe, **{"width": 96, "height": 64, "steps": 3, **call}))
    started = Started(
        "run",
        GenerationParams(prompt="a red circle", width=96, height=64),
        trace.initial_latents,
        trace.initial_sigma,
        trace.total_steps,
        {"scheduler": {"config": dict(pipe.scheduler.config)}} | trace.latent_provenance,
        capture.to_dict(),
    )
    library = Library(folder)
    library.save(collect([started, *trace.steps, Finished("complete", 1.0, trace.cosine_to_end)]))
    return library.open("run")


def rewrite(run: StoredRun, **changes: Any) -> StoredRun:
    """Change the provenance on disk; None takes an entry out."""
    path = run.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    provenance = {**manifest["provenance"], **changes}
    manifest["provenance"] = {k: v for k, v in provenance.items() if v is not None}
    path.write_text(json.dumps(manifest))
    return StoredRun.open(run.folder)


@pytest.mark.parametrize("size", [None, 48])
@pytest.mark.parametrize("name", ["shapes", "sdxl", "sd3", "flux", "qwen", "flux2"])
def test_stored_previews_can_be_recomputed(
    name: str, size: int | None, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The provenance holds all it takes: every pixel of every stored preview comes out again."""
    pipe = request.getfixturevalue(f"{name}_pipe")
    capture = Capture(previews="every", preview_size=size)
    run = record(pipe, tmp_path, capture, prompts=("a red circle", "two stars"))
    linear = preview.LinearMap.from_dict(run.provenance["latent_rgb"])
    for index in range(3):
        step = run.step(index)
        again = linear(lay_out(step.x0_pred, run.provenance))
        again = again if size is None else preview.resize(again, size)
        np.testing.assert_array_equal(again, step.preview)
        # So does the picture that stands in for a preview that was not stored.
        unstored = step_pictures(_Reader(run, replace(step, preview=None)), index)["x0"]
        np.testing.assert_array_equal(unstored, step.preview[0])


class _Reader:
    """A run of one step."""

    def __init__(self, run: StoredRun, step: Step) -> None:
        self.provenance, self.capture, self._step = run.provenance, run.capture, step

    def step(self, index: int) -> Step:
        return self._step


@pytest.mark.parametrize("name", ["sd", "flux_cfg"])
def test_every_picture_is_that_of_its_latents(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pipe = request.getfixturevalue(f"{name}_pipe")
    run = record(pipe, tmp_path, Capture(previews=100), prompts=("a red circle", "two stars"))
    linear, step = preview.linear_map(pipe), run.step(1)
    pictures = step_pictures(run, 1)
    assert set(pictures) == KEYS
    state = step.latents[:1]
    assert state.std() > 0.5
    latents = {
        "x0": step.x0_pred,
        "x_t": state / max(1.0, state.std()),
        "cond": estimate(step, step.cond_pred),
        "uncond": estimate(step, step.uncond_pred),
    }
    for key, picture in pictures.items():
        grid = unpack(pipe, torch.from_numpy(latents[key][:1]), (8, 12)).numpy()
        assert picture.shape == (16, 24, 3)
        assert np.abs(picture.astype(int) - linear(grid)[0]).max() <= 1
    assert np.abs(pictures["cond"].astype(int) - pictures["uncond"]).max() > 0


def test_a_decoder_draws_every_picture(sdxl_pipe: Any, tmp_path: Path) -> None:
    """Euler's states are far wider than clean latents: the decoder must not see them so."""
    run = record(sdxl_pipe, tmp_path, Capture(previews="every"))
    seen = []

    def decode(latents: np.ndarray) -> np.ndarray:
        seen.append(latents)
        return preview.decode(sdxl_pipe, torch.from_numpy(latents))

    pictures = step_pictures(run, 0, decode)
    step = run.step(0)
    assert set(pictures) == KEYS
    assert all(p.shape == (64, 96, 3) for p in pictures.values())
    assert step.latents.std() > 2
    x0, x_t, *_ = seen
    np.testing.assert_array_equal(x0, step.x0_pred)
    assert x_t.std() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(x_t * step.latents.std(), step.latents, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(
        pictures["x0"], preview.decode(sdxl_pipe, torch.from_numpy(step.x0_pred))[0]
    )


def test_what_was_not_captured_is_absent(sd_pipe: Any, tmp_path: Path) -> None:
    cases = {
        "unguided": (Capture(previews=100), {"guided": False}, {"x0", "x_t"}),
        "no predictions": (Capture(previews=100, predictions=False), {}, {"x0", "x_t"}),
        "no x0": (Capture(previews=100, x0=False), {}, {"x_t"}),
        "no latents": (Capture(previews=100, latents=False), {}, {"x0", "cond", "uncond"}),
        "no previews": (Capture(), {}, set()),
    }
    for name, (capture, call, keys) in cases.items():
        run = record(sd_pipe, tmp_path / name, capture, **call)
        assert set(step_pictures(run, 1)) == keys, name


def test_a_run_of_an_earlier_version_shows_its_previews(flux_pipe: Any, tmp_path: Path) -> None:
    run = record(flux_pipe, tmp_path, Capture(previews=2))
    old = rewrite(run, latent_rgb=None, latent_grid=None, latent_layout=None)
    assert set(step_pictures(old, 0)) == {"x0"}
    assert step_pictures(old, 1) == {}
    # Known colours, unknown packing: nothing is guessed, but a decoder may know.
    run = rewrite(run, latent_rgb=run.provenance["latent_rgb"], latent_grid=[8, 12])
    assert step_pictures(run, 1) == {}
    drawn = step_pictures(run, 1, lambda latents: np.zeros((1, 4, 4, 3), np.uint8))
    assert set(drawn) == {"x0", "x_t"}


def test_trigflow_states_are_brought_to_the_vaes_scale(sd_pipe: Any, tmp_path: Path) -> None:
    """SCM's states are sigma_data times the latents that the VAE knows."""
    run = record(sd_pipe, tmp_path, Capture(previews=100))
    config = {"prediction_type": "trigflow", "sigma_data": 0.5}
    halved, seen = rewrite(run, scheduler={"config": config}), []
    step_pictures(halved, 1, lambda latents: seen.append(latents) or np.zeros((1, 4, 4, 3), np.uint8))
    np.testing.assert_array_equal(seen[0], 2 * run.step(1).x0_pred)


def test_a_learned_variance_is_left_out_of_the_estimate() -> None:
    rng = np.random.default_rng(0)
    x0 = rng.normal(size=(1, 4, 3, 3)).astype(np.float32)
    guided, cond = (rng.normal(size=(1, 8, 3, 3)).astype(np.float32) for _ in range(2))
    step = Step(0, 9.0, 1.0, noise_pred=guided, cond_pred=cond, x0_pred=x0, x0_gain=-2.0)
    np.testing.assert_allclose(estimate(step, cond), x0 - 2 * (cond - guided)[:, :4], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="without x0"):
        estimate(replace(step, x0_gain=None), cond)
