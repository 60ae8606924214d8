"""What a stranger may write into the tables of attention and studies: each is refused, and nothing comes in."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from diffatlas.formats.dataset import read as dataset_import
from diffatlas.formats.dataset import rows as dataset_rows
from diffatlas.formats.dataset.read import Imported, import_all, import_dataset
from diffatlas.formats.dataset.schema import COLUMNS, RefusedDataset
from diffatlas.formats.dataset.write import export_dataset
from diffatlas.library import Library
from tests.attended_runs import run_of
from tests.formats.dataset.dataset_damage import png
from tests.formats.dataset.test_dataset_studies import sweep_in
from tests.hostile import HOSTILE, bounded, damaged, with_another_part

pytestmark = pytest.mark.usefixtures("ready_reader")
SHARD = "train-00000-of-00001.parquet"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with all three tables."""
    room = tmp_path_factory.mktemp("whole")
    own = Library(room / "own")
    ids = [own.save(run_of(seed, steps=2, side=4, pixels=16)) for seed in (101, 102)]
    study = sweep_in(own)
    return export_dataset(own, room / "d", ids, studies=[study.id])


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "d"))


def edit(folder: Path, table: str, at: int = 0, **columns: Any) -> None:
    file = folder / table / SHARD
    told = pq.read_table(file)
    rows = told.to_pylist()
    for name, value in columns.items():
        rows[at][name] = value(rows[at][name]) if callable(value) else value
    pq.write_table(pa.Table.from_pylist(rows, schema=told.schema), file)


def reorder(folder: Path, table: str, order: Callable[[list[int]], list[int]]) -> None:
    file = folder / table / SHARD
    told = pq.read_table(file)
    pq.write_table(told.take(pa.array(order(list(range(len(told)))), pa.int64())), file)


def edit_study(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    def apply(text: str) -> str:
        data = json.loads(text)
        change(data)
        return json.dumps(data)

    edit(folder, "studies", study=apply)


def test_the_good_one_comes_in(folder: Path, tmp_path: Path) -> None:
    library = Library(tmp_path / "runs")
    found = import_all(library, folder)
    assert len(found.runs) == 2 + 3 + 1
    assert len(found.studies) == 1
    assert all(library.check(run_id).status == "complete" for run_id in found.runs)


# -- attention --


@pytest.mark.parametrize(
    "blob",
    [
        None,
        b"",
        pickle.dumps(np.zeros(3)),
        (1 << 40).to_bytes(8, "little") + b"{}",
        save({"maps": np.zeros((1, 4, 4), np.float32)}),
        save({"maps": np.zeros((1, 1, 1, 1, 1, 1, 1, 1), np.float32)}),
        save({"maps": np.zeros((1, 0, 4, 4), np.float32)}),
        save({"maps": np.zeros((1, 5, 4, 4), np.int64)}),
        save({"../evil": np.zeros((1, 5, 4, 4), np.float32)}),
        save({"maps": np.zeros((1, 5, 4, 4), np.float32), "more": np.zeros((1, 5, 4, 4), np.float32)}),
        b"\x4c\0\0\0\0\0\0\0"
        + b'{"maps":{"dtype":"F32","shape":[1,99999999,4,4],"data_offsets":[0,4]}}'.ljust(76)
        + bytes(4),
    ],
    ids=range(11),
)
def test_maps_that_are_none(folder: Path, refused: Any, blob: bytes | None) -> None:
    edit(folder, "attention", maps=blob)
    message = refused(folder)
    assert "a map of attention is damaged" in message or "header of its tensors" in message


@pytest.mark.parametrize(
    "columns",
    [
        {"run_id": "../evil"},
        {"run_id": "20260131-120000-00000099"},
        {"run_id": None},
        {"step": 0},
        {"step": -1},
        {"step": 99},
        {"step": 2**31 - 1},
        {"step": None},
        {"kind": "self"},
        {"kind": "../../steps/step_0000"},
        {"kind": None},
        {"layer": "../../../etc/passwd"},
        {"layer": ""},
        {"layer": None},
        {"layer": "up_blocks.0.attn2"},
    ],
)
def test_maps_that_no_step_lists(folder: Path, refused: Any, columns: dict[str, Any]) -> None:
    edit(folder, "attention", **columns)
    assert "that no step lists, or one is there twice or not in order" in refused(folder)


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (lambda rows: rows[1:], "step 1 are missing, or are not in order"),
        (lambda rows: rows[:-1], "step 2 are missing, or are not in order"),
        (lambda rows: [], "its maps of attention are missing"),
        (lambda rows: rows[:4], "its maps of attention are missing"),
        (lambda rows: [*rows[:2], *rows[4:], *rows[2:4]], "step 2 are missing, or are not in order"),
        (lambda rows: [rows[0], *rows], "there twice"),
        (lambda rows: [*rows, rows[-1]], "there twice"),
        (lambda rows: [rows[0], rows[2], rows[1], *rows[3:]], "not in order"),
    ],
    ids=range(8),
)
def test_maps_that_are_missing_or_too_many(folder: Path, refused: Any, order: Any, says: str) -> None:
    reorder(folder, "attention", order)
    assert says in refused(folder)


