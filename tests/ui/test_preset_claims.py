"""What the presets say one sees is what the embedded models do: each is run, and what its sentence says is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffatlas import Library
from diffatlas.attention.trace import AttentionTrace
from diffatlas.backends import open_backend
from diffatlas.capture.spec import Capture
from diffatlas.operations.attention_boxes import binding, word_overlap
from diffatlas.operations.features import encoder_for_study, names_for
from diffatlas.operations.trace import trace
from diffatlas.run import Run
from diffatlas.shapes.detect import Detection, background, detect
from diffatlas.studies.measure_cells import CellData, load_cells
from diffatlas.studies.measure_neighbourhood import LaneNeighbourhood, measure_neighbourhood
from diffatlas.studies.measure_sweep import SweepMeasures, measure_sweep
from diffatlas.studies.run import run_study
from tests.ui.preset_requests import EVERY, params_of, study_of

#: Rather much for a machine that does other things besides.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shapes_backend() -> Any:
    return open_backend("local", device="cpu")


@pytest.fixture(scope="module")
def colours(shapes_backend: Any) -> tuple[Run, np.ndarray]:
    """The run of "Colours" with the image of every step, and its image."""
    return ran("Colours", shapes_backend, previews="every", preview_decoder="vae")


def ran(name: str, backend: Any, page: str = "trajectory", **capture: Any) -> tuple[Run, np.ndarray]:
    """The run of a preset, and its image."""
    asked = Capture(**{"previews": "off", **capture})
    run = trace(params_of(page, name), asked, backend).raise_for_error()
    return run, np.asarray(run.images[0])


def shapes(image: np.ndarray) -> dict[str, Detection]:
    """What is in an image, by shape; of two of one shape the surer."""
    return {found.shape: found for found in reversed(detect(image))}


def looks(image: np.ndarray) -> set[tuple[str, str]]:
    return {(found.color, found.shape) for found in detect(image)}


def measured(page: str, name: str, backend: Any, folder: Path) -> tuple[Any, list[CellData]]:
    """The measures of a preset's study, and its cells."""
    study, library = study_of(page, name), Library(folder)
    for _ in run_study(
        study, lambda _: backend, library, Capture(previews="off", predictions=False), reuse=False
    ):
        pass
    study = library.studies.open(study.id)
    cells = load_cells(study, library)
    assert len(cells) == len(study.cells)
    if page == "sweep":
        return measure_sweep(study, library), cells
    return measure_neighbourhood(study, library, encoder_for_study(backend, study), names_for(study)), cells


def sweep(name: str, backend: Any, folder: Path) -> tuple[SweepMeasures, dict[tuple[int, Any], np.ndarray]]:
    """The measures of a sweep, and its images by row and value."""
    found, cells = measured("sweep", name, backend, folder)
    return found, {(cell.row, cell.value): cell.pixels for cell in cells}


def around(name: str, backend: Any, folder: Path) -> tuple[LaneNeighbourhood, list[np.ndarray]]:
    """The measures of a neighbourhood's one lane, and its images, the anchor's first."""
    found, cells = measured("neighbourhood", name, backend, folder)
    [lane] = found.lanes.values()
    return lane, [cell.pixels for cell in cells]


# Trajectory


def test_colours(colours):
    run, image = colours
    early, final = np.asarray(run.steps[5].preview)[0].astype(int), image.astype(int)
    assert looks(image) == {("orange", "ring"), ("blue", "star")}
    assert not {"ring", "star"} & set(shapes(early.astype(np.uint8))), "neither shape can be told"
    warm, after = (pixels[..., 0] - pixels[..., 2] for pixels in (early, final))
    ring, star = after > 80, after < -80
    assert warm[star].mean() < -80
    assert warm[ring].mean() > 50
    assert abs(warm[~ring & ~star].mean()) < 20
    # Yellow has more green than orange.
    assert early[ring, 1].mean() > final[ring, 1].mean() + 20


def test_two_steps(shapes_backend):
    _, image = ran("Two steps", shapes_backend)
    assert not {"ring", "star"} & set(shapes(image))
    assert len(detect(image)) == 2


def test_a_miscount(shapes_backend):
    _, image = ran("A miscount", shapes_backend)
    assert [(found.color, found.shape) for found in detect(image)] == [("green", "square")]


