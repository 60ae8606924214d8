"""Whole runs in, whole runs out: any run that a library holds, through a dataset and back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffatlas.formats.dataset.read import import_dataset
from diffatlas.formats.dataset.write import export_dataset
from diffatlas.library import Library
from diffatlas.library.marks import Marks, read_marks, write_marks
from tests.drawn_runs import differences, runs
from tests.formats.dataset.dataset_runs import files
from tests.hostile import bounded

pytestmark = pytest.mark.usefixtures("ready_reader")

IDS = ("20260131-120000-aaaaaaaa", "a", "Z_9-")
MARKS = st.builds(
    Marks,
    name=st.sampled_from(["", "é <b>"]),
    tags=st.sampled_from([(), ("a", "b c")]),
    note=st.sampled_from(["", "two\nlines"]),
    locked=st.booleans(),
)


def there_and_back(own: Library, ids: list[str], room: Path, per: str, **options: Any) -> Library:
    export_dataset(own, room / "d", ids, per=per, **options)
    back = Library(room / "back")
    assert import_dataset(back, room / "d") == ids
    return back


@bounded(30)
@given(data=st.data())
def test_any_runs_come_back(tmp_path_factory: Any, data: st.DataObject) -> None:
    room = tmp_path_factory.mktemp("whole")
    own = Library(room / "own")
    drawn = [data.draw(runs(run_id)) for run_id in IDS[: data.draw(st.integers(1, 3))]]
    for run in drawn:
        own.save(run)
        if data.draw(st.booleans()):
            write_marks(own.folder / run.id, data.draw(MARKS))
    ids = [run.id for run in drawn]
    back = there_and_back(own, ids, room, data.draw(st.sampled_from(["run", "step"])))
    for run in drawn:
        loaded = back.load(run.id)
        assert differences(own.load(run.id), loaded) == []
        # What was drawn is what the library held, so nothing was lost on the way into it.
        assert differences(run.steps, loaded.steps) == []
        assert differences(run.params, loaded.params) == []
        for one, other in zip(run.params.inputs, loaded.params.inputs, strict=True):
            assert one.pixels.tobytes() == other.pixels.tobytes()
        assert differences(run.images, loaded.images) == []
        ours, theirs = files(own.folder / run.id), files(back.folder / run.id)
        for name in ("manifest.json", "marks.json"):
            ours.pop(name, None), theirs.pop(name, None)
        assert ours == theirs
        assert read_marks(own.folder / run.id) == read_marks(back.folder / run.id)
        assert back.check(run.id).status == run.status
    # Those that are there are known.
    assert import_dataset(back, room / "d") == import_dataset(own, room / "d") == []
    shutil.rmtree(room)


@bounded(15)
@given(data=st.data())
def test_without_attention_all_else_comes_back(tmp_path_factory: Any, data: st.DataObject) -> None:
    room = tmp_path_factory.mktemp("without")
    own = Library(room / "own")
    run = data.draw(runs(IDS[0], attention=True))
    own.save(run)
    per = data.draw(st.sampled_from(["run", "step"]))
    back = there_and_back(own, [run.id], room, per, attention=False)
    lost = {words.partition(":")[0] for words in differences(own.load(run.id), back.load(run.id))}
    said = {"run.capture", "run.provenance"} | {
        f"run.steps[{step.index}].attention" for step in run.steps if step.attention
    }
    assert lost == said
    assert import_dataset(own, room / "d") == []
    shutil.rmtree(room)