def test_maps_that_are_listed_and_in_no_table(folder: Path, refused: Any) -> None:
    """Where the table is gone, the runs are not whole."""
    shutil.rmtree(folder / "attention")
    assert "its maps of attention are missing" in refused(folder)


def test_lists_of_maps_that_are_none(folder: Path, refused: Any) -> None:
    def change(text: str) -> str:
        lines = [json.loads(line) for line in text.splitlines()]
        lines[0]["attention"] = ["cross:x", "../evil"]
        return "".join(json.dumps(line) + "\n" for line in lines)

    edit(folder, "data", steps_jsonl=change)
    assert "line 1 of steps.jsonl is damaged" in refused(folder)


def test_maps_that_are_no_numbers_are_maps(folder: Path, tmp_path: Path) -> None:
    """Half precision overflows: what was recorded so comes back so, and the columns beside it are not read."""
    maps = np.full((1, 77, 8, 8), np.nan, np.float16)
    edit(folder, "attention", maps=save({"maps": maps}), entropy=float("nan"), grid=[-5], words=["x"] * 9)
    library = Library(tmp_path / "runs")
    run_id = import_dataset(library, folder)[0]
    key = "cross:down_blocks.0.attn2"
    assert library.open(run_id).attention(0, [key])[key].tobytes() == maps.tobytes()


@pytest.mark.parametrize("table", ["attention", "studies"])
def test_columns_that_are_missing_or_of_another_type(
    folder: Path, tmp_path: Path, refused: Any, table: str
) -> None:
    file = folder / table / SHARD
    told = pq.read_table(file)
    for name in COLUMNS[table][0]:
        pq.write_table(told.drop_columns([name]), file)
        assert "lacks columns" in refused(folder)
        other = pa.array([1.5] * len(told))
        pq.write_table(told.set_column(told.schema.get_field_index(name), name, other), file)
        assert "another type" in refused(folder)


@pytest.mark.parametrize("table", ["attention", "studies"])
def test_a_table_that_is_no_parquet_or_not_whole(folder: Path, refused: Any, table: str) -> None:
    file = folder / table / SHARD
    content = file.read_bytes()
    for data in (b"", content[:-100], pickle.dumps({})):
        file.write_bytes(data)
        assert "no Parquet file" in refused(folder)
    file.write_bytes(content)
    file.rename(file.with_name("train-00000-of-00002.parquet"))
    assert f"some of its files in {table} are missing" in refused(folder)


def test_maps_that_decompress_to_more_than_may_be(folder: Path, refused: Any) -> None:
    zeros = save({"maps": np.zeros((1, 77, 300, 300), np.float32)})
    edit(folder, "attention", maps=zeros)
    assert (folder / "attention" / SHARD).stat().st_size < 3_000_000
    assert "more than 0.01 GB" in refused(folder, limit_bytes=10_000_000)


# -- studies --


@pytest.mark.parametrize("study_id", ["../evil", "/tmp/evil", ".studies", "a/b", "", None, "x" * 200])
def test_an_id_that_leaves_the_folder_of_studies(folder: Path, refused: Any, study_id: Any) -> None:
    edit(folder, "studies", study_id=study_id)
    edit_study(folder, lambda data: data.update(id=study_id))
    assert "letters, digits" in refused(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(id="another"),
        lambda data: data.update(format=2),
        lambda data: data.update(operation="<b>"),
        lambda data: data.update(cells=[]),
        lambda data: data["cells"][0].update(key="../../evil"),
        lambda data: data["cells"][0].update(run_id="../evil"),
        lambda data: data["cells"][0].update(row=10**9),
        lambda data: data["cells"].append(data["cells"][0]),
        lambda data: data["cells"][0]["params"].update(seed=-5),
        lambda data: data.update(lanes=[]),
        lambda data: data["spec"].update(values=[]),
        lambda data: data.pop("spec"),
    ],
    ids=range(12),
)
def test_studies_that_are_none(folder: Path, refused: Any, change: Any) -> None:
    edit_study(folder, change)
    assert "a study cannot be read" in refused(folder)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "null", "[" * 100_000, '{"id": NaN}', "\0"])
