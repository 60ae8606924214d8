"""What differs between two runs, against NumPy and by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffatlas.errors import DamagedRun
from diffatlas.library import Library
from diffatlas.library.difference import Difference, difference, environment_difference
from diffatlas.run import Run
from tests.library.made_runs import STEPS, made


@pytest.fixture
def compare(tmp_path: Path):
    library = Library(tmp_path)

    def compared(a: Run, b: Run) -> Difference:
        stored = [library.open(library.save(replace(run, id=f"run-{k}"))) for k, run in enumerate((a, b))]
        return difference(*stored)

    return compared


def with_latents(run: Run, k: int, latents: np.ndarray) -> Run:
    """``run`` with another state; 0 is x_T."""
    if k == 0:
        return replace(run, initial_latents=latents)
    return replace(
        run, steps=tuple(replace(s, latents=latents) if s.index == k - 1 else s for s in run.steps)
    )


def test_a_run_and_itself(compare) -> None:
    found = compare(made(1), made(1))
    assert (found.params, found.environment) == ({}, {})
    assert [(i.mean_absolute, i.maximum, i.identical) for i in found.images] == [(0.0, 0.0, True)]
    assert found.path.identical
    assert (found.path.first_step, found.path.maximum, found.path.relative) == (None, 0.0, 0.0)
    assert found.path.distances == [0.0] * (STEPS + 1)


def test_figures_against_numpy(compare) -> None:
    a, b = made(1), made(2)
    found = compare(a, b)
    x, y = (run.latents.astype(np.float64).reshape(STEPS + 1, -1) for run in (a, b))
    apart = np.linalg.norm(x - y, axis=1)
    np.testing.assert_allclose(found.path.distances, apart, rtol=1e-12)
    assert found.path.maximum == pytest.approx(np.abs(x - y).max(), rel=1e-12)
    sizes = (np.linalg.norm(x, axis=1) + np.linalg.norm(y, axis=1)) / 2
    assert found.path.relative == pytest.approx((apart / sizes).max(), rel=1e-12)
    assert (found.path.identical, found.path.first_step) == (False, 0)
    levels = np.abs(a.images[0].astype(float) - b.images[0].astype(float))
    (image,) = found.images
    assert (image.mean_absolute, image.maximum) == (pytest.approx(levels.mean()), levels.max())
    assert found.params == {"prompt": ("run 1", "run 2"), "seed": (1, 2)}


def test_the_first_state_that_differs_by_one_bit(compare) -> None:
    a = made(1)
    state = a.steps[1].latents.copy()
    state.flat[5] = np.nextafter(state.flat[5], np.float32(9), dtype=np.float32)
    found = compare(a, with_latents(a, 2, state)).path
    assert (found.identical, found.first_step) == (False, 2)
    assert 0 < found.maximum < 1e-6
    assert [d > 0 for d in found.distances] == [False, False, True, False]


def test_the_environment() -> None:
    a = {
        "dtype": "float32", "started": "1", "key": "k", "prompt_tokens": {"count": 3}, "latent_rgb": [1],
        "versions": {"torch": "2.13.0", "numpy": "2"},
        "scheduler": {"config": {"shift": 3.0, "_use_default_values": ["b"]}},
        "identity": {"dtype": "float16", "variant": "fp16"},
    }  # fmt: skip
    b = {
        "dtype": "float16", "started": "2", "device": "cuda",
        "versions": {"torch": "2.14.0", "numpy": "2"},
        "scheduler": {"config": {"shift": 1.0, "_use_default_values": ["a"]}},
        "identity": {"variant": None},
    }  # fmt: skip
    assert environment_difference(a, b) == {
        "dtype": ("float32", "float16"),
        "device": (None, "cuda"),
        "versions.torch": ("2.13.0", "2.14.0"),
        "scheduler.config.shift": (3.0, 1.0),
        "identity.variant": ("fp16", None),
    }
    assert environment_difference(a, a) == {}


def test_paths_that_cannot_be_laid_side_by_side(compare) -> None:
    a = made(1)
    assert compare(a, made(1, side=5)).path is None
    assert compare(a, replace(a, total_steps=STEPS + 1)).path is None
    without = replace(a, steps=tuple(replace(step, latents=None) for step in a.steps))
    assert compare(a, without).path is None


def test_a_stopped_run_is_compared_as_far_as_it_went(compare) -> None:
    a = made(1)
    stopped = replace(a, steps=a.steps[:2], status="stopped", images=())
    found = compare(a, stopped)
    assert (found.path.identical, found.path.first_step, found.path.distances) == (False, None, [0.0] * 3)
    (image,) = found.images
    assert (image.identical, math.isinf(image.maximum)) == (False, True)


def test_images_of_other_sizes(compare) -> None:
    a = made(1)
    (image,) = compare(a, replace(a, images=(np.zeros((4, 8, 3), np.uint8),))).images
    assert (image.identical, image.maximum) == (False, math.inf)
    black, white = (replace(a, images=(np.full((8, 8, 3), v, np.uint8),)) for v in (0, 255))
    (image,) = compare(black, white).images
    assert (image.mean_absolute, image.maximum) == (255.0, 255.0)


def test_states_that_are_not_finite(compare) -> None:
    a = made(1)
    broken = np.full_like(a.initial_latents, np.nan)
    found = compare(with_latents(a, 3, broken), with_latents(a, 3, broken))
    assert found.path.identical
    found = compare(a, with_latents(a, 3, broken)).path
    assert (found.first_step, found.distances[3], found.relative, found.maximum) == (3, *[math.inf] * 3)


def test_zeros_of_two_signs_and_types_are_not_the_same_bits(compare) -> None:
    a = with_latents(made(1), 1, np.zeros((1, 4, 4, 4), np.float32))
    found = compare(a, with_latents(a, 1, -a.steps[0].latents)).path
    assert (found.identical, found.first_step, found.relative, found.distances[1]) == (False, 1, 0.0, 0.0)


def test_damage_is_a_clear_error(tmp_path: Path) -> None:
    library = Library(tmp_path)
    a, b = (library.open(library.save(made(k))) for k in (1, 2))
    (b.folder / "steps" / "step_0001.safetensors").write_bytes(b"no")
    with pytest.raises(DamagedRun):
        difference(a, b)
