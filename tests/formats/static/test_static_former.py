"""Folders that were written by former versions are read as they were meant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffatlas.attention.resampled import measured_on
from diffatlas.attention.trace import AttentionTrace
from diffatlas.formats.static.check import check_folder
from diffatlas.formats.static.read import import_static
from diffatlas.formats.static.write import plan, write
from diffatlas.formats.tables.attended import measured
from diffatlas.library import Library

#: A run of the embedded model of 3 steps, of which two parts of the model were written, by the first version.
FIRST = Path(__file__).parents[1] / "samples" / "static-v1"


@pytest.fixture
def library(tmp_path) -> Library:
    return Library(tmp_path / "library")


def test_a_folder_of_the_first_version_is_read(library):
    assert check_folder(FIRST).problems == []
    done = import_static(library, FIRST)
    assert done.notes == ()
    run, metadata = library.load(done.run_id), json.loads((FIRST / "metadata.json").read_text())
    assert run.params.prompt == "a red circle to the left of a blue square"
    assert (run.params.seed, run.params.guidance_scale, run.params.negative_prompt) == (7, 5.0, "green")
    assert [step.sigma for step in run.steps] == metadata["diffatlas"]["sigmas"]
    with np.load(FIRST / "latents_noise_fp16.npz") as arrays:
        for at, step in enumerate(run.steps):
            np.testing.assert_array_equal(step.latents[0], arrays["latents"][at])
            np.testing.assert_array_equal(step.noise_pred[0], arrays["predicted_noise"][at])
        np.testing.assert_array_equal(run.initial_latents[0], arrays["initial_latents"])
    for at, step in enumerate(run.steps):
        with Image.open(FIRST / f"images/step_{at:03d}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), step.preview[0])
    trace = AttentionTrace.of(run)
    assert [x.grid for x in trace.cross_layers] == [(4, 4), (8, 8), (8, 8)]
    names = [x["processor_key"].removesuffix(".processor") for x in metadata["layers"]]
    assert [x.name for x in trace.layers] == names
    entries = {(e["layer_id"], e["step"]): e for e in metadata["attention_files"]}
    ids = {x["processor_key"].removesuffix(".processor"): x["id"] for x in metadata["layers"]}
    for layer in trace.cross_layers:
        entry = entries[ids[layer.name], 1]
        wanted = np.frombuffer((FIRST / entry["path"]).read_bytes(), "<f2").reshape(entry["shape"])
        np.testing.assert_array_equal(trace.token_maps(1, layer.key), wanted.astype(np.float32))
    # It kept no measures, and one of its layers was resampled.
    assert measured_on(trace) == "on maps resampled to 8 × 8 cells"
    assert measured_on(trace, "self") is None


def test_its_run_makes_the_folder_again_with_what_is_new_beside_it(library, tmp_path):
    again = write(plan(library.load(import_static(library, FIRST).run_id)), tmp_path / "again")
    former = {p.relative_to(FIRST).as_posix() for p in FIRST.rglob("*") if p.is_file()}
    there = {p.relative_to(again).as_posix() for p in again.rglob("*") if p.is_file()}
    assert there == former | {"diffatlas_measured.json"}
    for name in former - {"metadata.json"}:
        assert (again / name).read_bytes() == (FIRST / name).read_bytes(), name
    before, after = (json.loads((folder / "metadata.json").read_text()) for folder in (FIRST, again))
    ours, theirs = before.pop("diffatlas"), after.pop("diffatlas")
    assert after == before
    assert {name: theirs[name] for name in ours if name != "layers"} == {
        name: value for name, value in ours.items() if name != "layers"
    }
    # Of the layer that was resampled nothing is claimed.
    kept = json.loads((again / "diffatlas_measured.json").read_text())["layers"]
    resampled = {x["name"] for x in theirs["layers"] if x["resampled"]}
    assert resampled == {"mid_block.attentions.0.transformer_blocks.0.attn2"}
    assert not resampled & {layer["name"] for layer in kept if layer["kind"] == "cross"}


def test_exported_numbers_say_that_they_are_of_resampled_maps(library) -> None:
    run = library.load(import_static(library, FIRST).run_id)
    (one,) = measured(run)["of"]
    assert one["words_measured"].startswith("on maps resampled to ")
