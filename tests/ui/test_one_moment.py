"""A frame prints the timestep and the noise level of one moment, that at which the model was asked, in every place."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest

import diffatlas
from diffatlas import Capture, GenerationParams
from diffatlas.cli.output import follow
from diffatlas.events import sigmas_before
from diffatlas.formats.html import data as html_data
from diffatlas.formats.lettering import fit
from diffatlas.formats.movie import run as movie
from diffatlas.formats.named import Named
from diffatlas.formats.report import run as report
from diffatlas.formats.sheet import shapes as sheet
from diffatlas.formats.static import write as static_folder
from diffatlas.formats.static.check import check_folder
from diffatlas.formats.tables import runs as tables
from diffatlas.library import Library
from diffatlas.operations.cache import replayed
from diffatlas.run import Run
from diffatlas.ui.components.run_data import stored_fields
from diffatlas.ui.components.run_view import RunView
from diffatlas.ui.components.step_data import step_detail
from tests.formats.test_export_report import text

#: A divisor of 1000: DDIM steps by 1000 // STEPS timesteps, whatever its list says.
STEPS = 5
MODEL = Path(__file__).parents[2] / "models" / "shapes"
CLASSES = {"euler": diffusers.EulerDiscreteScheduler, "ddim": diffusers.DDIMScheduler}


@dataclass
class Case:
    run: Run
    library: Library
    #: (timestep, noise level) at which the model is asked, and the level after each step, of diffusers itself.
    asked: list[tuple[float, float]]
    after: list[float]

    @property
    def stored(self) -> Any:
        return self.library.open(self.run.id)


@pytest.fixture(scope="module", params=CLASSES)
def case(request, tmp_path_factory) -> Case:
    library = Library(tmp_path_factory.mktemp(request.param))
    params = GenerationParams(
        prompt="a red circle", seed=7, num_inference_steps=STEPS, guidance_scale=3.0, scheduler=request.param
    )
    run = diffatlas.trace(params, Capture(previews="every", attention="cross"))
    library.save(run)
    scheduler = CLASSES[request.param].from_pretrained(MODEL / "scheduler")
    scheduler.set_timesteps(STEPS)
    if request.param == "euler":
        sigmas = [float(s) for s in scheduler.sigmas]
    else:
        # At the first timestep of a schedule with zero signal, sigma is that which Euler's takes for infinity.
        abar = scheduler.alphas_cumprod[scheduler.timesteps.long()].double().clamp(min=2.0**-24)
        last = scheduler.final_alpha_cumprod.double()
        sigmas = [float(s) for s in ((1 - abar) / abar).sqrt()] + [float(((1 - last) / last).sqrt())]
    timesteps = [float(t) for t in scheduler.timesteps]
    return Case(run, library, list(zip(timesteps, sigmas[:-1], strict=True)), sigmas[1:])


def test_a_run_and_its_stored_form_tell_the_level_before(case: Case) -> None:
    assert [step.timestep for step in case.run.steps] == pytest.approx([t for t, _ in case.asked])
    assert case.run.sigmas_before == pytest.approx([sigma for _, sigma in case.asked], rel=1e-5)
    assert [step.sigma for step in case.run.steps] == pytest.approx(case.after, rel=1e-5)
    assert case.stored.sigmas_before() == case.run.sigmas_before


def test_the_page_prints_it_in_film_table_and_inspector(case: Case) -> None:
    stored = stored_fields(case.stored, "Shapes", "nobody")["steps"]
    view = RunView("a red circle", "Shapes", "nobody")
    for event in replayed(case.stored, Capture(previews="every", attention="cross")):
        view.add(event)
    for steps in (stored, view.value()["steps"]):
        for step, (timestep, sigma), after in zip(steps, case.asked, case.after, strict=True):
            assert (step["timestep"], step["sigma_before"]) == pytest.approx((timestep, sigma), rel=1e-5)
            assert step["sigma"] == pytest.approx(after, rel=1e-5)
    for index, (timestep, sigma) in enumerate(case.asked):
        scalars = step_detail(case.stored, index, None, False, "nobody")["scalars"]
        values = {entry["key"]: entry["value"] for entry in scalars}
        assert (values["timestep"], values["sigma"]) == pytest.approx((timestep, sigma), rel=1e-5)
        assert values["sigma_after"] == pytest.approx(case.after[index], rel=1e-5)


def test_no_script_of_the_page_prints_the_level_after_beside_t() -> None:
    root = Path(diffatlas.__file__).parent
    scripts = [root / "ui/static" / name for name in ("runs/film_cell.js", "attention/attention_player.js")]
    for script in (*scripts, root / "formats/html/viewer/scroller.js"):
        printed = re.findall(r"step\.(sigma\w*)", script.read_text())
        assert set(printed) == {"sigma_before"}, script.name


def test_the_tables_print_it(case: Case) -> None:
    entry = Named("layer", case.run, "#7c2d36")
    first, *rows = csv.DictReader(io.StringIO(tables.csv([entry]).decode()))
    assert (first["timestep"], first["sigma_before"]) == ("", "")
    assert float(first["sigma"]) == pytest.approx(case.asked[0][1], rel=1e-5)
    document = json.loads(tables.json([entry]))["layers"][0]["steps"][1:]
    for found in (rows, document):
        for row, (timestep, sigma), after in zip(found, case.asked, case.after, strict=True):
            assert (float(row["timestep"]), float(row["sigma_before"])) == pytest.approx(
                (timestep, sigma), rel=1e-5
            )
            assert float(row["sigma"]) == pytest.approx(after, rel=1e-5)


def test_the_report_the_film_and_the_html_page_print_it(case: Case) -> None:
    entry = Named("layer", case.run, "#7c2d36")
    said = text(report.pdf([entry]))
    texts = [one.text for one in sheet.contact_sheet([entry]).shapes if hasattr(one, "text")]
    steps = html_data.page_data([entry], html_data.Detail())["runs"][0]["steps"]
    pairs = zip(case.asked, case.after, steps, movie.labels(case.run), strict=True)
    for index, ((timestep, sigma), after, step, label) in enumerate(pairs):
        row = f"{index + 1} {fit(timestep, 8, 5)} {fit(sigma, 8, 5)} {fit(after, 8, 5)} "
        assert row in said
        assert f"t {fit(timestep)}, sigma {fit(sigma)}" in said
        at = texts.index(f"t {fit(timestep)}")
        assert f"sigma {fit(sigma)}" in texts[at : at + 8]
        assert (step["timestep"], step["sigma_before"]) == pytest.approx((timestep, sigma), rel=1e-5)
        assert label == f"t {fit(timestep, 6, 3)} sigma {fit(sigma, 6, 3)}"


def test_the_shell_prints_it(case: Case, monkeypatch, capsys) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    events = list(replayed(case.stored, Capture(previews="every", attention="cross")))
    for index, (timestep, sigma) in enumerate(case.asked):
        upto = [event for event in events if event.kind != "step" or event.index <= index]
        follow(event for event in upto)
        assert f"t {timestep:.4g}, sigma {sigma:.3g}" in capsys.readouterr().err


def test_the_static_folder_holds_both(case: Case, tmp_path: Path) -> None:
    static_folder.write(static_folder.plan(case.run), tmp_path / "static")
    ours = json.loads((tmp_path / "static" / "metadata.json").read_text())["diffatlas"]
    assert ours["sigmas_before"] == pytest.approx([sigma for _, sigma in case.asked], rel=1e-5)
    assert check_folder(tmp_path / "static").valid(strict=True)


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        # Euler from a picture: it begins at its own first level.
        ([(700, 4.0), (500, 2.0), (300, 0.0)], [9.0, 4.0, 2.0]),
        # Heun asks twice at the level that the first half reached.
        ([(900, 5.0), (600, 5.0), (600, 2.0), (300, 2.0)], [9.0, 5.0, 5.0, 2.0]),
        # Three views of a panorama: each from the same level to the same one.
        ([(900, 5.0), (900, 5.0), (900, 5.0), (600, 2.0), (600, 2.0)], [9.0, 9.0, 9.0, 5.0, 5.0]),
        # Back in time, as RePaint goes.
        ([(900, 5.0), (600, 2.0), (900, 5.0), (600, 2.0)], [9.0, 5.0, 9.0, 5.0]),
        # Two levels whose timesteps are rounded to one.
        ([(1, 0.2), (0, 0.1), (0, 0.05), (0, 0.0)], [9.0, 0.2, 0.1, 0.05]),
        ([(900, None), (600, None), (300, 1.0)], [9.0, None, None]),
    ],
)
def test_the_level_before_is_that_of_the_state_before(steps, wanted) -> None:
    assert sigmas_before(9.0, steps) == wanted


def test_an_unknown_first_level_leaves_the_others_known() -> None:
    assert sigmas_before(None, [(900, 5.0), (600, 2.0)]) == [None, 5.0]


def test_a_panorama_asks_each_view_at_the_level_of_its_timestep(sd_pipe) -> None:
    from diffusers import StableDiffusionPanoramaPipeline

    from diffatlas import observe

    parts = {name: part for name, part in sd_pipe.components.items() if name != "image_encoder"}
    pipe = StableDiffusionPanoramaPipeline(**parts, requires_safety_checker=False)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(sd_pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    with observe(pipe) as trace:
        pipe("a red circle", height=64, width=8 * 72, num_inference_steps=4, output_type="np")
    found = sigmas_before(trace.initial_sigma, ((step.timestep, step.sigma) for step in trace.steps))
    abar = pipe.scheduler.alphas_cumprod.double().numpy()
    wanted = [np.sqrt((1 - abar[int(step.timestep)]) / abar[int(step.timestep)]) for step in trace.steps]
    assert len({step.timestep for step in trace.steps}) < len(trace.steps)
    assert found == pytest.approx(wanted, rel=1e-5)
