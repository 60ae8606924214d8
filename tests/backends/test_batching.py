"""Several cells in one pipeline call are what they are one by one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.backends.base import BatchBackend
from diffatlas.capture.spec import Capture
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.events import Failed, Finished, Image, Started, Step
from diffatlas.params import GenerationParams, Noise
from diffatlas.run import Run, collect

CAPTURE = Capture(previews=2)


def batch(
    backend: Any, cells: list[GenerationParams], capture: Capture = CAPTURE, **options: Any
) -> list[Run]:
    """Return the runs of a batch."""
    events: dict[int, list[Any]] = {i: [] for i in range(len(cells))}
    for i, event in backend.trace_batch(cells, capture, **options):
        events[i].append(event)
    return [collect(events[i]) for i in range(len(cells))]


def assert_near(ours: Run, alone: Run) -> None:
    """Compare all that the two recorded, within the rounding of a batch."""
    assert (ours.status, alone.status) == ("complete", "complete"), (ours.error, alone.error)
    np.testing.assert_array_equal(ours.initial_latents, alone.initial_latents)
    assert (ours.initial_sigma, ours.total_steps) == (alone.initial_sigma, alone.total_steps)
    assert len(ours.steps) == len(alone.steps)
    for a, b in zip(ours.steps, alone.steps, strict=True):
        assert (a.index, a.timestep, a.sigma, a.x0_gain) == (b.index, b.timestep, b.sigma, b.x0_gain)
        for name in ("latents", "noise_pred", "x0_pred"):
            x, y = getattr(a, name), getattr(b, name)
            assert x.shape == y.shape
            np.testing.assert_allclose(x, y, atol=2e-4 * np.abs(y).max(), err_msg=name)
        if b.cond_pred is not None:
            np.testing.assert_allclose(a.cond_pred, b.cond_pred, atol=2e-4 * np.abs(b.cond_pred).max())
            np.testing.assert_allclose(a.uncond_pred, b.uncond_pred, atol=2e-4 * np.abs(b.uncond_pred).max())
        for name, value in b.metrics.items():
            assert a.metrics[name] == pytest.approx(value, rel=2e-3, abs=2e-3), name
        assert (a.preview is None) == (b.preview is None)
        if a.preview is not None:
            assert a.preview.shape == b.preview.shape
            assert np.abs(a.preview.astype(int) - b.preview).max() <= 2
    assert np.abs(ours.images[0].astype(int) - alone.images[0]).max() <= 2


@pytest.fixture
def shapes() -> GenerationParams:
    return GenerationParams(
        prompt="a red circle",
        negative_prompt="a blue square",
        seed=7,
        num_inference_steps=4,
        guidance_scale=3.0,
    )


def test_guidance_seeds_methods_and_noise_share_a_batch(backend: Any, shapes: GenerationParams) -> None:
    cells = [
        shapes,
        shapes.replace(guidance_scale=1.0),
        shapes.replace(guidance_scale=0.0, seed=8),
        shapes.replace(guidance_scale=9.0, guidance_method="apg", guidance_options={"momentum": -0.75}),
        shapes.replace(guidance_method="pag"),
        shapes.replace(noise=Noise("perturb", 3, 0.4)),
        shapes.replace(seed=9, noise=Noise("perturb", 3, 0.4, step=2)),
        shapes.replace(noise=Noise("slerp", 8, 0.5)),
    ]
    assert isinstance(backend, BatchBackend)
    for ours, cell in zip(batch(backend, cells), cells, strict=True):
        assert_near(ours, collect(backend.trace(cell, CAPTURE)))


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3"])
def test_the_common_families(backend: Any, folders: Any, name: str) -> None:
    asked = GenerationParams(
        model=str(folders(name)), prompt="a red circle", seed=7, num_inference_steps=3, width=64, height=64
    )
    cells = [
        asked.replace(guidance_scale=1.0),
        asked.replace(guidance_scale=7.5, seed=8),
        asked.replace(guidance_method="cfg_zero_star"),
        asked.replace(guidance_method="slg", guidance_options={"start": 0, "stop": 1}),
        asked.replace(noise=Noise("perturb", 3, 0.3)),
    ]
    for ours, cell in zip(batch(backend, cells), cells, strict=True):
        assert_near(ours, collect(backend.trace(cell, CAPTURE)))


def test_guidance_that_is_an_input_of_the_model(backend: Any, folders: Any) -> None:
    """FLUX.1 dev takes the scale as an embedding."""
    asked = GenerationParams(
        model=str(folders("flux")), prompt="a red circle", seed=7, num_inference_steps=2, width=64, height=64
    )
    cells = [asked.replace(guidance_scale=g) for g in (0.0, 1.0, 3.5)]
    runs = batch(backend, cells)
    for ours, cell in zip(runs, cells, strict=True):
        assert_near(ours, collect(backend.trace(cell, CAPTURE)))
    assert not np.array_equal(runs[1].latents[-1], runs[2].latents[-1])
    assert backend.guidance_methods(asked.model) == ()
    with pytest.raises(CapabilityError, match="one prediction"):
        collect(backend.trace(asked.replace(guidance_method="apg")))


def test_each_cell_is_a_run_of_its_own(backend: Any, shapes: GenerationParams) -> None:
    cells = [shapes, shapes.replace(guidance_scale=9.0, guidance_method="interval")]
    runs = batch(backend, cells)
    assert len({run.id for run in runs}) == 2
    for i, (run, cell) in enumerate(zip(runs, cells, strict=True)):
        resolved = backend.resolve(cell)
        assert run.params == resolved
        assert run.provenance["batch"] == {"size": 2, "index": i}
        assert run.provenance["identity"] == backend.identity(resolved, batched=True)
        assert run.provenance["identity"]["batched"] is True
        assert run.capture == CAPTURE.to_dict()
        assert run.initial_latents.shape[0] == 1
    assert "batched" not in backend.identity(resolved)
    # The method's options are spelled out, so that asking for the defaults is the same request.
    assert runs[1].params.guidance_options == {"start": 0.2, "stop": 0.8}


def test_one_call_of_the_denoiser_serves_all(backend: Any, shapes: GenerationParams) -> None:
    with Calls(backend.pipeline("shapes").unet) as calls:
        batch(backend, [shapes.replace(guidance_scale=g) for g in (1.0, 2.0, 3.0, 4.0, 5.0)])
    assert calls.sizes == [10] * 4
    with Calls(backend.pipeline("shapes").unet) as calls:
        batch(backend, [shapes.replace(guidance_scale=1.0), shapes.replace(guidance_scale=0.5)])
    assert calls.sizes == [2] * 4  # no guidance anywhere


class Calls:
    """Counts the calls of a module, and can spoil what it returns."""

    def __init__(self, module: Any, spoil: Any = None) -> None:
        self._module, self._spoil = module, spoil
        self.sizes: list[int] = []

    def __enter__(self) -> Calls:
        self._hook = self._module.register_forward_hook(self._after)
        return self

    def __exit__(self, *_: Any) -> None:
        self._hook.remove()

    def _after(self, module: Any, args: Any, output: Any) -> None:
        self.sizes.append(len(output[0]))
        if self._spoil is not None:
            self._spoil(len(self.sizes), output[0])


def test_what_was_not_asked_for_is_not_recorded(backend: Any, shapes: GenerationParams) -> None:
    cells = [shapes, shapes.replace(guidance_scale=5.0)]
    lean = Capture(latents=False, predictions=False, x0=False, metrics=True)
    for ours, cell in zip(batch(backend, cells, lean), cells, strict=True):
        alone = collect(backend.trace(cell, lean))
        for a, b in zip(ours.steps, alone.steps, strict=True):
            for name in ("latents", "noise_pred", "cond_pred", "x0_pred", "preview"):
                assert getattr(a, name) is None
                assert getattr(b, name) is None
            assert a.metrics == pytest.approx(b.metrics, rel=1e-3, abs=1e-3)
        assert len(ours.images) == 1
    bare = Capture(latents=False, predictions=False, x0=False, metrics=False)
    assert batch(backend, cells, bare)[0].steps[0].metrics == {}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prompt": "a blue square"}, "prompt"),
        ({"num_inference_steps": 5}, "num_inference_steps"),
        ({"scheduler": "euler"}, "scheduler"),
        ({"num_images_per_prompt": 2}, "num_images_per_prompt"),
        ({"seed": -1}, "seed"),
    ],
)
def test_cells_that_do_not_fit_together_are_refused(
    backend: Any, shapes: GenerationParams, changes: Any, field: str
) -> None:
    with pytest.raises(InvalidParams) as caught:
        backend.trace_batch([shapes, shapes.replace(**changes)])
    assert caught.value.field == field
    with pytest.raises(InvalidParams, match="at least one"):
        backend.trace_batch([])


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_cell_of_nan_fails_alone(backend: Any, shapes: GenerationParams) -> None:
    def spoil(call: int, output: torch.Tensor) -> None:
        if call == 2:
            output[1::3] = torch.nan

    cells = [shapes.replace(guidance_scale=g) for g in (3.0, 5.0, 7.0)]
    with Calls(backend.pipeline("shapes").unet, spoil):
        runs = batch(backend, cells)
    assert [run.status for run in runs] == ["complete", "failed", "complete"]
    assert runs[1].error["code"] == "non_finite"
    assert len(runs[1].steps) == 1
    for i in (0, 2):
        assert_near(runs[i], collect(backend.trace(cells[i], CAPTURE)))


def test_nothing_goes_on_when_all_cells_have_failed(backend: Any, shapes: GenerationParams) -> None:
    with Calls(backend.pipeline("shapes").unet, lambda call, output: output.fill_(torch.nan)) as calls:
        runs = batch(backend, [shapes, shapes.replace(seed=8)])
    assert [run.error["code"] for run in runs] == ["non_finite"] * 2
    assert len(calls.sizes) == 1


def test_a_lack_of_memory_fails_all(backend: Any, shapes: GenerationParams) -> None:
    def spoil(call: int, output: torch.Tensor) -> None:
        if call == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with Calls(backend.pipeline("shapes").unet, spoil):
        runs = batch(backend, [shapes, shapes.replace(seed=8)])
    assert [run.error["code"] for run in runs] == ["out_of_memory"] * 2
    assert [len(run.steps) for run in runs] == [2, 2]
    assert batch(backend, [shapes, shapes.replace(seed=8)])[0].status == "complete"


def test_an_error_before_the_start_is_that_of_every_cell(backend: Any, shapes: GenerationParams) -> None:
    cells = [shapes.replace(model="nothing-of-this-name", guidance_scale=g) for g in (1.0, 2.0)]
    events = list(backend.trace_batch(cells))
    assert [(i, type(event), event.code) for i, event in events] == [
        (0, Failed, "unknown_model"),
        (1, Failed, "unknown_model"),
    ]


def test_stop_ends_every_cell(backend: Any, shapes: GenerationParams) -> None:
    stop = threading.Event()
    seen: list[Any] = []
    for i, event in backend.trace_batch([shapes, shapes.replace(seed=8)], stop=stop):
        seen.append((i, type(event)))
        if isinstance(event, Step) and i == 0 and event.index == 0:
            stop.set()
        if isinstance(event, Finished):
            assert event.status == "stopped"
    assert {i for i, kind in seen if kind is Finished} == {0, 1}
    assert not any(kind is Image for _, kind in seen)
    stop.set()
    assert [type(e) for _, e in backend.trace_batch([shapes, shapes.replace(seed=8)], stop=stop)] == [
        Finished
    ] * 2


def test_closing_ends_the_run_and_frees_the_backend(backend: Any, shapes: GenerationParams) -> None:
    events: Iterator[Any] = backend.trace_batch(
        [shapes.replace(num_inference_steps=30), shapes.replace(num_inference_steps=30, seed=8)]
    )
    assert isinstance(next(events)[1], Started)
    events.close()
    assert collect(backend.trace(shapes)).status == "complete"


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("sd", {"apg", "pag", "slg"}),
        ("sd3", {"apg", "pag", "slg"}),
        ("pixart", {"apg", "pag", "slg"}),
        ("flux", set()),
    ],
)
def test_the_methods_of_a_model_are_known_without_loading_it(
    folders: Any, name: str, methods: set[str]
) -> None:
    from diffatlas.backends import open_backend

    backend = open_backend("local", device="cpu")
    found = backend.guidance_methods(str(folders(name)))
    assert methods <= set(found)
    assert bool(found) == bool(methods)
    assert not backend.is_loaded(str(folders(name)))


def test_noise_of_several_images_is_that_of_several_seeds(backend: Any, shapes: GenerationParams) -> None:
    """Image i has the noise of seeds i further on, its own and the other."""
    both = collect(backend.trace(shapes.replace(num_images_per_prompt=2, noise=Noise("perturb", 30, 0.5))))
    second = collect(backend.trace(shapes.replace(seed=8, noise=Noise("perturb", 31, 0.5))))
    np.testing.assert_array_equal(both.initial_latents[1], second.initial_latents[0])
