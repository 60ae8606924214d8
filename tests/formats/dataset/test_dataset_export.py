import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image as Pictures
from safetensors.numpy import load

from diffatlas.errors import BackendFailure, CapabilityError, DamagedRun, InvalidParams, RunNotFound
from diffatlas.formats.dataset import card as dataset_card
from diffatlas.formats.dataset import shards
from diffatlas.formats.dataset.write import export_dataset
from tests.formats.dataset.dataset_runs import BARE, EARLY, PACKED, PROMPT, STOPPED, WHOLE, events, fill

ALL = [WHOLE, PACKED, BARE, STOPPED, EARLY]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module", params=["run", "step"])
def exported(request, library, tmp_path_factory):
    """A dataset of each kind, and which."""
    folder = tmp_path_factory.mktemp("out") / "dataset"
    export_dataset(
        library, folder, ALL, per=request.param, licence="cc0-1.0", title="Circles", description="Text."
    )
    return request.param, folder


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "streaming"])
def loaded(request, exported, tmp_path_factory):
    """The rows as `datasets` reads them, offline."""
    import huggingface_hub
    from datasets import load_dataset

    per, folder = exported
    cache = str(tmp_path_factory.mktemp("cache"))
    with pytest.MonkeyPatch.context() as offline:
        offline.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        rows = load_dataset(str(folder), split="train", streaming=request.param, cache_dir=cache)
        return per, list(rows)


def test_datasets_reads_it_and_the_pictures_decode(loaded, library):
    per, rows = loaded
    assert len(rows) == (5 if per == "run" else 5 + 4 + 4 + 4 + 2)
    run = library.load(WHOLE)
    if per == "run":
        row = rows[0]
        np.testing.assert_array_equal(np.asarray(row["image"]), run.images[0])
        np.testing.assert_array_equal(np.asarray(row["more_images"][0]), run.images[1])
        shown = [picture for step in run.steps if step.preview is not None for picture in step.preview]
        assert row["preview_steps"] == [1, 1, 3, 3, 4, 4]
        for picture, pixels in zip(row["previews"], shown, strict=True):
            np.testing.assert_array_equal(np.asarray(picture), pixels)
        assert [r["image"] is None for r in rows] == [False, False, False, True, True]
    else:
        own = [row for row in rows if row["run_id"] == WHOLE]
        assert [row["step"] for row in own] == [0, 1, 2, 3, 4]
        assert [row["preview"] is None for row in own] == [True, False, True, False, False]
        np.testing.assert_array_equal(np.asarray(own[3]["preview"]), run.steps[2].preview[0])
        np.testing.assert_array_equal(np.asarray(own[3]["more_previews"][0]), run.steps[2].preview[1])
        np.testing.assert_array_equal(np.asarray(own[4]["image"]), run.images[0])
        assert own[0]["image"] is None


def test_columns_are_typed_and_true(loaded, library):
    per, rows = loaded
    run = library.load(WHOLE)
    row = rows[0]
    for name, value in run.params.to_dict().items():
        assert row[name] == value
        assert type(row[name]) is type(value)
    assert (row["status"], row["created"]) == ("complete", run.created)
    if per == "run":
        assert (row["name"], row["tags"], row["note"]) == (
            "The first",
            ["a tag", "<i>"],
            "a note\nof two lines",
        )
        assert (row["steps"], row["total_steps"], row["seconds"], row["initial_sigma"]) == (4, 4, 1.25, 14.6)
        assert row["timesteps"] == [step.timestep for step in run.steps]
        assert row["sigmas"] == [step.sigma for step in run.steps]
        assert row["metrics"]["norm"] == [step.metrics["norm"] for step in run.steps]
        assert np.isnan(row["metrics"]["cosine"][1])
        assert row["metrics"]["cosine_to_end"] == [step.metrics["cosine_to_end"] for step in run.steps]
        assert [r["steps"] for r in rows] == [4, 4, 4, 2, 0]
    else:
        assert (row["timestep"], row["sigma"], row["metrics"]["norm"]) == (None, 14.6, None)
        for row, step in zip(rows[1:5], run.steps, strict=True):
            assert (row["timestep"], row["sigma"], row["x0_gain"]) == (
                step.timestep,
                step.sigma,
                step.x0_gain,
            )
            assert row["metrics"]["norm"] == step.metrics["norm"]


