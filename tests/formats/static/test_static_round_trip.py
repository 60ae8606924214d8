"""A run becomes a static folder, the folder a run, and that run the same folder, whatever the run is like."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffatlas.attention.resampled import measured_on
from diffatlas.attention.trace import AttentionTrace
from diffatlas.formats.static.check import check_folder
from diffatlas.formats.static.read import import_static
from diffatlas.formats.static.write import Options, plan, write
from diffatlas.guidance import METHODS
from diffatlas.library import Library
from diffatlas.params import Noise
from diffatlas.run import Run
from tests.attended_runs import run_of

NAMES = ("down_blocks.0.attn", "mid_block.attn", "up_blocks.1.attn", "blocks.3.attn")
SIDES = st.integers(1, 6)
GRIDS = st.tuples(SIDES, SIDES)


@dataclass(frozen=True)
class Case:
    run: Run
    options: Options

    def _repr_pretty_(self, printer, cycle) -> None:
        layers = self.run.provenance.get("attention", {}).get("layers", ())
        told = [(x["name"], x["kind"], x["grid"], x.get("cells")) for x in layers]
        printer.text(
            f"{self.options}, {self.run.status}, {self.run.params}, {len(self.run.steps)} steps, {told}"
        )

    @property
    def attention(self) -> AttentionTrace | None:
        """The attention that is written."""
        if not self.options.attention or not any(step.attention for step in self.run.steps):
            return None
        trace = AttentionTrace.of(self.run).at(image=self.options.image)
        wanted = tuple(name.rstrip("*") for name in self.options.layers or ("",))
        return replace(trace, layers=tuple(x for x in trace.layers if x.name.startswith(wanted)))


@st.composite
def cases(draw) -> Case:
    names = draw(st.sets(st.sampled_from(NAMES)))
    cross = {f"{name}2": (draw(GRIDS), name.partition("_")[0]) for name in sorted(names)}
    grids = {name: draw(GRIDS) for name in sorted(draw(st.sets(st.sampled_from(NAMES))))}
    own = {
        f"{name}1": (grid, (draw(st.integers(1, grid[0])), draw(st.integers(1, grid[1]))), None)
        for name, grid in grids.items()
    }
    steps, size = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    heads, predictions = draw(st.booleans()), draw(st.booleans())
    every = draw(st.integers(1, 2))
    given_ = {"steps": steps, "cross": cross, "own": own, "side": 4, "pixels": 8, "every": every}
    made = [[run_of(draw(st.integers(0, 9)), **given_) for _ in range(1 + heads)] for _ in range(size)]
    run = batched(made, heads)
    changed = [
        replace(
            step,
            sigma=draw(st.none() | st.floats(0, 100)),
            timestep=draw(st.floats(0, 1000)),
            noise_pred=step.noise_pred if predictions else None,
        )
        for step in run.steps
    ]
    status = draw(st.sampled_from(["complete", "stopped", "failed", "partial"]))
    method = draw(st.none() | st.sampled_from(sorted(METHODS)))
    noise = draw(st.none() | st.builds(Noise, st.sampled_from(["perturb", "slerp"]), SIDES, st.floats(0, 1)))
    run = replace(
        run,
        steps=tuple(changed),
        status=status,
        error={"code": "backend_failure", "message": "It broke.", "field": None}
        if status == "failed"
        else None,
        images=run.images if status == "complete" else (),
        seconds=draw(st.none() | st.floats(0, 1e6)),
        total_steps=steps + draw(st.integers(0, 2)),
        initial_latents=run.initial_latents if draw(st.booleans()) else None,
        params=run.params.replace(
            guidance_method=method,
            noise=noise,
            negative_prompt=draw(st.sampled_from(["", "blurry"])),
            guidance_scale=draw(st.floats(0, 30)),
            num_images_per_prompt=size,
            extra=draw(st.sampled_from([None, {"eta": 0.5}])),
        ),
    )
    options = Options(
        attention=draw(st.booleans()) or bool(cross),
        resolution=draw(st.none() | SIDES),
        self_resolution=draw(st.none() | SIDES),
        layers=draw(st.sampled_from([None, ("mid*", "up*")])) if len(names) > 2 else None,
        npz=draw(st.booleans()),
        image=draw(st.integers(0, size - 1)),
    )
    if options.layers and not {"mid_block.attn", "up_blocks.1.attn"} & {*names, *grids}:
        options = replace(options, layers=None)
    return Case(run, options)


def batched(made: list[list[Run]], heads: bool) -> Run:
    """One run of a batch of runs; of each image there are as many as there are heads in its attention."""
    first = made[0][0]
    steps = []
    for at, step in enumerate(first.steps):
        images = [[run.steps[at] for run in of_image] for of_image in made]
        maps = {
            key: np.concatenate(
                [
                    np.stack([one.attention[key] for one in of_image], 1)
                    if heads
                    else of_image[0].attention[key]
                    for of_image in images
                ]
            )
            for key in step.attention or ()
        }
        arrays = {
            name: np.concatenate([getattr(of_image[0], name) for of_image in images])
            for name in ("latents", "noise_pred", "preview")
        }
        steps.append(replace(step, **arrays, attention=maps or None))
    whole = [of_image[0] for of_image in made]
    captured = {**first.capture, "attention_heads": "each"} if heads and "attention" in first.capture else {}
    return replace(
        first,
        steps=tuple(steps),
        initial_latents=np.concatenate([run.initial_latents for run in whole]),
        images=tuple(image for run in whole for image in run.images),
        capture={**first.capture, **captured},
    )


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_what_is_kept_comes_back_and_makes_the_same_folder_again(case):
    with tempfile.TemporaryDirectory() as room:
        library = Library(Path(room) / "library")
        folder = write(plan(case.run, case.options), Path(room) / "first")
        assert check_folder(folder).problems == []
        back = library.load(import_static(library, folder).run_id)
        compare(case, back)
        again = write(plan(back), Path(room) / "again")
        compare_folders(folder, again)


def compare(case: Case, back: Run) -> None:
    """Everything that the folder claims to keep is what it was."""
    run, options = case.run, case.options
    assert back.params == run.params.replace(num_images_per_prompt=1)
    told = ("status", "seconds", "total_steps", "initial_sigma")
    assert [getattr(back, name) for name in told] == [getattr(run, name) for name in told]
    assert back.error == run.error
    assert [(s.timestep, s.sigma) for s in back.steps] == [(s.timestep, s.sigma) for s in run.steps]
    one = slice(options.image, options.image + 1)
    for a, b in zip(run.steps, back.steps, strict=True):
        np.testing.assert_array_equal(b.preview, a.preview[one])
        for name in ("latents", "noise_pred"):
            whole, found = getattr(a, name), getattr(b, name)
            kept = options.npz and whole is not None
            assert (found is not None) == kept
            if kept:
                np.testing.assert_array_equal(found, whole[one].astype(np.float16).astype(np.float32))
    if options.npz and run.initial_latents is not None:
        np.testing.assert_array_equal(back.initial_latents, run.initial_latents[one].astype(np.float16))
    else:
        assert back.initial_latents is None
    assert len(back.images) == min(1, len(run.images))
    for pixels in back.images:
        np.testing.assert_array_equal(pixels, run.images[options.image])
    before = case.attention
    if before is None:
        assert not any(step.attention for step in back.steps)
        return
    after = AttentionTrace.of(back)
    assert (after.steps, after.tokens) == (before.steps, before.tokens)
    names = ("name", "kind", "heads", "grid", "block", "tokens")
    layers = [[tuple(getattr(x, name) for name in names) for x in trace.layers] for trace in (before, after)]
    assert layers[0] == layers[1]
    # To the last bit, though the maps were resampled.
    for name, values in vars(before.measures).items():
        np.testing.assert_array_equal(getattr(after.measures, name), values, err_msg=name)
    assert measured_on(after, "cross") is measured_on(after, "self") is None


def compare_folders(folder: Path, again: Path) -> None:
    """The folder of the run that came from a folder is that folder, byte for byte.

    But for self-attention, whose numbers may be rounded once more: to the last place of float16.
    """
    first, second = (
        {path.relative_to(one).as_posix(): path.read_bytes() for path in one.rglob("*") if path.is_file()}
        for one in (folder, again)
    )
    assert first.keys() == second.keys()
    for name, data in first.items():
        if name.startswith("attention/self"):
            a, b = (np.frombuffer(each, "<f2").astype(np.float32) for each in (data, second[name]))
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6, err_msg=name)
        else:
            assert data == second[name], (name, _differing(data, second[name]))


def _differing(a: bytes, b: bytes) -> object:
    try:
        x, y = json.loads(a), json.loads(b)
    except ValueError:
        return None
    return {name: (x[name], y.get(name)) for name in x if x[name] != y.get(name)}