def test_fresh_noise(shapes_backend, colours):
    _, image = ran("Fresh noise", shapes_backend)
    _, without = colours
    for picture, right in ((image, True), (without, False)):
        found = shapes(picture)
        assert looks(picture) == {("orange", "ring"), ("blue", "star")}
        assert (found["star"].center[0] > found["ring"].center[0]) is right


# Sweep


def test_too_much_guidance(shapes_backend, tmp_path):
    found, images = sweep("Too much guidance", shapes_backend, tmp_path)
    [lane] = found.lanes.values()
    assert found.values[lane.clipping["column"]] == 30
    assert "star" not in shapes(images[0, 30.0])
    for value in (1.0, 3.0, 7.5, 15.0):
        assert looks(images[0, value]) == {("orange", "ring"), ("blue", "star")}, value


def test_one_colour_for_all(shapes_backend, tmp_path):
    _, images = sweep("One colour for all", shapes_backend, tmp_path)

    def colours(value: float) -> set[str]:
        return {shapes(images[row, value])["star"].color for row in range(4)}

    assert len(colours(3.0)) == 4
    assert colours(30.0) == {"red", "orange"}


def test_enough_steps(shapes_backend, tmp_path):
    _, images = sweep("Enough steps", shapes_backend, tmp_path)
    for (_, steps), image in images.items():
        there = {"ring", "star"} & set(shapes(image))
        assert there == ({"ring", "star"} if steps >= 5 else set()), steps


def test_five_schedulers(shapes_backend, tmp_path):
    found, _ = sweep("Five schedulers", shapes_backend, tmp_path)
    [lane] = found.lanes.values()
    drift = dict(zip(found.values, lane.curves["image"], strict=True))
    other = drift.pop("euler_a")
    assert max(drift.values()) < 0.03
    assert other > 8 * max(drift.values())


# Neighbourhood


def test_three_grounds(shapes_backend, tmp_path):
    lane, images = around("Three grounds", shapes_backend, tmp_path)
    assert lane.basins.count == 3
    assert [len(members) for members in lane.basins.members] == [8, 4, 1]
    grounds = [
        {background(images[lane.cells.index(key)]) for key in members} for members in lane.basins.members
    ]
    assert grounds == [{"navy"}, {"black"}, {"grey"}]
    assert all({("yellow", "triangle"), ("red", "ring")} == looks(image) for image in images)


def test_two_basins(shapes_backend, tmp_path):
    lane, images = around("Two basins", shapes_backend, tmp_path)
    assert [len(members) for members in lane.basins.members] == [10, 3]
    colours = [
        {shapes(images[lane.cells.index(key)])["circle"].color for key in members}
        for members in lane.basins.members
    ]
    assert colours == [{"yellow"}, {"orange"}]


def test_one_cloud(shapes_backend, tmp_path):
    lane, images = around("One cloud", shapes_backend, tmp_path)
    assert lane.basins.count == 1
    assert all("star" in shapes(image) for image in images)
    assert len({found.color for image in images for found in detect(image)}) >= 4


# Attention


def test_each_at_its_own(shapes_backend):
    run, image = ran("Each at its own", shapes_backend, "attention", attention="cross")
    attention = AttentionTrace.of(run)
    for word in ("ring", "star"):
        lift = word_overlap(attention, image, word).lift
        assert (lift[9:] > 2).all(), word
        assert lift[0] < 1.5, word


def test_the_wrong_object(shapes_backend):
    run, image = ran("The wrong object", shapes_backend, "attention", attention="cross")
    assert looks(image) == {("purple", "star"), ("blue", "square")}
    blue = next(bound for bound in binding(AttentionTrace.of(run), image).words if bound.word == "blue")
    assert (blue.shape, blue.own.color, len(blue.values)) == ("star", "purple", 30)
    assert (blue.values < 0).all()


def test_the_transformer(shapes_backend):
    run, image = ran("The transformer", shapes_backend, "attention", attention="cross")
    attention = AttentionTrace.of(run)
    assert looks(image) == {("orange", "ring"), ("blue", "star")}
    assert (word_overlap(attention, image, "ring").lift[2:] > 1.2).all()
    star = word_overlap(attention, image, "star").lift
    assert (star[2:24] < 1).all()
    assert star[24] >= 0.99


def test_every_preset_is_measured_here():
    """The tests above are called as the presets are."""
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    wanted = {name.lower().replace(" ", "_") for _, name in EVERY}
    assert wanted <= tested
