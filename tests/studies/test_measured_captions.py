"""Captions: what is usual before a measurement, what was found after it, the same in every file."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from diffatlas.formats.sheet.study import study_sheet
from diffatlas.formats.study_kinds import export_study
from diffatlas.library import Library
from diffatlas.library.study import Study
from diffatlas.params import GenerationParams
from diffatlas.studies.measure_neighbourhood import measure_neighbourhood
from diffatlas.studies.measure_sweep import measure_sweep
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep
from tests.formats.test_export_report import text
from tests.studies.made_studies import Making, picture, run_of

BASE = GenerationParams(model="shapes", prompt="a red circle", seed=40)
FORETOLD = re.compile("usually|may clip|likely|tend")


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def run_all(study: Study, library: Library, images: dict[str, np.ndarray]) -> Study:
    """Save a run of random states for each cell that has a picture."""
    rng = np.random.default_rng(3)
    for number, cell in enumerate(study.cells):
        if cell.key in images:
            path = rng.normal(size=(3, 4, 4, 4)).astype(np.float32)
            run_id = library.save(run_of(number, path, images[cell.key], params=cell.params))
            study = study.with_cell(cell.key, status="complete", run_id=run_id)
    return study


def in_files(study: Study, images: dict[str, np.ndarray], measures: dict) -> dict[str, str]:
    """Return what each file of a study says in words, spaces made one."""
    table = list(csv.DictReader(io.StringIO(export_study("csv", study, images, measures).decode())))
    document = json.loads(export_study("json", study, images, measures))
    sheet = study_sheet(study, images, measures)
    said = {
        "csv": " ".join(row["caption"] for row in table),
        "json": " ".join(cell["caption"] for cell in document["study"]["cells"]),
        "sheet": " ".join(shape.text for shape in sheet.shapes if hasattr(shape, "text")),
        "pdf": text(export_study("pdf", study, images, measures)),
    }
    return {kind: re.sub(r"\s+", " ", told) for kind, told in said.items()}


def test_what_is_foretold_gives_way_to_what_is_measured(library: Library) -> None:
    study = plan_sweep(BASE, "guidance_scale", "3, 6, 12")
    assert [bool(FORETOLD.search(cell.caption)) for cell in study.cells] == [False, True, True]
    rng = np.random.default_rng(1)
    images = {cell.key: picture(rng) for cell in study.cells if cell.column != 1}
    images["a-0-2"][:4] = 255
    study = run_all(study, library, images)

    before = in_files(study, images, {})
    for told in before.values():
        assert "colours may clip" in told
        assert "Measured" not in told

    measures = measure_sweep(study, library).to_dict()
    shown, base = images["a-0-2"], images["a-0-0"]
    clipped = [100 * np.mean((p == 0) | (p == 255)) for p in (shown, base)]
    drift = np.sqrt(np.mean((shown / 255.0 - base / 255.0) ** 2))
    luma = np.std(shown @ [0.2126, 0.7152, 0.0722]) / 255
    for told in in_files(study, images, measures).values():
        assert (
            f"image {drift:.3g} from the baseline's, clipped {clipped[0]:.1f}% (baseline {clipped[1]:.1f}%)"
            in told
        )
        assert f"contrast {luma:.3g} (" in told
        assert "is taken 12 times, far more than the usual 3. Measured:" in told
        assert "colours may clip" not in told
        # The cell that did not run is told by what is usual still.
        assert "colours and contrast usually rise" in told
    assert "baseline" not in measures["captions"]["a-0-0"]["found"]


def test_a_stored_caption_that_foretells_is_not_repeated(library: Library) -> None:
    study = plan_sweep(BASE, "guidance_scale", "3, 12")
    study = study.with_cell("a-0-1", caption="Far too much: saturation and clipping are likely.")
    images = {cell.key: picture(np.random.default_rng(cell.column)) for cell in study.cells}
    said = measure_sweep(run_all(study, library, images), library).captions["a-0-1"]
    assert said.asked == "The prompt's pull, cond - uncond, is taken 12 times, far more than the usual 3."


@pytest.mark.parametrize("field", ["num_inference_steps", "scheduler", "seed", "guidance_method"])
def test_no_caption_of_a_measured_cell_foretells(field: str, library: Library) -> None:
    study = plan_sweep(BASE, field)
    images = {cell.key: picture(np.random.default_rng(cell.column)) for cell in study.cells}
    captions = measure_sweep(run_all(study, library, images), library).captions
    assert captions.keys() == images.keys()
    for said in captions.values():
        assert not FORETOLD.search(said.asked)
        assert said.found.startswith("Measured: ")


def test_seeds_and_lanes_have_their_own_numbers_in_the_report(library: Library) -> None:
    study = plan_sweep(BASE, "guidance_scale", "3, 12", seeds=2, lanes=[{"scheduler": "euler"}])
    rng = np.random.default_rng(2)
    images = {cell.key: picture(rng) for cell in study.cells}
    study = run_all(study, library, images)
    measures = measure_sweep(study, library).to_dict()
    told = in_files(study, images, measures)
    for cell in study.cells:
        found = measures["captions"][cell.key]["found"]
        assert f"Seed {cell.params.seed}. {found}" in told["pdf"]
        assert found in told["csv"]


def test_a_neighbour_is_told_by_its_cosine_once_it_is_measured(library: Library) -> None:
    study = plan_neighbourhood(BASE, "perturb", k=2, radius=0.6)
    assert "usually about 0.800" in study.cells[-1].caption
    images = {cell.key: picture(np.random.default_rng(cell.column)) for cell in study.cells}
    study = run_all(study, library, images)
    said = measure_neighbourhood(study, library).captions
    a, b = (library.load(study.cells[at].run_id).initial_latents.ravel().astype(float) for at in (0, 2))
    cosine = a @ b / np.sqrt((a @ a) * (b @ b))
    assert said["a-0-2"].asked == "x_T, turned by radius 0.6."
    assert f"cosine {cosine:.3f} to the anchor's noise" in said["a-0-2"].found
    assert "a-0-0" not in said


def test_what_has_no_picture_and_no_path_keeps_its_caption(library: Library) -> None:
    making = Making(library, "sweep", field="guidance_scale", values=[3.0], baseline=0)
    making.add("a", 0, 0, 3.0, None, picture(np.random.default_rng(0)), status="failed")
    assert measure_sweep(making.study(), library).captions == {}