def test_text_that_is_no_study(folder: Path, refused: Any, text: str | None) -> None:
    edit(folder, "studies", study=text)
    assert "study" in refused(folder)


@pytest.mark.parametrize(
    "columns",
    [
        {"images": []},
        {"image_cells": []},
        {"image_cells": ["../../evil"]},
        {"image_cells": ["a-0-0"]},
        {"image_cells": ["b-0-0", "b-0-0"], "images": [png(), png()]},
        {"images": [{"bytes": b"<svg onload='alert(1)'/>", "path": "/etc/passwd"}]},
        {"images": [{"bytes": None, "path": "https://evil.example/x.png"}]},
        {"images": [png(mode="P")]},
        {"images": [None]},
    ],
    ids=range(9),
)
def test_pictures_that_are_none_of_its_cells(folder: Path, refused: Any, columns: dict[str, Any]) -> None:
    edit(folder, "studies", **columns)
    assert "picture" in refused(folder)


def test_pictures_of_studies_that_are_huge_together(folder: Path, refused: Any) -> None:
    edit(folder, "studies", images=[png((4096, 4096))])
    assert "too many pixels" in refused(folder, limit_bytes=10_000_000)


def test_a_study_twice(folder: Path, refused: Any) -> None:
    reorder(folder, "studies", lambda rows: [*rows, *rows])
    assert "two studies" in refused(folder)


# -- pictures that a run was given --


def test_pictures_that_the_run_was_not_given(folder: Path, refused: Any) -> None:
    edit(folder, "data", inputs=[png()])
    assert "more pictures than it was given" in refused(folder)


def test_another_picture_than_the_run_was_given(folder: Path, refused: Any) -> None:
    def change(text: str) -> str:
        data = json.loads(text)
        one = {"name": "image", "sha256": "0" * 64, "mode": "RGB", "width": 16, "height": 16}
        data["params"]["inputs"] = [one]
        return json.dumps(data)

    edit(folder, "data", manifest=change)
    for picture, says in (
        (png(), "is another one"),
        (png(mode="L"), "plain RGB"),
        (png((8, 8)), "another one"),
    ):
        edit(folder, "data", inputs=[picture])
        assert says in refused(folder)


# -- anything anywhere --


def another(data: st.DataObject, value: Any) -> Any:
    """What may stand in a column instead of a value."""
    if isinstance(value, bytes):
        return damaged(data, value)
    if isinstance(value, str) and value.startswith("{"):
        return json.dumps(with_another_part(data, json.loads(value), HOSTILE))
    if isinstance(value, list):
        return data.draw(st.sampled_from([[], [*value, None], value * 2, ["../x"]]))
    return data.draw(st.sampled_from([None, "", "../x", 0, -1, 2**31 - 1, "\0", True]))


def import_or_sentence(library: Library, source: Path) -> Imported | str:
    try:
        return import_all(library, source)
    except RefusedDataset as refusal:
        return refusal.message


@bounded(40)
@given(data=st.data())
def test_rows_with_anything_in_them(whole: Path, tmp_path_factory: Any, data: st.DataObject) -> None:
    """Each gives whole runs and a study that opens, or one sentence and nothing in the library."""
    told = {
        table: [dict(row) for row in dataset_rows.rows(whole / table / SHARD, 10**9, table)]
        for table in COLUMNS
    }
    row = data.draw(st.sampled_from(told[data.draw(st.sampled_from(["attention", "studies"]))]))
    name = data.draw(st.sampled_from(sorted(row)))
    row[name] = another(data, row[name])
    library = Library(tmp_path_factory.mktemp("runs") / "library")

    def given_rows(file: Path, limit: int, table: str) -> Iterator[dict[str, Any]]:
        yield from told[table]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset_import, "rows", given_rows)
        found = import_or_sentence(library, whole)
    if isinstance(found, str):
        assert "\n" not in found
        assert len(found) < 700
        assert not library.list()
        assert not library.studies.list()
    else:
        assert all(library.check(run_id).status == "complete" for run_id in found.runs)
        assert all(library.studies.open(study_id).cells for study_id in found.studies)
    shutil.rmtree(library.folder, ignore_errors=True)
