"""The files of a study, made of studies and measures whose every number is known."""

import csv
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import pdist

from diffatlas import figures, look
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.formats.lettering import fit
from diffatlas.formats.report.vector import draw
from diffatlas.formats.report.vector_ink import ink
from diffatlas.formats.sheet import study as study_sheet
from diffatlas.formats.sheet.shapes import FRAME, GOLD, Perforation, Picture, Polygon, Text
from diffatlas.formats.study_kinds import STUDY_KINDS, export_study, study_file_name
from diffatlas.library.study import Cell, Lane, Study
from diffatlas.params import GenerationParams, Noise
from tests.formats.test_export_report import contents, count_pages, lines, text, words

BASE = GenerationParams(
    prompt="a red circle",
    seed=7,
    num_inference_steps=4,
    guidance_scale=3.0,
    width=64,
    height=64,
    scheduler="ddim",
)
SCALES = (1.0, 4.0, 7.5, 12.0, 18.0)
BASELINE = 2
DISTANCES = [
    {"key": key, "label": key.capitalize(), "about": f"How far by {key}."}
    for key in ("hash", "latent", "image")
]


def pixels(number: int, height: int = 16, width: int = 16) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


def made_sweep(rows: int = 2, scales=SCALES) -> Study:
    lanes = (Lane("a", "ddim"), Lane("b", "euler", changes={"scheduler": "euler"}))
    cells = tuple(
        Cell(
            f"{lane.key}-{row}-{column}",
            lane.key,
            row,
            column,
            scale,
            f"g {scale:g}",
            f"Guidance at {scale:g}.",
            BASE.replace(seed=7 + row, guidance_scale=scale, scheduler=lane.name),
            "complete",
            f"20260801-120000-{lane.key}{row}{column:02d}",
            seconds=0.1 + column,
            batched=True,
        )
        for lane in lanes
        for row in range(rows)
        for column, scale in enumerate(scales)
    )
    spec = {
        "field": "guidance_scale",
        "values": list(scales),
        "seeds": rows,
        "exact": False,
        "baseline": BASELINE,
    }
    return Study(
        "20260801-120000-abcd",
        "sweep",
        "Guidance scale",
        "2026-08-01T12:00:00+00:00",
        spec,
        lanes,
        cells,
        "complete",
    )


def sweep_measures(study: Study) -> dict:
    rng = np.random.default_rng(0)
    cells = {
        cell.key: {
            "drift": {d["key"]: float(rng.random()) for d in DISTANCES},
            "parting": None if cell.column == BASELINE else 1 + cell.column,
            "guidance_norm": None if cell.value <= 1 else rng.random(4).tolist(),
            "guidance_angle": None if cell.value <= 1 else (90 * rng.random(4)).tolist(),
            "guidance_norm_mean": None if cell.value <= 1 else float(rng.random()),
            "guidance_angle_mean": None,
            "path_length": float(100 * rng.random()),
            "straightness": float(rng.random()),
            "saturation": float(rng.random()),
            "clipped": float(rng.random()),
            "latent_max": 3.25,
        }
        for cell in study.cells
    }
    lanes = {
        lane.key: {
            "curves": {d["key"]: rng.random(len(study.spec["values"])).tolist() for d in DISTANCES},
            "largest_change": {"hash": {"from": 0, "to": 1, "size": 0.25}, "latent": None},
            "clipping": {"column": 4, "sentence": f"Clipping begins at 18 in {lane.name}."},
            "diversity": None,
            "collapse": {"column": None, "sentence": "Mode collapse cannot be told."},
        }
        for lane in study.lanes
    }
    return {
        "baseline": BASELINE,
        "field": "guidance_scale",
        "values": study.spec["values"],
        "distances": DISTANCES,
        "feature": None,
        "cells": cells,
        "lanes": lanes,
        "agreement": [{"a": "a", "b": "b", "by": {}, "sentence": "The two lanes agree."}],
        "definitions": {"parting": "Where paths part.", "drift": "How far from the baseline."},
    }


def made_neighbourhood(k: int = 5) -> Study:
    cells = tuple(
        Cell(
            f"a-0-{i}",
            "a",
            0,
            i,
            0.1 * i,
            "anchor" if i == 0 else f"{i} · r {0.1 * i:g}",
            f"Neighbour {i}.",
            BASE if i == 0 else BASE.replace(noise=Noise("perturb", 100 + i, 0.1 * i)),
            "complete",
            f"20260801-120000-n{i:02d}",
        )
        for i in range(k + 1)
    )
    spec = {
        "mode": "perturb",
        "k": k,
        "radius": 0.5,
        "spread": "even",
        "step": 0,
        "exact": False,
        "baseline": 0,
    }
    return Study(
        "20260801-120000-beef",
        "neighbourhood",
        "Around seed 7",
        "2026-08-01T12:00:00+00:00",
        spec,
        (Lane("a", "Shapes"),),
        cells,
        "complete",
    )


