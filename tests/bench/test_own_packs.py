"""Packs that a person keeps: found by name beside those shipped, written whole, bounded, and had back."""

import json
from collections import Counter

import pytest

from diffatlas.bench.packs.edited import named
from diffatlas.bench.packs.files import Fault, pack_or_fault, pack_text
from diffatlas.bench.packs.own import OwnPacks, find_pack
from diffatlas.bench.packs.reading import read_file
from diffatlas.bench.packs.shipped import shipped_pack
from diffatlas.bench.packs.writing import WRITTEN, file_text
from diffatlas.errors import InvalidParams, Unreadable

TEXT = """\
# «Größe» 🐻: what stands before the name has characters of two and four bytes.
title: Mine
name: mine   # what it is called
tasks:
- {id: a, prompt: a bear, tag: bears, include: [{class: bear}]}
"""


def test_a_pack_is_found_by_its_name_beside_those_shipped(tmp_path):
    OwnPacks(tmp_path).keep(TEXT)
    assert find_pack(tmp_path, "mine").tasks[0].prompt == "a bear"
    assert find_pack(tmp_path, "shapes", 3, 7) == shipped_pack("shapes", 3, 7)
    with pytest.raises(InvalidParams, match="Did you mean mine"):
        find_pack(tmp_path, "mien")
    OwnPacks(tmp_path).keep(named(pack_text(shipped_pack("lite", 4)), "many"))
    drawn = [find_pack(tmp_path, "many", each=2, seed=seed) for seed in (0, 0, 1)]
    assert Counter(task.tag for task in drawn[0].tasks) == dict.fromkeys(shipped_pack("lite").tags, 2)
    assert drawn[0] == drawn[1] != drawn[2]
    assert find_pack(tmp_path, "many", each=9).tasks == find_pack(tmp_path, "many").tasks
    # No name leads to another file, be it of the library or of the machine.
    (tmp_path / "secret.yaml").write_text(TEXT.replace("mine", "../secret", 1), encoding="utf-8")
    for name in ("../secret", "/etc/passwd", "Mine", ""):
        with pytest.raises(InvalidParams, match="There is no pack"):
            find_pack(tmp_path, name)


def test_renaming_keeps_every_other_character(tmp_path):
    own = OwnPacks(tmp_path)
    own.keep(TEXT)
    own.rename("mine", "yours")
    assert own.names() == ["yours"]
    assert own.text("yours") == TEXT.replace("name: mine ", "name: yours ")
    as_json = json.dumps(
        {"title": "ü", "name": "a", "tasks": [{"id": "b", "prompt": "c", "tag": "d", "kind": "free"}]}
    )
    assert json.loads(named(as_json, "z")) == {**json.loads(as_json), "name": "z"}


def test_a_name_that_is_taken_is_refused_and_an_import_takes_the_next(tmp_path):
    own = OwnPacks(tmp_path)
    own.keep(TEXT)
    with pytest.raises(InvalidParams, match="already") as error:
        own.keep(TEXT)
    assert error.value.field == "name"
    own.keep(TEXT.replace("a bear", "two bears"), instead="mine")
    with pytest.raises(InvalidParams, match="comes with the program"):
        own.keep(named(TEXT, "shapes"))
    assert [own.add(shipped_pack("smoke")).name for _ in range(2)] == ["smoke-2", "smoke-3"]
    (tmp_path / "My file (1).txt").write_text("a red car\n")
    assert own.add(read_file(tmp_path / "My file (1).txt")).name == "t2i-compbench"


def test_what_was_deleted_is_had_back_as_long_as_its_name_is_free(tmp_path):
    own = OwnPacks(tmp_path)
    own.keep(TEXT)
    own.delete("mine")
    with pytest.raises(InvalidParams, match="no pack"):
        own.text("mine")
    own.restore("mine")
    assert own.text("mine") == TEXT
    own.delete("mine")
    own.keep(TEXT)
    with pytest.raises(InvalidParams, match="again"):
        own.restore("mine")


def test_bounds_hold_and_a_file_that_was_spoiled_is_listed_with_what_is_wrong(tmp_path):
    own = OwnPacks(tmp_path, most=2, most_all=2 * len(TEXT.encode()) + 20)
    own.keep(TEXT)
    with pytest.raises(InvalidParams, match="delete one first"):
        own.keep(named(TEXT, "large") + "# " + 40 * "x")
    own.keep(named(TEXT, "b"))
    with pytest.raises(InvalidParams, match="2 packs"):
        own.keep(named(TEXT, "c"))
    (own.folder / "b.yaml").write_text("name: b\ntitle: B\ntasks: 3\n", encoding="utf-8")
    listed = {one.name: one.problem for one in own.list()}
    assert listed["mine"] == ""
    assert "line 3: tasks is 3" in listed["b"]


def test_every_form_that_is_written_is_read(tmp_path):
    pack = shipped_pack("lite")
    for kind in WRITTEN:
        path = tmp_path / f"a.{kind.upper()}"
        path.write_text(file_text(pack, kind), encoding="utf-8")
        read = read_file(path)
        assert [(task.prompt, task.include, task.exclude) for task in read.tasks] == [
            (task.prompt, task.include, task.exclude) for task in pack.tasks
        ]
        assert kind == "jsonl" or read == pack
    for data, name in ((b"x", "pack.exe"), (b"\xff\xfe", "a.yaml"), (b"", "a.jsonl"), (None, "absent.yaml")):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(Unreadable):
            read_file(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (TEXT.replace("tag: bears", "tags: bears"), (5, "tasks[0].tags")),
        (TEXT.replace("title: Mine\n", ""), (2, "title")),
        (TEXT + "name: again\n", (6, "")),
        (TEXT + "tasks: [\n", (7, "")),
    ],
)
def test_the_first_fault_has_its_line_and_field(text, fault):
    found = pack_or_fault(text)
    assert isinstance(found, Fault)
    assert (found.line, found.field) == fault
