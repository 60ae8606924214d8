"""Studies in datasets: they open again where their runs are imported, as what they were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from diffatlas.errors import BackendFailure, CapabilityError, InvalidParams, RunNotFound
from diffatlas.formats.dataset.read import import_all, import_dataset
from diffatlas.formats.dataset.write import export_dataset
from diffatlas.library import Library, study_lock
from diffatlas.library.studies import Studies
from diffatlas.library.study import Study
from diffatlas.params import Noise
from tests.library.made_runs import made
from tests.studies.made_studies import Making

SEEN = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


def path_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(4, 4, 4, 4)).astype(np.float32)


def sweep_in(library: Library) -> Study:
    """A sweep in two lanes: runs, a cell whose picture alone is kept, and one that failed."""
    making = Making(
        library, "sweep", ("a", "b"), field="guidance_scale", values=[1.0, 3.0, 7.5], baseline=1, seeds=1,
        base={"model": "shapes", "prompt": "a red circle", "seed": 3},
    )  # fmt: skip
    for column, value in enumerate((1.0, 3.0, 7.5)):
        making.add("a", 0, column, value, path_of(column), SEEN, guidance_scale=value)
    making.add("b", 0, 0, 1.0, None, SEEN)
    making.add("b", 0, 1, 3.0, path_of(9), SEEN, status="failed")
    making.add("b", 0, 2, 7.5, path_of(5), SEEN, guidance_scale=7.5)
    study = making.study()
    failed = {"code": "backend_failure", "message": "It broke.", "field": None}
    study = study.with_cell("b-0-1", error=failed, seconds=0.5).with_cell("a-0-1", cached=True, batched=True)
    library.studies.save(study)
    return study


def neighbourhood_in(library: Library) -> Study:
    """A neighbourhood of branches: runs that go on from a step of another with other noise."""
    base = library.save(made(40))
    making = Making(library, "neighbourhood", ("a",), mode="perturb", k=2, radius=0.3, step=2, seeds=1)
    for column in range(3):
        noise = Noise("perturb", 100 + column, 0.3, 2) if column else None
        making.add("a", 0, column, 0.3, path_of(20 + column), SEEN, noise=noise, run_id=f"branch-{column}")
    assert base
    study = replace(making.study(), id="20260131-130000-0000abcd", title="around it")
    library.studies.save(study)
    return study


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "own")


def runs_of(*studies: Study) -> list[str]:
    return [cell.run_id for study in studies for cell in study.cells if cell.run_id]


def test_a_study_opens_again_with_its_runs(library: Library, tmp_path: Path) -> None:
    sweep, around = sweep_in(library), neighbourhood_in(library)
    library.studies.rename(sweep.id, "Three scales")
    study_lock.lock(library.studies, sweep.id, True)
    folder = export_dataset(library, tmp_path / "d", [], studies=[sweep.id, around.id])
    back = Library(tmp_path / "back")
    found = import_all(back, folder)
    assert found.runs == runs_of(sweep, around)
    assert found.studies == [sweep.id, around.id]
    assert back.studies.open(around.id) == library.studies.open(around.id) == around
    assert (
        back.studies.open(sweep.id) == library.studies.open(sweep.id) == replace(sweep, title="Three scales")
    )
    np.testing.assert_array_equal(back.studies.image(sweep.id, "b-0-0"), SEEN)
    assert study_lock.is_locked(back.studies, sweep.id)
    assert not study_lock.is_locked(back.studies, around.id)
    assert [info.id for info in back.studies.list("sweep")] == [sweep.id]
    # A branch says what it branched off from.
    assert back.open("branch-2").params.noise == Noise("perturb", 102, 0.3, 2)
    for run_id in runs_of(sweep, around):
        assert back.load(run_id).latents.tobytes() == library.load(run_id).latents.tobytes()
    # Once more, here and where it came from.
    for one in (back, library):
        again = import_all(one, folder)
        assert (again.runs, again.studies) == ([], [])
        assert one.studies.count == 2


def test_a_study_whose_runs_are_all_there_goes_along(library: Library, tmp_path: Path) -> None:
    sweep, around = sweep_in(library), neighbourhood_in(library)
    other = library.save(made(50))
    folder = export_dataset(library, tmp_path / "d", [*runs_of(sweep), runs_of(around)[0], other])
    assert import_all(Library(tmp_path / "back"), folder).studies == [sweep.id]
    bare = export_dataset(library, tmp_path / "bare", runs_of(sweep), studies=[])
    assert not (bare / "studies").exists()
    # Runs that were deleted since are none that it needs.
    library.delete(runs_of(sweep)[0])
    fewer = export_dataset(library, tmp_path / "fewer", runs_of(sweep)[1:])
    back = Library(tmp_path / "third")
    assert import_all(back, fewer).studies == [sweep.id]
    assert back.studies.open(sweep.id) == sweep


def test_a_study_without_a_run(library: Library, tmp_path: Path) -> None:
    making = Making(library, "sweep", ("a",), field="seed", values=[1], baseline=0, seeds=1)
    making.add("a", 0, 0, 1, None, SEEN)
    study = making.study()
    library.studies.save(study)
    folder = export_dataset(library, tmp_path / "d", [], studies=[study.id])
    back = Library(tmp_path / "back")
    found = import_all(back, folder)
    assert (found.runs, found.studies) == ([], [study.id])
    np.testing.assert_array_equal(back.studies.image(study.id, "a-0-0"), SEEN)


def test_runs_that_get_another_id_are_those_of_the_study(library: Library, tmp_path: Path) -> None:
    sweep = sweep_in(library)
    folder = export_dataset(library, tmp_path / "d", runs_of(sweep))
    back = Library(tmp_path / "back")
    taken = runs_of(sweep)[1]
    back.save(made(77, run_id=taken))
    found = import_all(back, folder)
    study = back.studies.open(sweep.id)
    (renamed,) = set(found.runs) - set(runs_of(sweep))
    assert study.cell("a-0-1").run_id == renamed
    assert renamed.startswith(f"{taken}-")
    assert back.load(renamed).latents.tobytes() == library.load(taken).latents.tobytes()
    again = import_all(back, folder)
    assert (again.runs, again.studies) == ([], [])


def test_another_study_of_that_id_stays(library: Library, tmp_path: Path) -> None:
    sweep = sweep_in(library)
    folder = export_dataset(library, tmp_path / "d", runs_of(sweep))
    back = Library(tmp_path / "back")
    mine = replace(sweep, status="failed", title="mine")
    back.studies.save(mine)
    (new,) = import_all(back, folder).studies
    assert new.startswith(f"{sweep.id}-")
    assert back.studies.open(sweep.id) == mine
    assert back.studies.open(new) == replace(sweep, id=new)
    assert import_all(back, folder).studies == []


def test_a_study_that_was_running_in_a_process_that_is_gone(library: Library, tmp_path: Path) -> None:
    sweep = sweep_in(library)
    path = library.studies.folder / sweep.id / "study.json"
    told = json.loads(path.read_text())
    told |= {"status": "running", "writer": {"pid": 2**22 + 1, "started": 0}}
    told["cells"][0]["status"] = "running"
    path.write_text(json.dumps(told))
    folder = export_dataset(library, tmp_path / "d", [], studies=[sweep.id])
    back = Library(tmp_path / "back")
    import_dataset(back, folder)
    study = back.studies.open(sweep.id)
    assert (study.status, study.cells[0].status) == ("stopped", "stopped")
    assert "writer" not in (back.studies.folder / sweep.id / "study.json").read_text()


def test_a_study_that_runs_now_waits(library: Library, tmp_path: Path) -> None:
    sweep = sweep_in(library)
    with library.studies.running(sweep.id):
        library.studies.save(replace(sweep, status="running"))
        with pytest.raises(CapabilityError, match="still running"):
            export_dataset(library, tmp_path / "d", [], studies=[sweep.id])
        folder = export_dataset(library, tmp_path / "e", runs_of(sweep))
    assert not (folder / "studies").exists()


def test_others_read_which_run_is_which_cell(library: Library, tmp_path: Path) -> None:
    sweep = sweep_in(library)
    folder = export_dataset(library, tmp_path / "d", runs_of(sweep))
    (row,) = pq.read_table(folder / "studies").to_pylist()
    assert (row["study_id"], row["operation"], row["title"]) == (sweep.id, "sweep", "a study")
    assert row["runs"] == runs_of(sweep)
    assert [(c["cell"], c["label"], c["status"], c["run_id"]) for c in row["cells"]] == [
        (c.key, c.label, c.status, c.run_id) for c in sweep.cells
    ]
    assert row["image_cells"] == ["b-0-0"]
    from datasets import load_dataset

    (shown,) = load_dataset(str(folder), "studies", split="train", cache_dir=str(tmp_path / "cache"))
    np.testing.assert_array_equal(np.asarray(shown["images"][0]), SEEN)
    card = (folder / "README.md").read_text()
    assert "studies that they are of come back" in card
    assert [name for name in row if f"`{name}`" not in card] == []


@pytest.mark.parametrize(
    ("studies", "error", "says"),
    [
        (["absent"], RunNotFound, "no study"),
        (["../x"], RunNotFound, "cannot be the id"),
        ("absent", InvalidParams, "list"),
    ],
)
def test_a_study_that_is_not_there(
    library: Library, tmp_path: Path, studies: object, error: type, says: str
) -> None:
    with pytest.raises(error, match=says):
        export_dataset(library, tmp_path / "d", [], studies=studies)
    assert not (tmp_path / "d").exists()


def test_what_cannot_be_moved_in_leaves_nothing(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second study meets a full disk: the runs and the first are taken out again."""
    sweep, around = sweep_in(library), neighbourhood_in(library)
    folder = export_dataset(library, tmp_path / "d", [], studies=[sweep.id, around.id])
    save = Studies.save

    def full(studies: Studies, study: Study) -> None:
        if study.id == around.id:
            raise BackendFailure("The study cannot be written: free some space.")
        save(studies, study)

    monkeypatch.setattr(Studies, "save", full)
    back = Library(tmp_path / "back")
    with pytest.raises(BackendFailure, match="free some space"):
        import_all(back, folder)
    assert back.list() == []
    assert back.studies.list() == []