def neighbourhood_measures(study: Study) -> dict:
    keys = [cell.key for cell in study.cells]
    points = np.random.default_rng(1).normal(size=(len(keys), 2)) * (3, 1)
    matrix = np.linalg.norm(points[:, None] - points[None], axis=-1)
    pairs = [
        {"a": keys[i], "b": keys[j], "x": float(matrix[i, j]), "y": float(0.5 * matrix[i, j])}
        for i in range(len(keys))
        for j in range(i)
    ]
    names = ["red circle on black" if i < 4 else "blue square on white" for i in range(len(keys))]
    drawn = {
        "pca": {"coords": points[:, ::-1].tolist(), "axes": [0.6, 0.3]},
        "mds": {"coords": points.tolist(), "stress": 0.1},
    }
    lane = {
        "cells": keys,
        "matrices": {
            "start": matrix.tolist(),
            "latent": (2 * matrix).tolist(),
            "image": (0.5 * matrix).tolist(),
        },
        "names": names,
        "growth": {
            "near": "start",
            "far": "image",
            "pairs": pairs,
            "curve": [[1.0, 0.5], [2.0, 1.0]],
            "slope": 0.5,
            "low": 0.4,
            "high": 0.6,
            "sentence": "It grows by 0.5.",
        },
        "growth_latent": None,
        "jumps": [
            {"a": keys[1], "b": keys[4], "near": 0.1, "far": 0.9, "ratio": 9.0, "named": True},
            {"a": keys[2], "b": keys[4], "near": 0.2, "far": 0.8, "ratio": 4.0, "named": None},
        ],
        "basins": {
            "count": 2,
            "labels": [0] * 4 + [1] * (len(keys) - 4),
            "silhouette": 0.5,
            "on": "image",
            "members": [keys[:4], keys[4:]],
            "names": [[names[0]], [names[-1]]],
            "sentence": "The cells fall into 2 basins.",
        },
        "maps": {"latent": drawn, "image": drawn},
    }
    distances = [
        {"key": k, "label": k.capitalize(), "about": f"By {k}."} for k in ("start", "latent", "image")
    ]
    return {
        "mode": "perturb",
        "note": None,
        "distances": distances,
        "feature": None,
        "lanes": {"a": lane},
        "agreement": [],
        "definitions": {"basins": "What a basin is."},
    }


@pytest.fixture(scope="module")
def sweep():
    study = made_sweep()
    return study, {cell.key: pixels(n) for n, cell in enumerate(study.cells)}, sweep_measures(study)


@pytest.fixture(scope="module")
def hood():
    study = made_neighbourhood()
    return study, {cell.key: pixels(n) for n, cell in enumerate(study.cells)}, neighbourhood_measures(study)


def rows_of(made) -> dict[str, dict[str, str]]:
    data = export_study("csv", *made).decode()
    rows = list(csv.DictReader(io.StringIO(data, newline="")))
    return {f"{row['lane']}-{row['row']}-{row['column']}": row for row in rows}


def test_the_csv_has_a_row_per_cell_with_its_numbers_in_full(sweep):
    study, _, measures = sweep
    rows = rows_of(sweep)
    assert list(rows) == [cell.key for cell in study.cells]
    for cell in study.cells:
        row, known = rows[cell.key], measures["cells"][cell.key]
        assert float(row["value"]) == float(row["guidance_scale"]) == cell.value
        assert (row["run"], row["seed"], row["scheduler"]) == (
            cell.run_id,
            str(cell.params.seed),
            cell.params.scheduler,
        )
        for name, value in known["drift"].items():
            assert float(row[f"drift_{name}"]) == value
        assert float(row["path_length"]) == known["path_length"]
        assert row["parting"] == ("" if known["parting"] is None else str(known["parting"]))
        assert row["guidance_angle_mean"] == ""
        assert row["batched"] == "true"


