"""Every pipeline of the zoo gives, observed, what it gives plain; and what is recorded of it is what happened.

The truth is collected beside our machinery: by a wrapper in the scheduler's class and by forward hooks of torch.
"""

from __future__ import annotations

import functools
import inspect
import random
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas import Library, open_backend
from diffatlas import observe as recording
from diffatlas.capture import Capture, observe
from diffatlas.errors import CapabilityError
from diffatlas.operations.replay import replay
from tests.zoo import ENTRIES, Entry, takes_callback

pytestmark = pytest.mark.slow
GUIDED = [(e, g) for e in ENTRIES for g in ((True, False) if e.guidance else (False,))]
each = pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
each_guided = pytest.mark.parametrize(
    ("entry", "guided"), GUIDED, ids=[f"{e.name}-{'guided' if g else 'plain'}" for e, g in GUIDED]
)


@functools.cache
def _built(name: str) -> Any:
    return next(e for e in ENTRIES if e.name == name).build()


def _run(entry: Entry, guided: bool, seed: int = 7, callback: Any = None) -> np.ndarray:
    pipe = _built(entry.name)
    torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
    result = pipe(**entry.call(pipe, guided=guided, seed=seed, callback=callback))
    first = (
        result[0] if isinstance(result, tuple) else next(v for v in dict(result).values() if v is not None)
    )
    if isinstance(first, (list, tuple)):
        return np.stack([np.asarray(image) for image in first])
    return np.asarray(first)


@functools.cache
def _plain(name: str, guided: bool) -> tuple[np.ndarray, list[Any]]:
    """Return what the call with seed 7 gives unobserved, and the global random state that it leaves."""
    entry = next(e for e in ENTRIES if e.name == name)
    return _run(entry, guided), _random_state()


def _random_state() -> list[Any]:
    return [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]


def _left(pipe: Any) -> dict[str, Any]:
    state: dict[str, Any] = {"pipe": sorted(vars(pipe)), "type": type(pipe), "call": type(pipe).__call__}
    for name, part in pipe.components.items():
        state[name] = type(part)
        if hasattr(part, "step"):
            state[name + " step"] = inspect.getattr_static(type(part), "step")
            state[name + " attributes"] = sorted(vars(part))
        if isinstance(part, torch.nn.Module):
            state[name + " hooks"] = [
                len(v) for m in part.modules() for k, v in vars(m).items() if k.endswith("_hooks")
            ]
            state[name + " call"] = type(part).__call__
            state[name + " modes"] = [m.training for m in part.modules()]
    return state


@dataclass
class Observed:
    """One observed call: what it gave, what was recorded, what happened, and what it left."""

    result: np.ndarray
    trace: Any
    truth: Truth
    random_state: list[Any]
    left_before: dict[str, Any]
    left_after: dict[str, Any]


@functools.cache
def _observed(name: str, guided: bool) -> Observed:
    """Return the call with seed 7, observed; several tests look at it."""
    entry, pipe = next(e for e in ENTRIES if e.name == name), _built(name)
    _plain(name, guided)  # sets what a first call sets
    with pytest.MonkeyPatch.context() as patch, Truth(pipe, patch) as truth:
        before = _left(pipe)
        with observe(pipe) as trace:
            result = _run(entry, guided)
        return Observed(result, trace, truth, _random_state(), before, _left(pipe))


