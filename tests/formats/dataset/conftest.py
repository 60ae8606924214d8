"""Datasets that tests damage, and one way to see that they are refused."""

import shutil
from pathlib import Path

import pytest

from diffatlas.formats.dataset import rows as dataset_rows
from diffatlas.formats.dataset.read import import_dataset
from diffatlas.formats.dataset.schema import RefusedDataset
from diffatlas.formats.dataset.write import export_dataset
from diffatlas.library import Library
from tests.formats.dataset.dataset_runs import PACKED, WHOLE, events
from tests.formats.dataset.forked_reader import ForkedReader, Server


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Return a dataset of two runs and one of their steps; each test has copies."""
    room = tmp_path_factory.mktemp("exported")
    library = Library(room / "own")
    for run in (events(PACKED, shape=(1, 16, 64), steps=3), events(WHOLE, steps=3)):
        list(library.record(run))
    export_dataset(library, room / "d", [PACKED, WHOLE])
    export_dataset(library, room / "s", [PACKED, WHOLE], per="step")
    return room


@pytest.fixture
def folder(exported, tmp_path):
    return Path(shutil.copytree(exported / "d", tmp_path / "d"))


@pytest.fixture
def states(exported, tmp_path):
    return Path(shutil.copytree(exported / "s", tmp_path / "s"))


@pytest.fixture
def refused(tmp_path, folder):
    """Import the folder and return why not; the library stays empty and nothing is written outside of it."""

    def check(what=folder, **options):
        before = {path for path in tmp_path.rglob("*") if "runs" not in path.parts}
        library = Library(tmp_path / "runs")
        with pytest.raises(RefusedDataset) as caught:
            import_dataset(library, what, **options)
        assert library.list() == []
        assert [path for path in library.folder.rglob("*") if path.is_dir()] == []
        assert {path for path in tmp_path.rglob("*") if "runs" not in path.parts} == before
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < 500
        return message

    return check


@pytest.fixture(scope="session")
def reader_server():
    server = Server(dataset_rows.parquet_process.__file__)
    yield server
    server.close()


@pytest.fixture
def ready_reader(monkeypatch, reader_server):
    """Have datasets read by forks of one process: importing pyarrow for each is most of what an import costs."""
    monkeypatch.setattr(
        dataset_rows.subprocess,
        "Popen",
        lambda command, **options: ForkedReader(reader_server, command, **options),
    )
