"""Steps that are made once the next call of the denoiser has begun, as on a GPU, are those that are made at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.backends.local import LocalBackend
from diffatlas.capture import Capture, observe
from diffatlas.events import Event, Step
from diffatlas.params import GenerationParams
from diffatlas.run import collect
from tests.capture.on_the_way import on_the_way
from tests.capture.test_call_bounds import Stop as CallbackError
from tests.capture.test_call_bounds import (
    assert_same,
    fail,
    test_a_loop_of_ones_own_with_the_parts_of_a_pipeline,
    test_a_part_of_a_pipeline_is_observed_inside_it,
    test_a_prompt_that_is_exchanged_midway_is_said,
    test_guidance_that_ends_midway_is_of_some_steps,
    test_the_call_after_one_that_ended_early,
    test_what_a_mask_does_between_the_steps_is_seen,
)
from tests.pipelines import arguments

#: They hold for steps that are made late as well: this module's fixture runs them so.
__all__ = [
    "test_a_loop_of_ones_own_with_the_parts_of_a_pipeline",
    "test_a_part_of_a_pipeline_is_observed_inside_it",
    "test_a_prompt_that_is_exchanged_midway_is_said",
    "test_guidance_that_ends_midway_is_of_some_steps",
    "test_the_call_after_one_that_ended_early",
    "test_what_a_mask_does_between_the_steps_is_seen",
]


class Stop(Exception):
    pass


@pytest.fixture(autouse=True)
def at_once_again() -> Iterator[Callable[[], None]]:
    """Let copies be on their way, until what this gives is called."""
    with ExitStack() as stack:
        stack.enter_context(on_the_way())
        yield stack.close


@pytest.mark.parametrize("name", ["shapes", "sdxl", "sd3", "flux", "flux_cfg", "qwen", "zimage", "flux2"])
def test_nothing_differs_from_steps_that_are_made_at_once(
    name: str, request: pytest.FixtureRequest, at_once_again: Callable[[], None]
) -> None:
    pipe, capture = request.getfixturevalue(f"{name}_pipe"), Capture(previews="every", attention="cross")
    call = {"steps": 3, "prompts": ("a red circle", "two stars")}
    with observe(pipe, capture) as trace:
        image = pipe(**arguments(pipe, **call)).images
    at_once_again()
    with observe(pipe, capture) as at_once:
        np.testing.assert_array_equal(pipe(**arguments(pipe, **call)).images, image)
    assert_same(trace, at_once)
    for a, b in zip(trace.steps, at_once.steps, strict=True):
        assert a.x0_gain == b.x0_gain
        assert a.other_preds.keys() == b.other_preds.keys()
        assert (a.attention or {}).keys() == (b.attention or {}).keys()
        for key, maps in (a.attention or {}).items():
            np.testing.assert_array_equal(maps, b.attention[key])


def test_a_step_comes_after_the_next_call_and_the_last_before_the_decoder(sd_pipe: Any) -> None:
    order: list[Any] = []
    hooks = [
        sd_pipe.unet.register_forward_hook(lambda *_: order.append("denoiser")),
        sd_pipe.vae.decoder.register_forward_hook(lambda *_: order.append("decoder")),
    ]
    try:
        with observe(sd_pipe, on_step=lambda step: order.append(step.index)):
            sd_pipe(**arguments(sd_pipe, steps=3))
    finally:
        for hook in hooks:
            hook.remove()
    assert order == ["denoiser", "denoiser", 0, "denoiser", 1, 2, "decoder"]


def test_what_a_step_raises_ends_the_call_within_the_next_one(sd_pipe: Any) -> None:
    calls: list[None] = []
    hook = sd_pipe.unet.register_forward_hook(lambda *_: calls.append(None))

    def stop(step: Step) -> None:
        if step.index == 1:
            raise Stop

    try:
        with pytest.raises(Stop), observe(sd_pipe, on_step=stop) as trace:
            sd_pipe(**arguments(sd_pipe, steps=5))
    finally:
        hook.remove()
    assert len(calls) == 3
    assert [step.index for step in trace.steps] == [0, 1]
    assert trace.run.status == "failed"


def test_events_of_a_call_that_fails_have_all_of_its_steps(sd_pipe: Any) -> None:
    events: list[Event] = []
    with pytest.raises(CallbackError), observe(sd_pipe, on_event=events.append) as trace:
        sd_pipe(**arguments(sd_pipe, steps=5), callback_on_step_end=fail)
    assert [event.kind for event in events] == ["started", "step", "step", "failed"]
    assert len(trace.run.steps) == 2


def test_an_error_of_a_step_that_is_told_at_the_end_fails_the_run(sd_pipe: Any) -> None:
    """The call fails by itself, and what its last step then raises is what is said."""

    def stop(step: Step) -> None:
        if step.index == 1:
            raise Stop("said by the step")

    with pytest.raises(Stop, match="said by the step"), observe(sd_pipe, on_step=stop) as trace:
        sd_pipe(**arguments(sd_pipe, steps=5), callback_on_step_end=fail)
    assert "said by the step" in trace.run.error["message"]


def test_a_callback_reads_the_step_that_was_just_made(sd_pipe: Any) -> None:
    read: list[tuple[int, int]] = []

    def look(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        elsewhere = threading.Thread(target=lambda: read.append((i, len(trace.steps))))
        elsewhere.start()
        elsewhere.join()
        read.append((i, len(trace.steps)))
        np.testing.assert_array_equal(trace.steps[-1].latents, values["latents"].numpy())
        values["latents"].zero_()  # What was sent before does not show it.
        return values

    with observe(sd_pipe) as trace:
        sd_pipe(**arguments(sd_pipe, steps=3), callback_on_step_end=look)
    # Another thread is not made to call the callbacks of the pipeline's; the last step is there at once.
    assert read == [(0, 0), (0, 1), (1, 1), (1, 2), (2, 3), (2, 3)]
    assert all(np.abs(step.latents).max() > 0 for step in trace.steps)


def test_what_is_read_of_a_scheduler_is_as_it_was_at_the_step(sd_pipe: Any) -> None:
    """Between a step and the next call the scheduler is set anew, and the latents are written to."""

    text = torch.randn(1, 77, 32, generator=torch.Generator().manual_seed(1))
    traces = []
    for change in (True, False):
        sd_pipe.scheduler.set_timesteps(4)
        x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
        with torch.no_grad(), observe(sd_pipe) as trace:
            for t in sd_pipe.scheduler.timesteps:
                kept = dict(sd_pipe.scheduler.__dict__)
                noise = sd_pipe.unet(x, t, text).sample
                sd_pipe.scheduler.__dict__.update(kept)
                x = sd_pipe.scheduler.step(noise, t, x).prev_sample
                kept = dict(sd_pipe.scheduler.__dict__)
                if change:
                    sd_pipe.scheduler.set_timesteps(7)
                    sd_pipe.scheduler.alphas_cumprod = sd_pipe.scheduler.alphas_cumprod / 2
                    sd_pipe.unet(x, t, text)  # The step before is made here.
                    sd_pipe.scheduler.__dict__.update(kept)
        traces.append(trace)
    for a, b in zip(*(trace.steps for trace in traces), strict=True):
        assert (a.timestep, a.sigma, a.x0_gain) == (b.timestep, b.sigma, b.x0_gain)
        np.testing.assert_array_equal(a.x0_pred, b.x0_pred)


def test_a_run_of_a_backend_notices_nan_at_its_step() -> None:
    backend = LocalBackend(device="cpu")
    calls: list[None] = []

    def spoil(module: Any, args: Any, output: Any) -> None:
        calls.append(None)
        if len(calls) == 2:
            output[0].fill_(torch.nan)

    hook = backend.pipeline("shapes").unet.register_forward_hook(spoil)
    try:
        run = collect(backend.trace(GenerationParams(prompt="a red circle", num_inference_steps=6)))
    finally:
        hook.remove()
    assert "at step 2 " in run.error["message"]
    assert [len(run.steps), len(calls)] == [1, 3]