@pytest.mark.parametrize("made", ["sweep", "hood"])
def test_pandas_reads_every_number_of_a_study_with_its_unit(made, request):
    pandas = pytest.importorskip("pandas")
    made = request.getfixturevalue(made)
    frame = pandas.read_csv(io.BytesIO(export_study("csv", *made)))
    (text,) = set(frame["units"])
    units = dict(entry.split("=") for entry in text.split("; "))
    numbers = {
        name
        for name in frame
        if pandas.api.types.is_numeric_dtype(frame[name])
        and not pandas.api.types.is_bool_dtype(frame[name])
        and frame[name].notna().any()
    }
    assert numbers <= set(units) <= set(frame)
    assert {"seconds", "width", "value"} <= set(units)
    told = json.loads(export_study("json", *made))["units"]
    assert told == units


def test_the_csv_of_a_neighbourhood_has_the_distances_to_the_anchor(hood):
    study, _, measures = hood
    rows, lane = rows_of(hood), measures["lanes"]["a"]
    for place, cell in enumerate(study.cells):
        row = rows[cell.key]
        for name, matrix in lane["matrices"].items():
            assert float(row[f"distance_{name}"]) == matrix[0][place]
        assert int(row["basin"]) == lane["basins"]["labels"][place] + 1
        assert row["contains"] == lane["names"][place]
        assert [float(row["map_image_x"]), float(row["map_image_y"])] == lane["maps"]["image"]["mds"][
            "coords"
        ][place]
        assert row["noise_amount"] == ("" if place == 0 else repr(cell.params.noise.amount))
    assert rows["a-0-4"]["jumps_to"] == "a-0-1 a-0-2"
    assert rows["a-0-3"]["jumps_to"] == ""


def test_text_that_a_spreadsheet_would_run_is_disarmed():
    study = made_sweep(1)
    prompt = '=HYPERLINK("http://example.com")'
    cells = tuple(
        replace(cell, params=cell.params.replace(prompt=prompt), label="@label") for cell in study.cells
    )
    row = rows_of((replace(study, cells=cells), {}, {}))["a-0-0"]
    assert row["prompt"] == f"'{prompt}"
    assert row["label"] == "'@label"


def test_the_json_is_strict_and_whole(sweep):
    study, images, measures = sweep
    sick = {**measures, "definitions": {}, "extra": [math.nan, math.inf, 1.5]}

    def refuse(name):
        raise AssertionError(name)

    data = json.loads(export_study("json", study, images, sick), parse_constant=refuse)
    assert data["format"] == "diffusion-atlas/study"
    assert data["measures"]["extra"] == [None, None, 1.5]
    assert data["measures"]["cells"] == measures["cells"]
    assert data["study"]["spec"] == study.spec
    for cell, written in zip(study.cells, data["study"]["cells"], strict=True):
        assert GenerationParams.from_dict(written["params"]) == cell.params
        assert (written["key"], written["status"], written["run_id"]) == (cell.key, cell.status, cell.run_id)
    assert json.loads(export_study("json", study, {}, None))["measures"] is None


def test_the_sheet_shows_each_image_under_its_value(sweep):
    study, images, measures = sweep
    sheet = study_sheet.study_sheet(study, images, measures)
    pictures = [shape for shape in sheet.shapes if isinstance(shape, Picture)]
    assert [p.pixels.tobytes() for p in pictures] == [images[cell.key].tobytes() for cell in study.cells]
    labels = [
        s for s in sheet.shapes if isinstance(s, Text) and s.bold and s.text in {c.label for c in study.cells}
    ]
    assert len(labels) == len(study.cells)
    for picture, label, cell in zip(pictures, labels, study.cells, strict=True):
        assert label.text == cell.label
        assert picture.x < label.x < picture.x + FRAME
        assert 0 < picture.y - label.y < 20
        assert picture.x + picture.width < sheet.width
        assert picture.y + picture.height < sheet.height
    # Two lanes of two seeds are four strips; the first has the leftmost value of each at one place.
    tops = sorted({p.y for p in pictures})
    assert len(tops) == 4
    assert len([s for s in sheet.shapes if isinstance(s, Perforation)]) == 2 * 4
    printed = [s.text for s in sheet.shapes if isinstance(s, Text)]
    for cell in study.cells:
        assert f"image {fit(measures['cells'][cell.key]['drift']['image'], 7, 3)}" in printed


def test_only_the_baseline_is_marked(sweep):
    study, images, measures = sweep
    sheet = study_sheet.study_sheet(study, images, measures)
    gold = [s.points[0][0] for s in sheet.shapes if isinstance(s, Polygon) and s.fill == GOLD]
    pictures = [s.x for s in sheet.shapes if isinstance(s, Picture)]
    assert set(gold) == {pictures[BASELINE]}
    assert len(gold) == 4
    moved = study_sheet.study_sheet(study, images, {**measures, "baseline": 0})
    assert {s.points[0][0] for s in moved.shapes if isinstance(s, Polygon) and s.fill == GOLD} == {
        pictures[0]
    }