class Truth:
    """What the scheduler's steps were given and returned, and the outputs of the denoiser before each."""

    def __init__(self, pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.samples: list[np.ndarray] = []
        self.given: list[np.ndarray] = []
        self.results: list[np.ndarray] = []
        self.passes: list[list[np.ndarray]] = []
        self._pending: list[np.ndarray] = []
        self._monkeypatch, self._pipe = monkeypatch, pipe

    def __enter__(self) -> Truth:
        cls = type(self._pipe.scheduler)
        plain = cls.step
        signature = inspect.signature(plain)

        @functools.wraps(plain)
        def step(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            if scheduler is not self._pipe.scheduler:  # of an earlier stage
                return plain(scheduler, *args, **kwargs)
            bound = signature.bind(scheduler, *args, **kwargs).arguments
            self.samples.append(_array(bound["sample"]))
            self.given.append(_array(bound["model_output"]))
            result = plain(scheduler, *args, **kwargs)
            after = result[0] if isinstance(result, tuple) else result.prev_sample
            self.results.append(_array(after))
            self.passes.append(self._pending)
            self._pending = []
            return result

        self._monkeypatch.setattr(cls, "step", step)
        names = ("unet", "transformer", "prior", "decoder")
        denoiser = next(m for name in names if (m := getattr(self._pipe, name, None)) is not None)
        self._hook = denoiser.register_forward_hook(self._saw)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()
        self._monkeypatch.undo()

    def _saw(self, module: Any, args: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else next(iter(output.values()))
        rows = torch.stack(list(first)) if isinstance(first, (list, tuple)) else first
        self._pending.append(_array(rows))


def _array(value: torch.Tensor) -> np.ndarray:
    value = value.detach()
    return (value.float() if value.dtype == torch.bfloat16 else value).cpu().numpy().copy()


@each_guided
def test_the_image_is_the_same_and_the_pipeline_is_left_as_it_was(entry: Entry, guided: bool) -> None:
    plain, state = _plain(entry.name, guided)
    observed = _observed(entry.name, guided)
    assert np.isfinite(plain).all()
    assert plain.std() > 0.001
    np.testing.assert_array_equal(observed.result, plain)
    assert observed.random_state == state
    assert observed.left_after == observed.left_before
    assert len(observed.trace.steps) == entry.steps


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.guidance], ids=lambda e: e.name)
def test_guidance_has_an_effect(entry: Entry) -> None:
    """Else the rows of this file would hold of predictions that are all the same."""
    assert not np.array_equal(_plain(entry.name, True)[0], _plain(entry.name, False)[0])


def _smaller(pipe: Any, index: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
    return {"latents": values["latents"] * 0.9} if "latents" in values else {}


@each
def test_recorded_states_are_true(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = _built(entry.name)
    if takes_callback(pipe):
        plain = _run(entry, True, callback=_smaller)
        with Truth(pipe, monkeypatch) as truth, observe(pipe) as trace:
            observed = _run(entry, True, callback=_smaller)
        np.testing.assert_array_equal(observed, plain)
    else:
        truth, trace = (
            _observed(entry.name, entry.guidance).truth,
            _observed(entry.name, entry.guidance).trace,
        )
    assert len(trace.steps) == len(truth.results) == entry.steps
    state = trace.initial_latents
    for step, sample, after in zip(trace.steps, truth.samples, truth.results, strict=True):
        state = state if step.start_latents is None else step.start_latents
        np.testing.assert_array_equal(state, sample)
        np.testing.assert_array_equal(step.latents, after)
        state = step.latents


@each
def test_of_two_calls_the_trace_is_that_of_the_second(entry: Entry) -> None:
    """The first is guided, so that what it leaves would be one prediction too many."""
    alone = _observed(entry.name, False).trace
    with observe(_built(entry.name)) as trace:
        _run(entry, True, seed=8)
        _run(entry, False, seed=7)
    np.testing.assert_array_equal(trace.initial_latents, alone.initial_latents)
    assert len(trace.steps) == len(alone.steps)
    for one, other in zip(trace.steps, alone.steps, strict=True):
        for name in ("latents", "start_latents", "noise_pred", "cond_pred", "uncond_pred", "x0_pred"):
            a, b = getattr(one, name), getattr(other, name)
            assert (a is None) == (b is None), name
            assert a is None or np.array_equal(a, b), name


@each
def test_previews_and_attention_never_end_a_call(entry: Entry) -> None:
    """Both at once, so that either would end it; nothing is raised inside the call, nor at the context's end."""
    pipe = _built(entry.name)
    plain, totals = _plain(entry.name, entry.guidance)[0], []
    for capture in (Capture(previews="every", attention="all"), Capture(previews="every")):
        with ExitStack() as stack:
            try:
                looking = observe(pipe, capture, on_start=lambda t: totals.append(t.total_steps))
                trace = stack.enter_context(looking)
            except CapabilityError:  # before the call: it has no attention layers
                assert capture.attention == "all"
                continue
            observed = _run(entry, entry.guidance)
            break
    np.testing.assert_array_equal(observed, plain)
    assert len(totals) == 1
    assert trace.total_steps == len(trace.steps)
    assert entry.views or totals == [len(trace.steps)]
    assert trace.steps[-1].preview is not None or trace.missing["previews"].endswith(".")
    if capture.attention == "off":
        return
    if any(step.attention for step in trace.steps):
        assert trace.attention.layers
    else:
        with pytest.raises(CapabilityError, match=re.escape(trace.missing["attention"])):
            _ = trace.attention


ROLES = [(e, g) for e, g in GUIDED if (e.roles if g else e.unguided_roles) is not None]


@pytest.mark.parametrize(
    ("entry", "guided"), ROLES, ids=[f"{e.name}-{'guided' if g else 'plain'}" for e, g in ROLES]
)
def test_roles_are_those_of_the_code(entry: Entry, guided: bool) -> None:
    roles = entry.roles if guided else entry.unguided_roles
    observed = _observed(entry.name, guided)
    trace, truth = observed.trace, observed.truth
    for step, sample, passes in zip(trace.steps, truth.samples, truth.passes, strict=True):
        rows = [row for output in passes for row in np.split(output, len(output) // len(sample))]
        assert len(rows) == len(roles)
        recorded = {"cond": step.cond_pred, "uncond": step.uncond_pred, **(step.other_preds or {})}
        if len(roles) == 1:  # of a step that mixes nothing there is the prediction alone
            assert not any(v is not None for v in recorded.values())
            assert _is_prediction(step.noise_pred, rows[0])
            continue
        assert {k for k, v in recorded.items() if v is not None} == set(roles)
        for name, row in zip(roles, rows, strict=True):
            assert _is_prediction(recorded[name], row), name


def _is_prediction(recorded: np.ndarray, row: np.ndarray) -> bool:
    """Whether the denoiser's output is what was recorded, up to the sign, a learned variance, a reference."""
    ours, theirs = np.squeeze(recorded), np.squeeze(row)
    if ours.shape != theirs.shape:
        theirs = theirs[: len(ours)]
    return np.array_equal(ours, theirs) or np.array_equal(ours, -theirs)


def test_a_pipeline_without_a_denoiser_is_refused() -> None:
    import diffusers

    encoder = diffusers.pipelines.flux.ReduxImageEncoder(redux_dim=8, txt_in_features=8)
    pipe = diffusers.FluxPriorReduxPipeline(None, None, encoder)
    with pytest.raises(CapabilityError, match="FluxPriorReduxPipeline has no denoiser"), observe(pipe):
        pass


@each
def test_a_call_is_a_run_that_is_kept_and_can_be_made_again(entry: Entry, tmp_path: Path) -> None:
    pipe, library = _built(entry.name), Library(tmp_path)
    plain = _plain(entry.name, entry.guidance)[0]
    with recording(pipe, record=library) as trace:
        _run(entry, entry.guidance)
    run = library.load(trace.run.id)
    assert (run.status, len(run.steps)) == ("complete", entry.steps)
    assert entry.views or run.total_steps == entry.steps
    assert len(run.provenance["revision"]["digest"]) == 64
    if run.images:
        told = "height" in entry.call(pipe, guided=entry.guidance, seed=7, callback=None) or run.params.inputs
        assert told or run.images[0].shape[:2] == (run.params.height, run.params.width)
        if plain.dtype == np.uint8:
            np.testing.assert_array_equal(run.images, plain)
    else:
        assert "images" in run.provenance["missing"]
    if entry.name.startswith("StableCascade"):
        with pytest.raises(CapabilityError, match="no unet or transformer"):
            open_backend("local", pipe=pipe)
        return
    backend = open_backend("local", pipe=pipe)
    if left_out := run.provenance["call"].get("left_out"):
        with pytest.raises(CapabilityError, match=re.escape(next(iter(left_out)))):
            replay(library, run.id, backend)
        return
    if entry.name == "StableDiffusionLDM3DPipeline":
        return  # It cannot make its own pictures of this size, only arrays.
    *_, report = replay(library, run.id, backend)
    if "random_state" in run.provenance.get("missing", {}):
        assert report.verdict == "different"
        return
    assert (report.verdict == "identical" and report.image_identical) or not run.images, report.sentence
    assert report.by_step == [0.0] * (entry.steps + 1)