def test_tensors_are_read_by_safetensors(loaded, library):
    per, rows = loaded
    for run_id in (WHOLE, PACKED):
        run = library.load(run_id)
        own = [row for row in rows if row["run_id"] == run_id]
        if per == "run":
            assert load(own[0]["latents"])["latents"].tobytes() == run.latents.tobytes()
            predictions = load(own[0]["predictions"])
            assert predictions["noise_pred"].dtype == np.float16
            assert np.array_equal(
                predictions["noise_pred"], np.stack([run.steps[i].noise_pred for i in (1, 3)])
            )
            # The last step is in another precision.
            assert np.array_equal(predictions["x0_pred.2"], run.steps[3].x0_pred[None], equal_nan=True)
            start = load(own[0]["latents"])["start_latents"]
            assert start.tobytes() == run.steps[2].start_latents.tobytes()
            for name, other in run.steps[1].other_preds.items():
                assert predictions[f"other_preds/{name}"].tobytes() == other.tobytes()
        else:
            states = np.concatenate([load(row["latents"])["latents"] for row in own])
            assert states.tobytes() == run.latents.tobytes()
            assert own[0]["predictions"] is None
            assert set(load(own[1]["predictions"])) == {"x0_pred"}
            assert [set(load(row["latents"])) - {"latents"} for row in own] == [
                {"start_latents"} if row["step"] == 3 else set() for row in own
            ]
            others = {"other_preds/image", "other_preds/perturbed"}
            assert set(load(own[2]["predictions"])) == {"x0_pred", "noise_pred"} | others
    bare = [row for row in rows if row["run_id"] == BARE]
    if per == "run":
        assert load(bare[0]["latents"])["latents"].shape == (1, 2, 4, 8, 8)
    else:
        assert [row["latents"] is None for row in bare] == [False, True, True, True, True]


def test_the_card(exported):
    _, folder = exported
    card = (folder / "README.md").read_text(encoding="utf-8")
    _, head, body = card.split("---\n", 2)
    about = yaml.safe_load(head)
    assert (about["license"], about["pretty_name"]) == ("cc0-1.0", "Circles")
    assert "diffusion-atlas" in about["tags"]
    files = about["configs"][0]["data_files"]
    assert files == [{"split": "train", "path": "data/train-*.parquet"}]
    assert body.lstrip().startswith("# Circles\n\nText.")
    assert "contact_sheet.png" in body
    assert "diffatlas dataset import" in body
    assert "CC0 1.0" in body
    for run_id in ALL:
        assert run_id in body
    # Every column is described.
    schema = pq.read_schema(folder / "data" / "train-00000-of-00001.parquet")
    assert [name for name in schema.names if f"`{name}`" not in body] == []


def test_a_prompt_is_no_markup_in_the_card(exported):
    body = (exported[1] / "README.md").read_text(encoding="utf-8")
    assert "<b>" not in body
    assert "<script" not in body
    assert "](http" not in body
    assert "&lt;b&gt;red&lt;/b&gt;" in body
    assert r"\*\*bold\*\*" in body
    row = next(line for line in body.splitlines() if WHOLE in line)
    assert row.replace(r"\|", "").count("|") == 9


def test_bare_addresses_are_no_links_in_the_card():
    shown = dataset_card.as_text("http://evil.example www.evil.example WWW.evil.example me@evil.example")
    assert shown == r"http\://evil.example www\.evil.example WWW\.evil.example me\@evil.example"


def test_a_title_is_one_line_of_yaml(library, tmp_path):
    title = "a: b\n---\nlicense: evil # \u202e<script>"
    export_dataset(library, tmp_path / "d", [EARLY], title=title)
    card = (tmp_path / "d" / "README.md").read_text(encoding="utf-8")
    about = yaml.safe_load(card.split("---\n")[1])
    assert about["license"] == "cc-by-4.0"
    assert about["pretty_name"] == "a: b --- license: evil # <script>"
    assert "<script>" not in card.split("\n---\n", 1)[1]


