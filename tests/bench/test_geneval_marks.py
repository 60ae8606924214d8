"""GenEval's human marks read as verdicts."""

import csv
import json

import pytest

from diffatlas.bench.packs.geneval import read_metadata
from diffatlas.bench.packs.geneval_marks import passed, read_marks
from diffatlas.bench.tasks import Exclude, Include, Task
from diffatlas.errors import Unreadable

COLUMNS = [
    "HITId",
    *(f"Input.{name}" for name in ("prompt_id", "image_id", "caption")),
    *(
        f"Answer.task-{name}"
        for name in ("color-0", "color-1", "count-0", "count-1", "position-x", "position-y")
    ),
]
ROWS = [
    {
        "tag": "counting",
        "include": [{"class": "clock", "count": 2}],
        "exclude": [{"class": "clock", "count": 3}],
    },
    {"tag": "colors", "include": [{"class": "car", "count": 1, "color": "red"}]},
]


def seen(counts=(), colors=(), x="", y=""):
    found = {f"Answer.task-count-{k}": value for k, value in enumerate(counts)}
    found |= {f"Answer.task-color-{k}": value for k, value in enumerate(colors)}
    return {**found, "Answer.task-position-x": x, "Answer.task-position-y": y}


def task(*include, exclude=()):
    return Task(id="a", prompt="-", tag="-", include=include, exclude=tuple(exclude))


CLOCKS = task(Include(noun="clock", count=2), exclude=[Exclude(noun="clock", count=3)])
CAR = task(Include(noun="car", color="red"))
PAIR = task(Include(noun="dog"), Include(noun="cat", position=("left of", 0)))


@pytest.mark.parametrize(
    ("demand", "row", "right"),
    [
        (CLOCKS, seen(["2"]), True),
        (CLOCKS, seen(["1"]), False),
        (CLOCKS, seen(["3"]), False),
        (CLOCKS, seen(["5"]), False),
        (CLOCKS, seen([""]), False),
        (CAR, seen(["1"], ["black|red"]), True),
        (CAR, seen(["1"], ["black"]), False),
        (CAR, seen(["1"], ["dark red"]), False),
        (CAR, seen(["0"], ["red"]), False),
        (PAIR, seen(["1", "1.0"], x="left", y="neither_y"), True),
        (PAIR, seen(["1", "1.0"], x="right"), False),
        (PAIR, seen(["1", "0.0"], x="left"), False),
        (PAIR, seen(["1", "many"], x="left"), False),
    ],
)
def test_what_one_person_saw_is_a_verdict(demand, row, right):
    assert passed(demand, row) is right


@pytest.fixture
def pack(tmp_path):
    path = tmp_path / "metadata.jsonl"
    lines = [json.dumps({**row, "prompt": f"a photo of {k}"}) for k, row in enumerate(ROWS)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_metadata(path)


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def row(prompt, image, **values):
    return {
        "Input.prompt_id": prompt,
        "Input.image_id": image,
        "Input.caption": f"a photo of {prompt}",
        **values,
    }


def test_marks_are_gathered_by_image_and_the_majority_decides(pack, tmp_path):
    clocks = [row(0, image, **seen([count])) for image in (1, 0) for count in ("2", "2", "1")]
    cars = [row(1, 0, **seen(["1"], [color])) for color in ("red", "blue", "blue|green")]
    found, broken = read_marks(write(tmp_path / "marks.csv", [*clocks, *cars]), pack)
    assert broken == 0
    assert [(one.task.id, one.number, one.passed, one.majority) for one in found] == [
        ("00000", 0, (True, True, False), True),
        ("00000", 1, (True, True, False), True),
        ("00001", 0, (True, False, False), False),
    ]


def test_rows_that_a_line_break_has_torn_are_counted_and_left_out(pack, tmp_path):
    path = write(tmp_path / "marks.csv", [row(0, 0, **seen(["2"], ["torn"]))])
    path.write_text(path.read_text("utf-8").replace("torn", "to\nrn"), encoding="utf-8")
    assert read_marks(path, pack) == ([], 2)


def test_what_is_no_such_file_is_refused(pack, tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(Unreadable, match=r"no column Input\.prompt_id"):
        read_marks(tmp_path / "other.csv", pack)
    with pytest.raises(Unreadable, match="prompt 7 is not that of the pack"):
        read_marks(write(tmp_path / "marks.csv", [row(7, 0)]), pack)
