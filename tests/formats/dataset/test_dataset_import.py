import json
import shutil
from dataclasses import replace

import pytest

from diffatlas.errors import BackendFailure, InvalidParams
from diffatlas.formats.dataset import read as dataset_import
from diffatlas.formats.dataset import shards
from diffatlas.formats.dataset.read import import_dataset
from diffatlas.formats.dataset.write import export_dataset
from diffatlas.library import Library
from tests.formats.dataset.dataset_runs import (
    BARE,
    EARLY,
    PACKED,
    PROMPT,
    STOPPED,
    WHOLE,
    events,
    files,
    fill,
)

ALL = [WHOLE, PACKED, BARE, STOPPED, EARLY]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module", params=["run", "step"])
def folder(request, library, tmp_path_factory):
    return export_dataset(library, tmp_path_factory.mktemp("out") / "d", ALL, per=request.param)


def assert_same_run(a, b):
    """Every file is the same to the byte; the manifest says the same and that it was imported."""
    ours, theirs = files(a), files(b)
    one, other = json.loads(ours.pop("manifest.json")), json.loads(theirs.pop("manifest.json"))
    assert ours == theirs
    assert other.pop("imported") is True
    for manifest in (one, other):
        manifest.pop("key", None)
    assert one == other


def test_runs_come_back_to_the_byte(library, folder, tmp_path):
    back = Library(tmp_path / "runs")
    assert import_dataset(back, folder) == ALL
    for run_id in ALL:
        assert_same_run(library.folder / run_id, back.folder / run_id)
        run, other = library.load(run_id), back.load(run_id)
        assert repr(replace(run, initial_latents=None, steps=(), images=())) == repr(
            replace(other, initial_latents=None, steps=(), images=())
        )
        assert [repr(step.metrics) for step in run.steps] == [repr(step.metrics) for step in other.steps]
    assert back.load(WHOLE).params.prompt == PROMPT
    assert sorted(path.name for path in back.folder.iterdir() if path.is_dir()) == sorted(ALL)


def test_what_is_there_is_left_alone(folder, tmp_path):
    back = Library(tmp_path / "runs")
    import_dataset(back, folder)
    (back.folder / WHOLE / "marks.json").write_text('{"name": "mine"}')
    assert import_dataset(back, str(folder)) == []
    assert (back.folder / WHOLE / "marks.json").read_text() == '{"name": "mine"}'


def test_an_id_that_is_taken(library, folder, tmp_path):
    back = Library(tmp_path / "runs")
    list(back.record(events(WHOLE, seed=77)))
    before = files(back.folder / WHOLE)
    new, *others = import_dataset(back, folder)
    assert others == ALL[1:]
    assert new.startswith(f"{WHOLE}-")
    assert files(back.folder / WHOLE) == before
    assert back.load(new).id == new
    assert back.load(new).latents.tobytes() == library.load(WHOLE).latents.tobytes()
    # Once more: it is known by then.
    assert import_dataset(back, folder) == []


def test_into_the_library_that_it_came_from(library, folder):
    assert import_dataset(library, folder) == []


def test_an_imported_run_goes_out_and_in_again(folder, tmp_path):
    first, second = Library(tmp_path / "a"), Library(tmp_path / "b")
    import_dataset(first, folder)
    again = export_dataset(first, tmp_path / "again", ALL)
    assert import_dataset(second, again) == ALL
    for run_id in ALL:
        assert files(first.folder / run_id) == files(second.folder / run_id)


def test_runs_over_several_files(library, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "GROUP_BYTES", 10_000)
    monkeypatch.setattr(shards, "FILE_BYTES", 20_000)
    folder = export_dataset(library, tmp_path / "d", ALL, per="step")
    assert len(list((folder / "data").iterdir())) > 3
    back = Library(tmp_path / "runs")
    assert import_dataset(back, folder) == ALL
    assert_same_run(library.folder / WHOLE, back.folder / WHOLE)


def test_no_key_comes_along(tmp_path):
    """A stranger's file must not answer a query that would be run here."""
    own = Library(tmp_path / "own")
    started, *rest = events(WHOLE)
    list(own.record(iter([replace(started, provenance={**started.provenance, "key": "f" * 64}), *rest])))
    path = own.folder / WHOLE / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "key": "f" * 64}))
    folder = export_dataset(own, tmp_path / "d", [WHOLE])
    back = Library(tmp_path / "runs")
    import_dataset(back, folder)
    text = (back.folder / WHOLE / "manifest.json").read_text()
    assert "f" * 64 not in text
    # It is the same run all the same.
    assert import_dataset(own, folder) == []


def test_a_partial_run_stays_partial(tmp_path):
    own = Library(tmp_path / "own")
    list(own.record(events(WHOLE)))
    path = own.folder / WHOLE / "manifest.json"
    manifest = {
        **json.loads(path.read_text()),
        "status": "running",
        "writer": {"pid": 2**22 + 1, "started": 0},
    }
    path.write_text(json.dumps(manifest))
    back = Library(tmp_path / "runs")
    import_dataset(back, export_dataset(own, tmp_path / "d", [WHOLE]))
    assert back.open(WHOLE).status == "partial"
    assert back.load(WHOLE).latents.tobytes() == own.load(WHOLE).latents.tobytes()


@pytest.mark.parametrize("source", ["nowhere", "/nowhere/at/all", "a/b/c", "", "user/na me", "user/../x"])
def test_a_source_that_is_none(tmp_path, source, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if source == "":
        source = "./absent"
    with pytest.raises(InvalidParams, match="not there to import"):
        import_dataset(Library(tmp_path / "runs"), source)


def test_folders_are_for_the_owner_of_the_machine(folder, tmp_path):
    with pytest.raises(InvalidParams, match="on the Hub as user/name"):
        import_dataset(Library(tmp_path / "runs"), folder, local=False)


def test_a_full_disk_leaves_nothing(folder, tmp_path, monkeypatch):
    def write(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset_import, "write_manifest", write)
    back = Library(tmp_path / "runs")
    with pytest.raises(BackendFailure, match="free some space"):
        import_dataset(back, folder)
    assert [path.name for path in back.folder.iterdir() if path.is_dir()] == []


def test_columns_that_others_added_do_no_harm(library, tmp_path):
    import pyarrow.parquet as pq

    folder = export_dataset(library, tmp_path / "d", [PACKED])
    path = folder / "data" / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("score", [[0.5]]).drop_columns(["prompt"]), path)
    assert import_dataset(Library(tmp_path / "runs"), folder) == [PACKED]


def test_progress_ends_at_one(folder, tmp_path):
    said = []
    import_dataset(Library(tmp_path / "runs"), folder, progress=lambda share, message: said.append(share))
    assert said == sorted(said)
    assert said[-1] == 1.0


def test_the_folder_is_only_read(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    before = files(copy)
    import_dataset(Library(tmp_path / "runs"), copy)
    assert files(copy) == before
