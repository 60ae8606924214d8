"""Datasets of runs with anything in them: each gives whole runs, or one sentence and nothing in the library."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffatlas import cli
from diffatlas.errors import BackendFailure, InvalidParams
from diffatlas.formats.dataset import read as dataset_import
from diffatlas.formats.dataset import rows as dataset_rows
from diffatlas.formats.dataset.read import import_dataset
from diffatlas.formats.dataset.schema import RUN_COLUMNS, RefusedDataset
from diffatlas.formats.dataset.write import export_dataset
from diffatlas.library import Library
from tests.formats.dataset.dataset_runs import PACKED, WHOLE, events
from tests.hostile import HOSTILE, bounded, damaged, with_another_part
from tests.spoken import Spoken

FILE = "data/train-00000-of-00001.parquet"
RUNS = [PACKED, WHOLE]
#: Of a picture or of tensors: what may stand in their place.
BLOBS = st.one_of(st.none(), st.binary(max_size=40), st.just(b"\x89PNG\r\n\x1a\n" + b"\xff" * 40))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dataset with a row for each run, and one with a row for each state."""
    room = tmp_path_factory.mktemp("sources")
    own = Library(room / "own")
    for run in (events(PACKED, shape=(1, 16, 64), steps=3), events(WHOLE, steps=3)):
        list(own.record(run))
    own.mark(WHOLE, name="it", tags=["a"], note="b")
    return {per: export_dataset(own, room / per, RUNS, per=per) for per in ("run", "step")}


@pytest.fixture(scope="module")
def rows(sources: dict[str, Path]) -> dict[str, list[dict[str, Any]]]:
    return {per: list(dataset_rows.rows(folder / FILE, 10**9)) for per, folder in sources.items()}


def refused(source: Path, library: Library) -> RefusedDataset | None:
    try:
        import_dataset(library, source)
    except RefusedDataset as refusal:
        return refusal
    return None


def outcome(source: Path, library: Library) -> RefusedDataset | None:
    """Import a dataset: return how it was refused, after which there is nothing; else every run is whole."""
    refusal = refused(source, library)
    if refusal is not None:
        assert refusal.message.startswith(("The dataset is not", "This is not a dataset"))
        assert "\n" not in refusal.message
        assert len(refusal.message) < 700
        assert not library.list()
        assert not [path for path in library.folder.rglob("*") if path.is_dir()]
        return refusal
    for info in library.list():
        assert library.check(info.id).status in ("complete", "stopped", "failed", "partial")
        run = library.load(info.id)
        assert all(image.ndim == 3 for image in run.images)
        assert library.open(info.id).params.to_dict()
    return None


def emptied(library: Library) -> None:
    shutil.rmtree(library.folder, ignore_errors=True)


def json_with_another_part(data: st.DataObject, text: str) -> str:
    return json.dumps(with_another_part(data, json.loads(text), HOSTILE))


def header_with_another_part(data: st.DataObject, blob: bytes) -> bytes:
    length = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + length])
    header["__metadata__"]["steps"] = json.loads(header["__metadata__"]["steps"])
    header = with_another_part(data, header, HOSTILE)
    if isinstance(header.get("__metadata__"), dict):
        header["__metadata__"] = {k: json.dumps(v) for k, v in header["__metadata__"].items()}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + blob[8 + length :]


def another(data: st.DataObject, name: str, value: Any) -> Any:
    """What may stand in a column instead of a value, of the type that the column has."""
    if name == "step":
        return data.draw(st.sampled_from([None, -1, 0, 1, 7, 2**31 - 1, 2**63 - 1]))
    if name in ("more_images", "previews", "more_previews", "inputs"):
        pictures = [*value, None]
        at = data.draw(st.integers(0, len(pictures) - 1))
        pictures[at] = another(data, "image", pictures[at] or b"")
        return pictures if data.draw(st.booleans()) else pictures[:at]
    if name in ("image", "preview", "latents", "predictions"):
        if not value:
            return data.draw(BLOBS)
        how = data.draw(
            st.sampled_from(
                ["other", "damaged", *(["header"] if name[0] in "lp" and name != "preview" else [])]
            )
        )
        if how == "header":
            return header_with_another_part(data, value)
        return damaged(data, value) if how == "damaged" else data.draw(BLOBS)
    if name in ("manifest", "marks", "steps_jsonl") and value and data.draw(st.booleans()):
        if name != "steps_jsonl":
            return json_with_another_part(data, value)
        lines = value.splitlines()
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at] = json_with_another_part(data, lines[at])
        return "".join(f"{line}\n" for line in lines)
    return data.draw(
        st.sampled_from(
            [
                None,
                "",
                "x",
                "../x",
                "{}",
                "[]",
                "null",
                "[" * 5000,
                "9" * 5000,
                '{"a":1e999}',
                "\0",
                "é" * 300,
            ]
        )
    )


