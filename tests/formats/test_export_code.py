"""The lines of Python that the page shows make the same run: they are executed here, as they are shown."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import diffatlas
from diffatlas import Capture, GenerationParams, ImageInput, open_backend
from diffatlas.formats.code import run_code, study_code
from diffatlas.library.study import Study
from diffatlas.params import Lora, Noise
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep

ASKED = GenerationParams(
    prompt='a "red" circle\'s \\ edge\n', seed=7, num_inference_steps=3, guidance_scale=2.5
)
PICTURE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8))
INPUTS = (ImageInput.of("image", PICTURE), ImageInput.of("mask_image", Image.new("L", (64, 64), 255)))


def made_by(lines: str, **given: object) -> dict[str, object]:
    names: dict[str, object] = dict(given)
    exec(compile(lines, "lines", "exec"), names)
    return names


def stored(run: diffatlas.Run) -> str:
    """As a run is kept: what was captured as JSON."""
    return run_code(run.params, json.loads(json.dumps(run.capture)), run.provenance, run.id)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"noise": Noise("perturb", 8, 0.3, 1), "negative_prompt": "grey", "scheduler": "euler"},
        {
            "guidance_method": "apg",
            "guidance_options": {"eta": 0.5, "norm": 10.0},
            "num_images_per_prompt": 2,
        },
        {"inputs": INPUTS, "extra": {"strength": 0.7}},
        {"inputs": INPUTS[:1], "extra": {"strength": 0.7}},
    ],
)
def test_the_lines_make_the_very_run(changes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = diffatlas.trace(
        ASKED.replace(**changes), Capture(previews=2, attention="cross", attention_layers=("mid",))
    )
    for index, one in enumerate(run.params.inputs):
        one.picture().save(f"input_{index:02d}.png")
    again = made_by(stored(run))
    assert again["params"] == run.params
    assert again["capture"] == Capture.from_dict(run.capture)
    assert again["run"].latents.tobytes() == run.latents.tobytes()
    np.testing.assert_array_equal(again["run"].images, run.images)


def test_a_pipeline_in_memory_is_asked_for(sd_pipe):
    backend = open_backend("local", pipe=sd_pipe, name="mine")
    run = diffatlas.trace(GenerationParams(prompt="a red circle", num_inference_steps=2), backend=backend)
    lines = stored(run)
    with pytest.raises(NameError, match="pipe"):
        made_by(lines)
    again = made_by(lines, pipe=sd_pipe)["run"]
    np.testing.assert_array_equal(again.images, run.images)


def test_loras_and_versions_are_in_the_lines():
    params = ASKED.replace(
        model="user/name", revision="main", variant="fp16", subfolder="a", loras=(Lora("user/ink", 0.5),)
    )
    lines = run_code(params, Capture().to_dict(), {})
    assert made_by(lines.rpartition("run = ")[0])["params"] == params


def test_a_run_without_a_seed_says_that_no_lines_make_it():
    lines = run_code(ASKED.replace(seed=None), {}, {}, "20260101-000000-abcdef12")
    assert "no known seed" in lines
    assert "Library().load('20260101-000000-abcdef12')" in lines


def test_a_capture_of_another_version_is_said():
    lines = run_code(ASKED, {"of_another_version": 1}, {})
    assert "# What was captured cannot be asked of this version" in lines
    assert made_by(lines.rpartition("run = ")[0])["capture"] == Capture()


@pytest.mark.parametrize("hostile", ['"""', "'''", "\\", "{x}", "\u202e", "'); import os; ('"])
def test_a_prompt_stays_a_prompt(hostile):
    params = ASKED.replace(prompt=f"a circle {hostile}")
    assert made_by(run_code(params, {}, {}).rpartition("run = ")[0])["params"] == params


@pytest.mark.parametrize(
    "study",
    [
        plan_sweep(ASKED, "guidance_scale", [1, 3], seeds=2, lanes=[{"scheduler": "euler"}], exact=True),
        plan_sweep(ASKED, "guidance_method", ["plain", "apg"]),
        plan_sweep(ASKED, "scheduler", ["ddim", None]),
        plan_neighbourhood(ASKED, "perturb", k=2, radius=0.3, step=1),
        plan_neighbourhood(ASKED, "slerp", to_seed=9, stops=3),
        plan_neighbourhood(ASKED, "offset", k=2, offset=50),
        plan_sweep(
            ASKED.replace(guidance_scale=60.0),
            "seed",
            [1, 2],
            lanes=[{"backend": "replicate"}, {"scheduler": "euler"}],
        ),
        plan_sweep(ASKED, "seed", [3, 4], lanes=[{"backend": "local"}], backend="replicate"),
    ],
    ids=lambda study: study.title,
)
def test_the_lines_plan_the_same_study(study: Study):
    # As it is stored: tuples are lists then.
    kept = study.__class__(**{**vars(study), "spec": json.loads(json.dumps(study.spec))})
    names = made_by(study_code(kept).partition("for event")[0])
    assert names["study"].cells == study.cells
    assert names["study"].lanes == study.lanes


def test_the_lines_run_a_study(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "runs"))
    names = made_by(study_code(plan_sweep(ASKED, "guidance_scale", [1, 3])))
    assert names["study"].status == "complete"
    assert all(cell.run_id for cell in names["study"].cells)
