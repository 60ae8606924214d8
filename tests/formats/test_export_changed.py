"""Exports of a run whose latents were changed between steps, that took more steps than planned, and lacks something."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load

from diffatlas import measured
from diffatlas.errors import CapabilityError
from diffatlas.events import Step
from diffatlas.formats.kinds import KINDS
from diffatlas.formats.named import Named
from diffatlas.formats.report import run as report
from diffatlas.formats.static import write as static_folder
from diffatlas.formats.static.check import check_folder
from diffatlas.formats.static.read import import_static
from diffatlas.formats.tables import runs as tables
from diffatlas.formats.told import changed, not_recorded
from diffatlas.library import Library
from diffatlas.params import GenerationParams
from diffatlas.run import Run
from tests.formats.test_export_report import text

TAKEN = 6
#: Indices of the steps before which the latents were changed.
CHANGED = (2, 3, 5)
MISSING = {"cond_pred": "The passes cannot be told apart.", "text": "Its <words> are & stay unknown."}


def _array(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(1, 4, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def changed_run() -> Run:
    """Six steps where four were planned; its scheduler tells no noise level, and no metric was stored."""
    rng = np.random.default_rng(11)
    steps = tuple(
        Step(
            index=i,
            timestep=900.0 - i,
            sigma=None,
            latents=_array(rng),
            preview=rng.integers(0, 256, (1, 16, 16, 3), np.uint8),
            start_latents=_array(rng) if i in CHANGED else None,
            other_preds={"perturbed": _array(rng)} if i % 2 else {},
        )
        for i in range(TAKEN)
    )
    return Run(
        id="20260131-120000-1a2b3c4d",
        params=GenerationParams(
            prompt="a red circle", model="shapes", seed=3, num_inference_steps=4, width=64, height=64
        ),
        status="complete",
        created="2026-01-31T12:00:00.000+00:00",
        initial_latents=_array(rng),
        total_steps=4,
        steps=steps,
        images=(rng.integers(0, 256, (64, 64, 3), np.uint8),),
        seconds=1.0,
        provenance={"missing": MISSING},
    )


@pytest.fixture
def layer(changed_run) -> Named:
    return Named("changed", changed_run, "#7c2d36")


def moves(run: Run) -> tuple[np.ndarray, list[float | None]]:
    """The moves of the steps (T, numbers), and how far the latents were moved before each, by plain loops."""
    made, between, before = [], [], run.initial_latents
    for step in run.steps:
        began = before if step.start_latents is None else step.start_latents
        shift = began.astype(float) - before
        between.append(None if step.start_latents is None else float(np.sqrt((shift**2).sum())))
        made.append((step.latents.astype(float) - began).ravel())
        before = step.latents
    return np.stack(made), between


def test_lengths_and_totals_are_of_the_true_states(changed_run):
    made, between = moves(changed_run)
    lengths = np.sqrt((made**2).sum(1))
    states = measured.states(changed_run)
    assert [s.metrics["step_length"] for s in states] == [None, *(pytest.approx(v) for v in lengths)]
    assert [s.metrics["between_length"] for s in states] == [
        None,
        *(v if v is None else pytest.approx(v) for v in between),
    ]
    totals = measured.totals(changed_run)
    assert totals["path_length"] == pytest.approx(lengths.sum())
    jumped = sum(v for v in between if v is not None)
    assert totals["straightness"] == pytest.approx(totals["chord"] / (lengths.sum() + jumped))
    units = made / lengths[:, None]
    turns = np.degrees(np.arccos((units[1:] * units[:-1]).sum(1)))
    assert totals["mean_curvature"] == pytest.approx(turns.mean())


def test_tables_have_what_was_moved_between_steps(changed_run, layer):
    _, between = moves(changed_run)
    rows = list(csv.DictReader(io.StringIO(tables.csv([layer]).decode())))
    assert [row["between_length"] for row in rows] == [
        "",
        *("" if v is None else cell_of(row, v) for v, row in zip(between, rows[1:], strict=True)),
    ]
    assert [row["sigma"] for row in rows] == [""] * (TAKEN + 1)
    document = json.loads(tables.json([layer]))["layers"][0]
    assert [step["between_length"] for step in document["steps"][1:]] == [
        v if v is None else pytest.approx(v) for v in between
    ]
    assert document["run"]["provenance"]["missing"] == MISSING


def cell_of(row: dict[str, str], wanted: float) -> str:
    """The text of the cell, where it spells the number that is wanted."""
    assert float(row["between_length"]) == pytest.approx(wanted)
    return row["between_length"]


def test_arrays_hold_the_true_starts_and_the_other_predictions(changed_run, layer):
    with np.load(io.BytesIO(KINDS["npz"].make([layer])), allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    manifest = json.loads(str(arrays.pop("manifest")))["layers"][0]["arrays"]
    starts = np.stack([changed_run.steps[i].start_latents for i in CHANGED])
    others = np.stack([changed_run.steps[i].other_preds["perturbed"] for i in (1, 3, 5)])
    assert arrays["changed/start_latents"].tobytes() == starts.tobytes()
    assert arrays["changed/other_preds/perturbed"].tobytes() == others.tobytes()
    assert manifest["start_latents"]["steps"] == [i + 1 for i in CHANGED]
    assert manifest["other_preds/perturbed"]["steps"] == [2, 4, 6]
    assert np.isnan(arrays["changed/sigmas"]).tolist() == [True] * (TAKEN + 1)
    same = load(KINDS["safetensors"].make([layer]))
    assert {name: array.tobytes() for name, array in same.items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }


def test_states_of_two_shapes_are_apart_and_no_path(changed_run):
    small = replace(changed_run.steps[0], latents=np.zeros((1, 4, 4, 4), np.float32))
    run = replace(changed_run, steps=(small, *changed_run.steps[1:]))
    layer = Named("two", run, "#7c2d36")
    with np.load(io.BytesIO(KINDS["npz"].make([layer])), allow_pickle=False) as found:
        assert found["two/latents"].shape == (TAKEN, 1, 4, 8, 8)
        assert found["two/latents.2"].shape == (1, 1, 4, 4, 4)
    assert measured.first_path(run) is None
    for kind in KINDS.values():
        assert kind.make([layer])
    with pytest.raises(CapabilityError, match="change their shape"):
        static_folder.plan(run)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_made(layer, kind):
    assert len(KINDS[kind].make([layer])) > 500


def test_the_report_says_what_is_missing_and_what_was_changed(layer, run):
    found = text(report.pdf([layer]))
    assert "Not recorded: the conditional and the unconditional prediction." in found
    assert "The passes cannot be told apart." in found
    # Each entity is drawn by itself.
    assert "Its < words > are & stay unknown." in found
    assert "before steps 3, 4 and 6: lengths are of the true states." in found
    assert "Moved between steps" in found
    assert "6 of 4" not in found
    plain = text(report.pdf([Named("plain", run, "#7c2d36")]))
    for words in ("Not recorded", "changed between", "Moved between steps"):
        assert words not in plain


def test_the_static_folder_is_valid(changed_run, tmp_path):
    folder = static_folder.write(static_folder.plan(changed_run), tmp_path / "out")
    assert not [problem for problem in check_folder(folder).problems if problem.severe]
    ours = json.loads((folder / "metadata.json").read_text())["diffatlas"]
    assert (ours["sigmas"], ours["initial_sigma"]) == ([None] * TAKEN, None)
    library = Library(tmp_path / "runs")
    back = library.load(import_static(library, folder).run_id)
    assert (back.initial_sigma, [step.sigma for step in back.steps]) == (None, [None] * TAKEN)


def test_sentences():
    assert not_recorded({}) == []
    assert not_recorded({"missing": "x"}) == []
    assert not_recorded({"missing": {"previews": "No VAE.", "odd": "Why."}}) == [
        "Not recorded: previews. No VAE.",
        "Not recorded: odd. Why.",
    ]
    assert changed([]) == []
    assert "before step 4:" in changed([4])[0]
    assert "before steps 3 and 4:" in changed([3, 4])[0]
    assert "before steps 1, 2, 3, 4, 5, 6, 7, 8 and 12 more:" in changed([*range(1, 21)])[0]