@pytest.mark.parametrize("per", ["run", "step"])
@bounded(40)
@given(data=st.data())
def test_a_row_with_anything_in_it(
    per: str,
    sources: dict[str, Path],
    rows: dict[str, list[dict[str, Any]]],
    tmp_path_factory: Any,
    data: st.DataObject,
) -> None:
    """What the process that reads has read; the file itself is damaged below."""
    told = [dict(row) for row in rows[per]]
    row = data.draw(st.sampled_from(told))
    name = data.draw(st.sampled_from(sorted(row)))
    row[name] = another(data, name, row[name])
    library = Library(tmp_path_factory.mktemp("runs") / "library")

    def given_rows(file: Path, limit: int, table: str) -> Iterator[dict[str, Any]]:
        yield from told

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset_import, "rows", given_rows)
        outcome(sources[per], library)
    emptied(library)


@bounded(6)
@given(data=st.data())
def test_a_file_that_is_damaged_anywhere(
    sources: dict[str, Path], tmp_path_factory: Any, data: st.DataObject
) -> None:
    room = tmp_path_factory.mktemp("damaged")
    shutil.copytree(sources["run"], room / "d")
    path = room / "d" / data.draw(st.sampled_from([FILE, FILE, FILE, "README.md"]))
    path.write_bytes(damaged(data, path.read_bytes()))
    refusal = outcome(room / "d", Library(room / "library"))
    assert refusal is None or path.name != "README.md"


@bounded(5)
@given(data=st.data())
def test_a_column_of_another_type_or_none(
    sources: dict[str, Path], tmp_path_factory: Any, data: st.DataObject
) -> None:
    import pyarrow as pa

    room = tmp_path_factory.mktemp("columns")
    shutil.copytree(sources["run"], room / "d")
    table = pq.read_table(room / "d" / FILE)
    name = data.draw(st.sampled_from(RUN_COLUMNS))
    at = table.schema.get_field_index(name)
    values = data.draw(
        st.sampled_from(
            [
                None,
                [1, 2],
                ["a", "b"],
                [b"a", b"b"],
                [1.5, None],
                [True, False],
                [[1], []],
                [{"bytes": 1}, None],
                [None, None],
            ]
        )
    )
    table = table.remove_column(at) if values is None else table.set_column(at, name, pa.array(values))
    pq.write_table(table, room / "d" / FILE)
    assert outcome(room / "d", Library(room / "library")) is not None


def test_folders_without_end(sources: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(sources["run"], tmp_path / "d")
    deep = tmp_path / "d" / "/".join("a" * 100)
    deep.mkdir(parents=True)
    assert "folders" in outcome(tmp_path / "d", Library(tmp_path / "library")).message


@pytest.mark.parametrize("source", ["~nobody/x", "a\0b", "x" * 5000, "\ud800", "?", "/dev/zero"])
def test_a_source_that_is_none(tmp_path: Path, source: str) -> None:
    with pytest.raises(InvalidParams, match="is not there to import"):
        import_dataset(Library(tmp_path / "library"), source)


def test_a_run_that_cannot_come_in_takes_the_others_with_it(sources: dict[str, Path], tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    import_dataset(library, sources["run"])
    library.delete(PACKED)
    # The name of the second is taken, and so is the name that it would have instead.
    (library.folder / WHOLE / "images" / "image_00.png").write_bytes(b"x")
    import_dataset(library, sources["run"])
    other = next(info.id for info in library.list() if info.id.startswith(f"{WHOLE}-"))
    (library.folder / other / "manifest.json").write_text("{")
    library.delete(PACKED)
    with pytest.raises(BackendFailure, match="delete it"):
        import_dataset(library, sources["run"])
    assert {info.id for info in library.list()} == {WHOLE, other}


def test_the_shell_and_the_page_say_it_in_a_sentence(
    sources: dict[str, Path], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffatlas.ui.layers import Layers
    from diffatlas.ui.libraries import Libraries
    from diffatlas.ui.library_services import LibraryServices
    from diffatlas.ui.turns import Turns

    bad = tmp_path / "d"
    shutil.copytree(sources["run"], bad)
    (bad / FILE).write_bytes((bad / FILE).read_bytes()[:-20])
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "runs"))
    code = cli.run(["dataset", "import", str(bad)])
    said = capsys.readouterr().err.splitlines()[-1]
    assert (code, said.startswith("error: The dataset is not imported")) == (2, True)
    libraries = Libraries(tmp_path / "pages", False)
    services = Spoken(LibraryServices(libraries, Layers(libraries), None, {}, Turns()))
    job = services.import_("v" * 32, {"source": str(bad)})["job"]
    for _ in range(600):
        state = services.job("v" * 32, {"job": job})
        if state["done"]:
            break
        time.sleep(0.02)
    assert state["error"]["message"] == said.removeprefix("error: ")