def test_a_cell_without_an_image_says_why():
    study = made_sweep(1)
    study = study.with_cell(
        "a-0-1", status="failed", error={"code": "non_finite", "message": "NaN appeared at step 3."}
    )
    study = study.with_cell("b-0-4", status="stopped")
    images = {cell.key: pixels(n) for n, cell in enumerate(study.cells) if cell.key not in ("a-0-1", "b-0-4")}
    sheet = study_sheet.study_sheet(study, images, {})
    printed = [s.text for s in sheet.shapes if isinstance(s, Text)]
    assert "NaN appeared at step 3." in printed
    assert printed.count("failed") == printed.count("stopped") == 1
    assert len([s for s in sheet.shapes if isinstance(s, Picture)]) == 8
    said = text(export_study("pdf", study, images))
    assert "NaN appeared" in said
    assert "8 of 10 complete, 1 failed, 1 stopped" in said


@pytest.mark.parametrize(("count", "strips"), [(1, [1]), (9, [9]), (10, [5, 5]), (32, [8, 8, 8, 8])])
def test_long_rows_are_broken_evenly(count, strips):
    study = made_sweep(1, tuple(1.0 + n for n in range(count)))
    study = replace(study, lanes=study.lanes[:1], cells=study.in_lane("a"))
    sheet = study_sheet.study_sheet(study, {c.key: pixels(0) for c in study.cells}, {})
    tops = [s.y for s in sheet.shapes if isinstance(s, Picture)]
    assert [tops.count(y) for y in dict.fromkeys(tops)] == strips


def test_the_png_is_the_sheet_at_twice_its_size(sweep, monkeypatch):
    study, images, measures = sweep
    sheet = study_sheet.study_sheet(study, images, measures)
    picture = np.asarray(Image.open(io.BytesIO(export_study("png", *sweep))))
    assert picture.shape == (2 * sheet.height, 2 * sheet.width, 3)
    for shape in (s for s in sheet.shapes if isinstance(s, Picture)):
        # The middle of the first pixel of 16, enlarged to 440 / 16.
        y, x = (round(2 * at) + 13 for at in (shape.y, shape.x))
        assert np.array_equal(picture[y, x], shape.pixels[0, 0])
    monkeypatch.setattr(study_sheet, "MAX_PIXELS", 1000)
    with pytest.raises(CapabilityError, match="PDF"):
        export_study("png", *sweep)


def test_the_report_says_what_was_asked_and_measured(sweep):
    study, _, measures = sweep
    data = export_study("pdf", *sweep)
    said = text(data)
    for fact in ("Sweep of the guidance scale", "a red circle", study.id, "20 of 20 complete", "7, 8"):
        assert fact in said
    for sentence in ("Clipping begins at 18 in euler.", "The two lanes agree.", "Where paths part."):
        assert sentence in said
    numbers = set(said.split())
    for known in measures["cells"].values():
        assert {fit(value, 7, 4) for value in known["drift"].values()} <= numbers
        assert fit(known["path_length"], 7, 4) in numbers
    total = count_pages(data)
    assert [words(page)[-1] for page in contents(data)] == [f"{k} of {total}" for k in range(1, total + 1)]
    assert len(re.findall(rb"/Subtype /Image", data)) == len(study.cells)
    assert export_study("pdf", *sweep) == data


def test_its_drift_curves_lie_at_the_values(sweep):
    _, _, measures = sweep
    drawn = [path for page in contents(export_study("pdf", *sweep)) for path in lines(page)]
    for lane in measures["lanes"].values():
        for curve in lane["curves"].values():
            fitting = [
                path
                for path in drawn
                if len(path) == len(SCALES)
                and np.corrcoef(path[:, 0], SCALES)[0, 1] > 0.99999
                and np.corrcoef(path[:, 1], curve)[0, 1] > 0.99999
            ]
            assert fitting