def test_the_contact_sheet_shows_the_runs(exported, library):
    sheet = np.asarray(Pictures.open(exported[1] / "contact_sheet.png"))
    tile, gap = dataset_card.TILE, dataset_card.GAP
    # Two previewed runs and two more lines, of which the widest has three previews and the final image.
    assert sheet.shape == (4 * (tile + gap) + gap, 4 * (tile + gap) + gap, 3)
    run = library.load(WHOLE)
    shown = [run.steps[i].preview[0] for i in (0, 2, 3)] + [run.images[0]]
    for column, pixels in enumerate(shown):
        left = gap + column * (tile + gap)
        big = pixels.repeat(tile // 16, axis=0).repeat(tile // 16, axis=1)
        np.testing.assert_array_equal(sheet[gap : gap + tile, left : left + tile], big)


def test_runs_without_pictures_have_no_sheet(library, tmp_path):
    folder = export_dataset(library, tmp_path / "d", [EARLY])
    assert not (folder / "contact_sheet.png").exists()
    assert "contact_sheet" not in (folder / "README.md").read_text()


def test_finals_alone_share_lines(library, tmp_path):
    folder = export_dataset(library, tmp_path / "d", [BARE])
    with Pictures.open(folder / "contact_sheet.png") as sheet:
        assert sheet.size == (dataset_card.TILE + 2 * dataset_card.GAP,) * 2


@pytest.mark.parametrize("per", ["run", "step"])
def test_large_datasets_are_cut_into_files(library, tmp_path, monkeypatch, per):
    monkeypatch.setattr(shards, "GROUP_BYTES", 20_000)
    monkeypatch.setattr(shards, "FILE_BYTES", 40_000)
    folder = export_dataset(library, tmp_path / "d", ALL, per=per)
    files = sorted(path.name for path in (folder / "data").iterdir())
    assert len(files) > 1
    assert files == [f"train-{i:05d}-of-{len(files):05d}.parquet" for i in range(len(files))]
    from datasets import load_dataset

    rows = load_dataset(str(folder), split="train", streaming=True).select_columns(["run_id"])
    assert list(dict.fromkeys(row["run_id"] for row in rows)) == ALL


def test_a_partial_run_goes_out_without_its_process(library, tmp_path):
    from diffatlas.library import Library

    own = Library(tmp_path / "runs")
    list(own.record(events(WHOLE)))
    path = own.folder / WHOLE / "manifest.json"
    manifest = json.loads(path.read_text())
    writer = {"pid": 2**22 + 1, "started": 0.0}
    path.write_text(json.dumps({**manifest, "status": "running", "writer": writer}))
    folder = export_dataset(own, tmp_path / "d", [WHOLE])
    row = pq.read_table(folder / "data" / "train-00000-of-00001.parquet").to_pylist()[0]
    assert row["status"] == "partial"
    assert "writer" not in json.loads(row["manifest"])


def test_a_run_that_is_being_written_waits(tmp_path):
    from diffatlas.library import Library

    own = Library(tmp_path / "runs")
    recording = own.record(events(WHOLE))
    next(recording)
    with pytest.raises(CapabilityError, match="still being written"):
        export_dataset(own, tmp_path / "d", [WHOLE])
    recording.close()
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("ids", "options", "says"),
    [
        ([], {}, "no run"),
        (WHOLE, {}, "no run"),
        ([WHOLE], {"per": "row"}, "'run' or 'step'"),
        ([WHOLE], {"licence": "mine"}, "cc-by-4.0"),
    ],
)
def test_what_cannot_be_asked_is_refused(library, tmp_path, ids, options, says):
    with pytest.raises(InvalidParams, match=says):
        export_dataset(library, tmp_path / "d", ids, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_not_there(library, tmp_path):
    with pytest.raises(RunNotFound):
        export_dataset(library, tmp_path / "d", [WHOLE, "absent"])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(library, tmp_path):
    (tmp_path / "d").mkdir()
    export_dataset(library, tmp_path / "d", [EARLY])
    before = (tmp_path / "d" / "README.md").read_bytes()
    with pytest.raises(InvalidParams, match="exists already"):
        export_dataset(library, tmp_path / "d", [WHOLE])
    assert (tmp_path / "d" / "README.md").read_bytes() == before


def test_a_damaged_run_leaves_nothing(tmp_path):
    own = fill(tmp_path / "runs")
    (own.folder / PACKED / "steps" / "step_0001.safetensors").unlink()
    with pytest.raises(DamagedRun):
        export_dataset(own, tmp_path / "d", [WHOLE, PACKED])
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_full_disk_says_so(library, tmp_path, monkeypatch):
    def write_card(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset_card, "write_card", write_card)
    with pytest.raises(BackendFailure, match="free some space"):
        export_dataset(library, tmp_path / "d", [WHOLE])
    assert list(tmp_path.iterdir()) == []


def test_progress_goes_from_nothing_to_all(library, tmp_path):
    said = []
    export_dataset(
        library, tmp_path / "d", ALL, progress=lambda share, message: said.append((share, message))
    )
    shares = [share for share, _ in said]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert all(message for _, message in said)


KILLED = """
import os, signal, sys
from pathlib import Path
from diffatlas.library import Library
from diffatlas.formats.dataset import shards
from diffatlas.formats.dataset import card as dataset_card
from diffatlas.formats.dataset.write import export_dataset

library, target, ids, moments = Library(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(","), int(sys.argv[4])
import pyarrow, pyarrow.parquet, datasets, huggingface_hub  # before the forks: they are slow

def export(name, die_at):
    # Every line of the export is a moment at which it may die.
    lines = 0
    def trace(frame, event, argument):
        nonlocal lines
        if "diffatlas/formats/dataset" in frame.f_code.co_filename:
            lines += event == "line"
            if lines == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    # Each in a folder of its own: what others left would be more lines.
    export_dataset(library, target / name / "d", ids)
    sys.settrace(None)
    return lines

total = export("whole", None)
for moment in range(moments):
    child = os.fork()
    if child == 0:
        # The last ones die at the last lines, beside the rename.
        die_at = total * moment // 20 if moment < 20 else total - (moments - moment)
        export(f"d{moment}", die_at)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_killed_in_the_middle_no_half_dataset_has_the_name(library, tmp_path):
    """30 children die at lines spread over the export: what has the final name is a whole dataset."""
    target = tmp_path / "out"
    target.mkdir()
    code = [sys.executable, "-c", KILLED, str(library.folder), str(target), ",".join([PACKED, STOPPED]), "30"]
    done = subprocess.run(code, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    ends = [int(line) for line in done.stdout.split()]
    assert ends.count(-signal.SIGKILL) >= 20, done.stderr
    whole = {path.relative_to(target / "whole") for path in (target / "whole" / "d").rglob("*")}
    there = [folder for folder in target.iterdir() if (folder / "d").exists()]
    for folder in there:
        assert {path.relative_to(folder) for path in (folder / "d").rglob("*")} == whole
        assert pq.read_table(folder / "d" / "data" / "train-00000-of-00001.parquet").num_rows == 2
    # Some died after the rename, most before.
    assert 2 <= len(there) <= 20
    # What one left, a later export of that name sweeps, once it is old.
    left = next(path for path in target.glob("d*/.d-*") if not (path.parent / "d").exists())
    os.utime(left, (0, 0))
    export_dataset(library, left.parent / "d", [EARLY])
    assert [path.name for path in left.parent.iterdir()] == ["d"]


def test_prompts_are_strings_as_they_are(exported):
    _, folder = exported
    prompts = pq.read_table(folder / "data" / "train-00000-of-00001.parquet", columns=["prompt"])["prompt"]
    assert set(prompts.to_pylist()) == {PROMPT}


def test_the_hub_is_told_which_columns_are_pictures(exported):
    per, folder = exported
    schema = pq.read_schema(folder / "data" / "train-00000-of-00001.parquet")
    told = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    pictures = ["image", "preview"] if per == "step" else ["image"]
    assert all(told[name]["_type"] == "Image" for name in pictures)
    row = (
        pq.read_table(folder / "data" / "train-00000-of-00001.parquet")
        .slice(0, 5)
        .to_pylist()[-1 if per == "step" else 0]
    )
    assert row["image"]["path"] is None
    assert Pictures.open(io.BytesIO(row["image"]["bytes"])).format == "PNG"
