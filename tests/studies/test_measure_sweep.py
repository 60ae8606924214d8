"""What a sweep's numbers are, against plain formulas on runs whose states are known."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams, OutOfMemory
from diffatlas.geometry.perceptual import phash
from diffatlas.library import Library
from diffatlas.operations.features import Encoder
from diffatlas.studies.measure_sweep import measure_sweep
from tests.studies.made_studies import Making, picture

SHAPE = (4, 4, 4)
VALUES = (1.0, 4.0, 7.5, 12.0)
BASELINE = 1


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def random_sweep(
    library: Library, lanes: str = "ab", rows: int = 2, **spec: Any
) -> tuple[Making, dict, dict]:
    """A guidance sweep of random states; and the path and the picture of every cell."""
    rng = np.random.default_rng(5)
    spec = {"field": "guidance_scale", "values": list(VALUES), "baseline": BASELINE} | spec
    making, paths, images = Making(library, "sweep", lanes, **spec), {}, {}
    for lane in lanes:
        for row in range(rows):
            for column, value in enumerate(VALUES):
                key = f"{lane}-{row}-{column}"
                paths[key] = rng.normal(size=(4, *SHAPE)).astype(np.float32)
                images[key] = picture(rng)
                metrics = [{"guidance_norm": value + i, "guidance_angle": 10.0 * i} for i in range(3)]
                making.add(lane, row, column, value, paths[key], images[key], metrics if column else None)
    return making, paths, images


def test_drifts_are_distances_from_the_baseline_of_the_same_lane_and_seed(library: Library) -> None:
    making, paths, images = random_sweep(library)
    found = measure_sweep(making.study(), library)
    assert found.baseline == BASELINE
    assert [d.key for d in found.distances] == ["hash", "latent", "image"]
    assert found.feature is None
    for key, cell in found.cells.items():
        base = f"{key[:-1]}{BASELINE}"
        a, b = paths[key][-1].astype(float), paths[base][-1].astype(float)
        p, q = images[key].astype(float) / 255, images[base].astype(float) / 255
        assert cell.drift["latent"] == pytest.approx(np.sqrt(((a - b) ** 2).sum() / (b**2).sum()), rel=1e-12)
        assert cell.drift["image"] == pytest.approx(np.sqrt(((p - q) ** 2).mean()), rel=1e-12)
        assert cell.drift["hash"] == np.mean(phash(images[key]) != phash(images[base]))
        if key == base:
            assert set(cell.drift.values()) == {0.0}
    for lane in "ab":
        for distance, curve in found.lanes[lane].curves.items():
            wanted = [
                np.mean([found.cells[f"{lane}-{row}-{c}"].drift[distance] for row in range(2)])
                for c in range(4)
            ]
            assert curve == pytest.approx(wanted, rel=1e-12)


def test_the_numbers_of_a_path_and_a_picture(library: Library) -> None:
    making, paths, images = random_sweep(library, "a", 1)
    cell = measure_sweep(making.study(), library).cells["a-0-2"]
    path = paths["a-0-2"].astype(float).reshape(4, -1)
    length = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
    assert cell.path_length == pytest.approx(length)
    assert cell.straightness == pytest.approx(np.linalg.norm(path[-1] - path[0]) / length)
    assert cell.latent_max == np.abs(path[-1]).max()
    assert cell.guidance_norm == [7.5, 8.5, 9.5]
    assert (cell.guidance_norm_mean, cell.guidance_angle_mean) == (8.5, 10.0)
    high, low = images["a-0-2"].max(-1).astype(float), images["a-0-2"].min(-1)
    assert cell.saturation == pytest.approx(((high - low) / high).mean())
    assert cell.luma_std == pytest.approx(np.std(images["a-0-2"] @ [0.2126, 0.7152, 0.0722]) / 255)
    assert cell.clipped == 0.0


def test_a_path_whose_latents_were_changed_is_as_long_as_its_steps(library: Library) -> None:
    making, paths, _ = random_sweep(library, "a", 1)
    key = "a-0-2"
    run = library.load(next(cell.run_id for cell in making.study().cells if cell.key == key))
    start = run.steps[1].latents * 2
    library.save(replace(run, steps=(run.steps[0], replace(run.steps[1], start_latents=start), run.steps[2])))
    cell = measure_sweep(making.study(), library).cells[key]
    states = paths[key].astype(float).reshape(4, -1)
    began = [states[0], start.astype(float).ravel(), states[2]]
    length = sum(np.linalg.norm(states[k + 1] - began[k]) for k in range(3))
    jump = np.linalg.norm(began[1] - states[1])
    assert cell.path_length == pytest.approx(length)
    assert cell.straightness == pytest.approx(np.linalg.norm(states[-1] - states[0]) / (length + jump))


def test_a_cell_without_guidance_has_no_guidance_vector(library: Library) -> None:
    making, *_ = random_sweep(library, "a", 1)
    cell = measure_sweep(making.study(), library).cells["a-0-0"]
    assert (cell.guidance_norm, cell.guidance_angle, cell.guidance_norm_mean) == (None, None, None)


def parted(library: Library, base: np.ndarray, other: np.ndarray) -> Any:
    making = Making(library, "sweep", field="guidance_scale", values=[4.0, 9.0], baseline=0)
    for column, path in enumerate((base, other)):
        making.add("a", 0, column, 4.0 + 5 * column, path, picture(np.random.default_rng(column)))
    cells = measure_sweep(making.study(), library).cells
    assert cells["a-0-0"].parting is None
    assert "baseline" in cells["a-0-0"].parting_note
    return cells["a-0-1"]


def test_two_paths_part_where_they_differ_to_the_end(library: Library) -> None:
    base = np.random.default_rng(1).normal(size=(6, *SHAPE)).astype(np.float32)
    other = base.copy()
    other[1] += 3.0  # apart for one step, and together again
    other[4:] += 0.5
    assert parted(library, base, other).parting == 4


def test_two_paths_that_end_together_never_part(library: Library) -> None:
    base = np.random.default_rng(1).normal(size=(6, *SHAPE)).astype(np.float32)
    other = base * np.float32(1.001)
    cell = parted(library, base, other)
    assert cell.parting is None
    assert "never part" in cell.parting_note


def test_paths_of_other_lengths_are_warped_onto_each_other(library: Library) -> None:
    base = np.random.default_rng(1).normal(size=(7, *SHAPE)) + np.arange(7)[:, None, None, None]
    # Each state twice, so that all can be paired at distance 0; then away from the last of them.
    other = np.repeat(base, 2, axis=0)
    other[9:] += 5.0
    cell = parted(library, base.astype(np.float32), other.astype(np.float32))
    assert cell.parting == 9
    assert "step counts differ" in cell.parting_note


def test_one_noise_in_the_units_of_two_schedulers_has_no_parting_step(library: Library) -> None:
    base = np.random.default_rng(1).normal(size=(4, *SHAPE)).astype(np.float32)
    cell = parted(library, base, np.concatenate([14.6 * base[:3], base[3:]]).astype(np.float32))
    assert cell.parting is None
    assert "scale" in cell.parting_note
    assert cell.drift["latent"] == 0.0


def test_a_failed_cell_and_a_deleted_run_do_not_sink_the_rest(library: Library) -> None:
    making, *_ = random_sweep(library, "a", 2)
    whole = measure_sweep(making.study(), library)
    library.delete(making.cells[3].run_id)
    study = making.study().with_cell("a-1-2", status="failed", run_id=None)
    study = study.with_cell("a-1-0", status="stopped")
    found = measure_sweep(study, library)
    assert set(whole.cells) - set(found.cells) == {"a-0-3", "a-1-2", "a-1-0"}
    assert found.cells["a-0-2"] == whole.cells["a-0-2"]
    curve = found.lanes["a"].curves["image"]
    assert curve[3] == whole.cells["a-1-3"].drift["image"]
    assert curve[2] == whole.cells["a-0-2"].drift["image"]


def test_a_row_that_lost_its_baseline_has_no_drift(library: Library) -> None:
    making, *_ = random_sweep(library, "a", 2)
    found = measure_sweep(making.study().with_cell("a-1-1", status="failed", run_id=None), library)
    assert set(found.cells["a-1-2"].drift.values()) == {None}
    assert "baseline" in found.cells["a-1-2"].parting_note
    assert found.lanes["a"].curves["latent"][2] == found.cells["a-0-2"].drift["latent"]


def test_a_baseline_that_failed_everywhere_is_replaced_by_its_neighbour(library: Library) -> None:
    making, *_ = random_sweep(library, "ab", 1)
    study = making.study()
    for key in ("a-0-1", "b-0-1"):
        study = study.with_cell(key, status="failed", run_id=None)
    found = measure_sweep(study, library)
    assert found.baseline == 0
    assert found.lanes["a"].curves["image"][:2] == [0.0, None]


def test_nothing_complete_is_measured_as_nothing(library: Library) -> None:
    making, *_ = random_sweep(library, "ab", 1)
    study = making.study()
    for cell in study.cells:
        study = study.with_cell(cell.key, status="failed", run_id=None)
    found = measure_sweep(study, library)
    assert found.cells == {}
    assert found.lanes["a"].curves["hash"] == [None] * 4
    assert found.agreement[0].by["image"] == {"rho": None, "n": 0}
    json.dumps(found.to_dict(), allow_nan=False)


def collapsing(library: Library, rows: int) -> Any:
    """At 7.5 all seeds but one give one picture, at 12 all do, and there half of the values are clipped."""
    rng = np.random.default_rng(3)
    making = Making(library, "sweep", field="guidance_scale", values=list(VALUES), baseline=BASELINE)
    for row in range(rows):
        for column, value in enumerate(VALUES):
            image = picture(rng)
            if column == 3 or (column == 2 and row):
                image = np.full_like(image, 90)
            if column == 3:
                image[:8] = 255
            making.add("a", row, column, value, rng.normal(size=(2, *SHAPE)), image)
    return measure_sweep(making.study(), library).lanes["a"]


def test_collapse_and_clipping_begin_where_they_were_put(library: Library) -> None:
    lane = collapsing(library, 4)
    assert lane.diversity[3] == 0.0
    # Of 6 pairs of seeds at 7.5, 3 differ, by less than two noisy pictures do.
    assert 0 < lane.diversity[2] < lane.diversity[1] / 2
    assert lane.collapse["column"] == 2
    assert lane.clipping["column"] == 3
    assert lane.largest_change["image"].keys() == {"from", "to", "size"}


def test_two_seeds_tell_nothing_of_collapse(library: Library) -> None:
    lane = collapsing(library, 2)
    assert lane.collapse["column"] is None
    assert "3 seeds" in lane.collapse["sentence"]
    assert lane.diversity is not None


def test_diversity_is_the_mean_distance_between_seeds(library: Library) -> None:
    making, _, images = random_sweep(library, "a", 3)
    lane = measure_sweep(making.study(), library).lanes["a"]
    for column in range(4):
        own = [images[f"a-{row}-{column}"].astype(float) / 255 for row in range(3)]
        wanted = np.mean([np.sqrt(((p - q) ** 2).mean()) for p, q in combinations(own, 2)])
        assert lane.diversity[column] == pytest.approx(wanted, rel=1e-12)
    one = measure_sweep(
        random_sweep(Library(library.folder / "b"), "a", 1)[0].study(), Library(library.folder / "b")
    )
    assert one.lanes["a"].diversity is None


def test_the_largest_change_is_between_neighbours_by_value(library: Library) -> None:
    """The values are given out of order: 12, 1, 4."""
    base = picture(np.random.default_rng(0)).clip(60, 180)
    making = Making(library, "sweep", field="guidance_scale", values=[12.0, 1.0, 4.0], baseline=1)
    for column, (value, shift) in enumerate(((12.0, 30), (1.0, 0), (4.0, 9))):
        making.add("a", 0, column, value, np.ones((2, *SHAPE)), base + np.uint8(shift))
    change = measure_sweep(making.study(), library).lanes["a"].largest_change["image"]
    assert (change["from"], change["to"]) == (2, 0)
    assert change["size"] == pytest.approx(21 / 255)


@pytest.mark.parametrize("field", ["scheduler", "seed", "guidance_method"])
def test_values_without_an_order_begin_nothing(library: Library, field: str) -> None:
    making, *_ = random_sweep(library, "a", 3, field=field)
    lane = measure_sweep(making.study(), library).lanes["a"]
    assert lane.collapse["column"] is None
    assert "no order" in lane.clipping["sentence"]
    assert lane.largest_change["image"] is None


def test_lanes_agree_by_the_ranks_of_their_drifts_without_the_baseline(library: Library) -> None:
    making, *_ = random_sweep(library)
    found = measure_sweep(making.study(), library)
    (agreement,) = found.agreement
    assert (agreement.a, agreement.b) == ("a", "b")
    for key in ("hash", "latent", "image"):
        curves = [np.delete(found.lanes[lane].curves[key], BASELINE) for lane in "ab"]
        wanted = None if np.ptp(curves, axis=1).min() == 0 else spearmanr(*curves).statistic
        assert agreement.by[key]["n"] == 3
        assert agreement.by[key]["rho"] == (wanted if wanted is None else pytest.approx(wanted))


def test_opposite_curves_do_not_agree_though_both_are_zero_at_the_baseline(library: Library) -> None:
    base = np.full((16, 16, 3), 100, np.uint8)
    values = [float(v) for v in range(8)]
    making = Making(library, "sweep", "abc", field="guidance_scale", values=values, baseline=0)
    for lane, shifts in (("a", range(8)), ("b", (0, *range(7, 0, -1))), ("c", (0, *range(2, 16, 2)))):
        for column, shift in enumerate(shifts):
            path = np.ones((2, *SHAPE), np.float32)
            making.add(lane, 0, column, values[column], path, base + np.uint8(shift))
    found = {(g.a, g.b): g for g in measure_sweep(making.study(), library).agreement}
    assert found["a", "b"].by["image"] == {"rho": pytest.approx(-1.0), "n": 7}
    assert found["a", "c"].by["image"] == {"rho": pytest.approx(1.0), "n": 7}
    assert "contingent" in found["a", "b"].sentence
    assert "structural" in found["a", "c"].sentence


def test_pictures_alone_are_measured_as_pictures(library: Library) -> None:
    rng = np.random.default_rng(0)
    making = Making(library, "sweep", field="guidance_scale", values=[1.0, 4.0], baseline=0)
    images = [picture(rng), picture(rng)]
    for column, image in enumerate(images):
        making.add("a", 0, column, VALUES[column], None, image)
    cell = measure_sweep(making.study(), library).cells["a-0-1"]
    assert cell.drift["latent"] is None
    assert cell.drift["hash"] == np.mean(phash(images[0]) != phash(images[1]))
    assert (cell.path_length, cell.parting, cell.latent_max) == (None, None, None)
    assert "not kept" in cell.parting_note


def test_features_are_compared_by_the_cosine(library: Library) -> None:
    making, _, images = random_sweep(library, "a", 1)
    encoder = Encoder(
        "means", "The mean colour.", lambda pictures: np.stack([p.mean((0, 1)) for p in pictures])
    )
    found = measure_sweep(making.study(), library, encoder)
    assert found.feature == "means"
    assert "mean colour" in found.distances[-1].about
    u, v = images["a-0-3"].mean((0, 1)), images["a-0-1"].mean((0, 1))
    wanted = 1 - u @ v / np.linalg.norm(u) / np.linalg.norm(v)
    assert found.cells["a-0-3"].drift["feature"] == pytest.approx(wanted, abs=1e-12)
    assert found.lanes["a"].curves["feature"][3] == pytest.approx(wanted, abs=1e-12)


def test_an_encoder_that_fails_costs_its_own_distance_alone(library: Library) -> None:
    def full(_: Any) -> Any:
        raise OutOfMemory("The device is full.")

    making, *_ = random_sweep(library, "a", 1)
    found = measure_sweep(making.study(), library, Encoder("none", "None.", full))
    assert found.feature is None
    assert "feature" not in found.cells["a-0-2"].drift
    assert found.cells["a-0-2"].drift["image"] > 0


def test_the_form_that_pages_and_files_read(library: Library) -> None:
    making, *_ = random_sweep(library)
    data = json.loads(json.dumps(measure_sweep(making.study(), library).to_dict(), allow_nan=False))
    assert data.keys() == {
        "baseline", "field", "values", "distances", "feature", "cells", "captions", "lanes", "agreement",
        "definitions",
    }  # fmt: skip
    assert data["values"] == list(VALUES)
    assert {
        "drift", "parting", "guidance_norm", "guidance_angle", "guidance_norm_mean", "guidance_angle_mean",
        "path_length", "straightness", "saturation", "luma_std", "clipped", "latent_max",
    } <= data["cells"]["a-0-0"].keys()  # fmt: skip
    assert data["lanes"]["a"].keys() == {
        "curves",
        "largest_change",
        "clipping",
        "diversity",
        "collapse",
        "finding",
    }
    assert data["agreement"][0].keys() == {"a", "b", "by", "sentence"}
    assert {"parting", "collapse", "clipping", "drift"} <= data["definitions"].keys()
    assert all(isinstance(text, str) for text in data["definitions"].values())


def test_a_neighbourhood_is_no_sweep(library: Library) -> None:
    with pytest.raises(InvalidParams, match="neighbourhood"):
        measure_sweep(Making(library, "neighbourhood").study(), library)


def test_a_real_sweep(shapes_backend: Any, shapes_asked: Any, library: Library) -> None:
    """Numbers of the embedded model, recomputed from the arrays of its runs."""
    from diffatlas.operations.trace import trace
    from diffatlas.studies.plan_sweep import plan_sweep

    study = plan_sweep(shapes_asked, "guidance_scale", [1, 3, 9])
    runs = {}
    for cell in study.cells:
        run = runs[cell.key] = trace(
            cell.params, Capture(predictions=True, previews="off"), shapes_backend, library
        )
        study = study.with_cell(cell.key, status="complete", run_id=run.id)
    found = measure_sweep(study, library)
    assert found.baseline == 1
    ends = {key: run.latents[-1, 0].astype(float) for key, run in runs.items()}
    for key, cell in found.cells.items():
        gap = np.linalg.norm(ends[key] - ends["a-0-1"]) / np.linalg.norm(ends["a-0-1"])
        assert cell.drift["latent"] == pytest.approx(gap, rel=1e-6)
        if cell.guidance_norm is not None:
            vectors = [step.cond_pred[0].astype(float) - step.uncond_pred[0] for step in runs[key].steps]
            assert cell.guidance_norm == pytest.approx([np.linalg.norm(v) for v in vectors], rel=1e-5)
    assert found.cells["a-0-0"].guidance_norm is None
    # All start from one noise, and one step is enough to part by 5% at nine times the pull.
    assert 1 <= found.cells["a-0-2"].parting <= 2
    assert found.cells["a-0-2"].drift["image"] > 0