def test_a_map_keeps_the_proportions_of_distances(hood):
    from reportlab.graphics.shapes import Circle, Polygon

    study, _, measures = hood
    wanted = np.array(measures["lanes"]["a"]["maps"]["image"]["mds"]["coords"])
    bare = figures.map(study, measures).update_layout(showlegend=False)
    shapes = draw(bare, 240, 190, 1).contents
    # Those of the basins; the ring of the anchor lies behind one, and the outlines let through what is behind.
    basins = [ink(colour).colour for colour in look.GROUPS[:2]]
    marks = [s for s in shapes if isinstance(s, Circle | Polygon) and s.fillOpacity == 1]
    dots = [s for s in marks if s.fillColor in basins]
    found = np.array(
        [(s.cx, s.cy) if isinstance(s, Circle) else np.reshape(s.points, (-1, 2)).mean(0) for s in dots]
    )
    # They are drawn basin by basin, which is their order here.
    ratio = pdist(found) / pdist(wanted)
    assert np.ptp(ratio) < 1e-6 * ratio[0]
    assert found.min() > 0
    assert (found.max(0) < (240, 190)).all()
    # Two basins, two colours.
    assert len({s.fillColor.hexval() for s in dots}) == 2


def test_the_report_says_what_its_figures_say(sweep, hood):
    for made, drawn in ((sweep, (figures.drift,)), (hood, (figures.growth, figures.map))):
        study, _, measures = made
        said = "".join(text(export_study("pdf", *made)).split())
        for figure in drawn:
            says = figure(study, measures).layout.meta["says"]
            assert "".join(says.split()) in said, figure


def test_the_report_of_a_neighbourhood_tells_its_basins_and_jumps(hood):
    study, _, _ = hood
    said = text(export_study("pdf", *hood))
    assert "It grows by 0.5." in said
    assert "The cells fall into 2 basins." in said
    assert "It shows red circle on black." in said
    assert "one shows red circle on black, the other blue square on white" in said
    assert "start 0.1 apart, and their images are 0.9 apart" in said
    offset = {**hood[2], "mode": "offset", "note": "Seeds have no geometry."}
    offset["lanes"] = {"a": {**offset["lanes"]["a"], "jumps": []}}
    said = text(export_study("pdf", study, {}, offset))
    assert "Seeds have no geometry." in said
    assert "No two close" not in said


@pytest.mark.parametrize("made", ["sweep", "hood"])
@pytest.mark.parametrize("kind", list(STUDY_KINDS))
def test_measures_may_lack_anything(made, kind, request):
    study, images, measures = request.getfixturevalue(made)
    poor = [None, {}]
    if kind == "csv":
        poor += [{k: v for k, v in measures.items() if k != left_out} for left_out in measures]
    else:
        poor += [{k: v for k, v in measures.items() if k not in ("distances", "definitions", "agreement")}]
    lanes = measures["lanes"]
    for name in lanes["a"]:
        bare = {key: {k: (None if k == name else v) for k, v in lane.items()} for key, lane in lanes.items()}
        poor.append({**measures, "lanes": bare})
    blank = {key: dict.fromkeys(lane) for key, lane in lanes.items()}
    poor.append({**measures, "lanes": blank, "cells": {}})
    # What is slow to draw is drawn without a few of them only, without all of it among those.
    for lacking in poor[:1] + poor[-2:] if kind in ("pdf", "png") else poor:
        assert len(export_study(kind, study, images, lacking)) > 500
    nothing = replace(study, cells=tuple(replace(c, status="waiting", run_id=None) for c in study.cells))
    assert len(export_study(kind, nothing, {}, None)) > 500


def test_markup_in_names_is_text():
    study = made_sweep(1)
    name = '</para><b>bold</b> & <img src="file:///etc/passwd"/>'
    lanes = tuple(replace(lane, name=f"{lane.key} {name}") for lane in study.lanes)
    cells = tuple(replace(cell, label=f"<i>{cell.column}", caption=name) for cell in study.cells)
    study = replace(study, title=name, lanes=lanes, cells=cells)
    said = "".join(text(export_study("pdf", study, {}, sweep_measures(study))).split())
    assert "".join(f"b {name}".split()) in said
    assert "<i>4" in said


def test_kinds_and_names(sweep):
    study, images, measures = sweep
    starts = {"csv": b"lane,", "json": b"{", "png": b"\x89PNG", "pdf": b"%PDF"}
    assert set(STUDY_KINDS) == set(starts)
    for key, start in starts.items():
        kind = STUDY_KINDS[key]
        assert export_study(key, study, images, measures).startswith(start)
        assert kind.key == key
        assert kind.label
        assert kind.about
        odd = replace(study, title="../Ä <b>")
        assert study_file_name(key, odd) == f"diffatlas-sweep-a-b{kind.suffix}"
    for call in (
        lambda: export_study("docx", study, images, measures),
        lambda: study_file_name("docx", study),
    ):
        with pytest.raises(InvalidParams, match="csv, json, png, pdf"):
            call()
