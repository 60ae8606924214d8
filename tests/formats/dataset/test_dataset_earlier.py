"""Datasets of earlier versions come in as before. What they hold is read here without Diffusion Atlas."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import load

from diffatlas.formats.dataset.read import import_dataset
from diffatlas.library import Library
from diffatlas.library.marks import read_marks
from tests.formats.dataset.dataset_runs import EARLY, PROMPT, STOPPED, WHOLE

#: Written by version 0.1.0: a whole run with marks, one that was stopped, one without a step, and one that had
#: attention, which that version left out.
SAMPLE = Path(__file__).parents[1] / "samples" / "dataset-v1"
ATTENDED = "20260131-120000-00000007"


def pixels(picture: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture["bytes"])))


@pytest.fixture(scope="module", params=["run", "step"])
def imported(request, tmp_path_factory):
    library = Library(tmp_path_factory.mktemp("library"))
    assert import_dataset(library, SAMPLE / request.param) == [WHOLE, STOPPED, EARLY, ATTENDED]
    return library


def test_every_array_and_picture_is_there(imported: Library) -> None:
    for row in pq.read_table(SAMPLE / "run" / "data").to_pylist():
        run = imported.load(row["run_id"])
        assert [step.timestep for step in run.steps] == row["timesteps"]
        assert [step.sigma for step in run.steps] == row["sigmas"]
        blobs = [row["latents"], row["predictions"]]
        for blob in filter(None, blobs):
            header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
            steps = json.loads(header["__metadata__"]["steps"])
            for key, stack in load(blob).items():
                for number, array in zip(steps[key], stack, strict=True):
                    name = key.split(".")[0]
                    if number == 0:
                        found = run.initial_latents
                    elif name.startswith("other_preds/"):
                        found = run.steps[number - 1].other_preds[name.removeprefix("other_preds/")]
                    else:
                        found = getattr(run.steps[number - 1], name)
                    assert found.dtype == array.dtype
                    np.testing.assert_array_equal(found, array)
        finals = [one for one in (row["image"], *row["more_images"]) if one is not None]
        assert len(finals) == len(run.images)
        for image, picture in zip(run.images, finals, strict=True):
            np.testing.assert_array_equal(image, pixels(picture))
        shown = [one for step in run.steps if step.preview is not None for one in step.preview]
        for preview, picture in zip(shown, row["previews"], strict=True):
            np.testing.assert_array_equal(preview, pixels(picture))


def test_what_is_said_of_them_is_there(imported: Library) -> None:
    run, marks = imported.load(WHOLE), read_marks(imported.path(WHOLE))
    assert (run.status, run.params.prompt, run.params.seed) == ("complete", PROMPT, 2**63 - 1)
    assert (marks.name, marks.tags, marks.note) == ("The first", ("a tag", "<i>"), "a note\nof two lines")
    assert marks.locked
    assert run.provenance["missing"]["cond_pred"].startswith("It cannot be told")
    assert [imported.open(one).status for one in (STOPPED, EARLY)] == ["stopped", "stopped"]
    assert [len(imported.load(one).steps) for one in (STOPPED, EARLY)] == [2, 0]
    assert imported.load(WHOLE).steps[1].metrics["norm"] != 0
    assert np.isnan(imported.load(WHOLE).steps[1].metrics["cosine"])


def test_what_was_left_out_stays_out(imported: Library) -> None:
    stored = imported.open(ATTENDED)
    assert "attention" not in json.dumps(stored.manifest)
    assert stored.attention(0) == {}
    assert imported.check(ATTENDED).status == "complete"
    assert imported.studies.list() == []


@pytest.mark.parametrize("version", [b"3", b"", b"x" * 50, b"-1"])
def test_a_newer_version_is_refused_with_a_sentence(tmp_path: Path, version: bytes) -> None:
    from diffatlas.formats.dataset.schema import RefusedDataset

    file = tmp_path / "d" / "data" / "train-00000-of-00001.parquet"
    file.parent.mkdir(parents=True)
    table = pq.read_table(SAMPLE / "run" / "data")
    pq.write_table(table.replace_schema_metadata({b"diffatlas_dataset": version}), file)
    with pytest.raises(RefusedDataset, match="update diffatlas"):
        import_dataset(Library(tmp_path / "library"), tmp_path / "d")
