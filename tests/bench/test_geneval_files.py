"""GenEval's files, read and written."""

import json

import pytest

from diffatlas.bench.packs.geneval import (
    as_metadata,
    read_folder,
    read_metadata,
    read_results,
    result_line,
    write_folder,
)
from diffatlas.bench.packs.shipped import shipped_pack
from diffatlas.bench.tasks import Exclude, Include
from diffatlas.errors import InvalidParams, Unreadable

#: Two lines as GenEval has them.
ROWS = [
    {
        "tag": "counting",
        "include": [{"class": "clock", "count": 2}],
        "exclude": [{"class": "clock", "count": 3}],
        "prompt": "a photo of two clocks",
    },
    {
        "tag": "position",
        "include": [
            {"class": "kite", "count": 1},
            {"class": "wine glass", "count": 1, "position": ["above", 0]},
        ],
        "prompt": "a photo of a wine glass above a kite",
    },
]
PICTURE = b"\x89PNG of any kind"


@pytest.fixture
def metadata(tmp_path):
    path = tmp_path / "evaluation_metadata.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def test_metadata_are_tasks_and_come_back_as_they_were(metadata):
    pack = read_metadata(metadata)
    assert [as_metadata(task) for task in pack.tasks] == ROWS
    assert [task.id for task in pack.tasks] == ["00000", "00001"]
    assert pack.tasks[0].exclude == (Exclude(noun="clock", count=3),)
    assert pack.tasks[1].include[1] == Include(noun="wine glass", position=("above", 0))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**ROWS[0], "include": [{"class": "clock", "count": 99}]}, r"line 1: include\[0\].count"),
        ({"tag": "x", "prompt": "y"}, "include is missing"),
        ({**ROWS[1], "include": list(reversed(ROWS[1]["include"]))}, "does not come earlier"),
        ({"include": ROWS[0]["include"], "prompt": "y"}, "tag is missing"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_field(tmp_path, row, words):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(InvalidParams, match=words):
        read_metadata(path)


@pytest.mark.parametrize("text", ["", "{", "[1]\n", "\n\n"])
def test_what_is_no_metadata_is_refused(tmp_path, text):
    path = tmp_path / "m.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Unreadable):
        read_metadata(path)


def test_a_folder_of_images_is_written_and_read_in_order(metadata, tmp_path):
    pack = read_metadata(metadata)
    images = {"00000": [PICTURE + b"a", PICTURE + b"b"], "00001": [PICTURE + b"c"]}
    write_folder(tmp_path / "images", pack, images)
    assert json.loads((tmp_path / "images/00001/metadata.jsonl").read_text()) == ROWS[1]
    samples = read_folder(tmp_path / "images")
    told = [(sample.task.prompt, sample.number, sample.path.read_bytes()[-1:]) for sample in samples]
    assert told == [(ROWS[0]["prompt"], 0, b"a"), (ROWS[0]["prompt"], 1, b"b"), (ROWS[1]["prompt"], 0, b"c")]
    with pytest.raises(InvalidParams, match="not empty"):
        write_folder(tmp_path / "images", pack, images)


def test_folders_and_images_are_taken_by_their_numbers_and_other_files_left(metadata, tmp_path):
    pack = read_metadata(metadata)
    write_folder(tmp_path / "images", pack, {"00000": [PICTURE] * 11})
    (tmp_path / "images/00000/samples/grid.png").write_bytes(PICTURE)
    (tmp_path / "images/notes").mkdir()
    (tmp_path / "images/00000/samples/00002.png").rename(tmp_path / "images/00000/samples/2.png")
    assert [sample.number for sample in read_folder(tmp_path / "images")] == list(range(11))


def test_a_folder_without_images_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(Unreadable, match="GenEval's layout"):
            read_folder(folder)


def test_what_geneval_cannot_say_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidParams, match="a colour that must not be there"):
        write_folder(tmp_path / "images", shipped_pack("shapes-hard"), {})
    assert not (tmp_path / "images").exists()


def test_results_are_written_and_read(metadata, tmp_path):
    pack = read_metadata(metadata)
    write_folder(tmp_path / "images", pack, {"00000": [PICTURE]})
    (sample,) = read_folder(tmp_path / "images")
    path = tmp_path / "results.jsonl"
    path.write_text(
        result_line(sample, False, "expected clock>=2, found 1", {"clock": [[0, 0, 5, 5, 0.95]]}) + "\n"
    )
    (row,) = read_results(path)
    assert (row["correct"], row["reason"], row["metadata"]) == (False, "expected clock>=2, found 1", ROWS[0])
    assert row["details"] == {"clock": [[0.0, 0.0, 5.0, 5.0, 0.95]]}
    # As pandas writes it, which GenEval's program does.
    import pandas

    assert pandas.read_json(path, lines=True, dtype=False)["correct"].tolist() == [False]


@pytest.mark.parametrize(
    "line", ["{}", "[", '{"filename": "a", "tag": "b", "prompt": "c", "correct": 1, "reason": ""}']
)
def test_results_that_are_none_are_refused_with_their_line(tmp_path, line):
    path = tmp_path / "results.jsonl"
    path.write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(Unreadable, match="line 2"):
        read_results(path)
