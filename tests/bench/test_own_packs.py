"""Packs that a person keeps: found by name beside those shipped, written whole, bounded, and had back."""

import json

import pytest

from diffatlas.bench.packs.edited import named
from diffatlas.bench.packs.files import Fault, pack_or_fault, pack_text
from diffatlas.bench.packs.own import OwnPacks, find_pack
from diffatlas.bench.packs.reading import read_data
from diffatlas.bench.packs.shipped import SHIPPED, shipped_pack
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
    with pytest.raises(InvalidParams, match="has the prompts that it has"):
        find_pack(tmp_path, "mine", each=2)
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
    assert own.text("yours") == TEXT.replace("name: mine ", 'name: "yours" ')
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
    assert own.add(read_data(b"a red car\n", "My file (1).txt")).name == "t2i-compbench"


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


def test_every_form_is_read_from_bytes_as_from_its_file():
    for name in ("shapes-hard", "lite"):
        pack = shipped_pack(name)
        for kind in ("yaml", "json"):
            assert read_data(pack_text(pack, kind).encode(), f"../{name}.{kind}") == pack
    line = json.dumps({"tag": "one", "prompt": "a car", "include": [{"class": "car", "count": 1}]})
    assert read_data(line.encode(), "m.jsonl").tasks[0].include[0].noun == "car"
    for data, name in ((b"x", "pack.exe"), (b"\xff\xfe", "a.yaml"), (b"", "a.jsonl")):
        with pytest.raises(Unreadable):
            read_data(data, name)
    assert SHIPPED.keys().isdisjoint({"mine"})


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
