"""Zips that hold anything: what is unpacked lies in the folder, and is no more than it may be."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.formats.source import archive
from diffatlas.formats.source.archive import is_zip, safe_path, unpack
from tests.hostile import bounded, damaged

LIMIT = 50_000_000


def zipped(files: dict[str, bytes], change=None) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            member = zipfile.ZipInfo("placeholder")
            member.filename = name  # as it is, which the constructor would tidy
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            if change:
                change(member)
            opened.writestr(member, content)
    return data.getvalue()


def refusal(data: bytes, folder, limit: int = LIMIT) -> str:
    """What is said of an archive, of which nothing is unpacked."""
    path = folder / "given.zip"
    path.write_bytes(data)
    with pytest.raises(InvalidParams) as caught:
        unpack(path, folder / "into", limit)
    assert not (folder / "into").exists() or not any((folder / "into").iterdir())
    return caught.value.message


def unpacked(data: bytes, folder) -> dict[str, bytes]:
    (folder / "given.zip").write_bytes(data)
    top = unpack(folder / "given.zip", folder / "into", LIMIT)
    return {p.relative_to(top).as_posix(): p.read_bytes() for p in top.rglob("*") if p.is_file()}


def test_with_one_top_folder_or_none(tmp_path):
    files = {"a.json": b"{}", "images/b.png": b"x" * 1000}
    for number, top in enumerate(("", "run/", "a run of mine/")):
        folder = tmp_path / str(number)
        folder.mkdir()
        litter = {"__MACOSX/._a.json": b"?", f"{top}.DS_Store": b"?"}
        assert unpacked(zipped({top + name: data for name, data in files.items()} | litter), folder) == files


def test_one_of_another_program(tmp_path):
    # Made by Info-ZIP (`zip -r`): an entry for the folder, and times in extra fields.
    made = (Path(__file__).parent / "made_by_zip.zip").read_bytes()
    assert unpacked(made, tmp_path) == {"a.bin": b"a" * 5000}


NAMES = [
    "../a", "a/../../b", "/etc/passwd", "a//b", "a\\b", "C:/a", "C:a", "a/./b", "./a", "a\0b", "a\nb", "", "..", "a/..",
    "a/" * 30 + "b", "x" * 300, "a/ /b", "a/.../b", "nul:", "a*b", "\u202etxt.exe",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_could_leave_the_folder(name, tmp_path):
    assert safe_path(name) is None
    if name:
        assert "is none that a file in a folder may have" in refusal(zipped({name: b"x"}), tmp_path)


def test_links_and_other_things_that_are_no_plain_files(tmp_path):
    for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK):

        def change(member, kind=kind):
            member.external_attr = (kind | 0o777) << 16

        assert "is a link, or no plain file" in refusal(zipped({"a": b"/etc/passwd"}, change), tmp_path)


def test_twice_the_same_file(tmp_path):
    twice = zipped({"a": b"1", "b": b"2"}).replace(b"b", b"a")
    assert "is there twice" in refusal(twice, tmp_path)
    assert "is there twice" in refusal(zipped({"Straße": b"1", "STRASSE": b"2"}), tmp_path)
    assert "is a file and a folder" in refusal(zipped({"a": b"1", "a/b": b"2"}), tmp_path)


def test_bombs(tmp_path):
    bomb = zipped({f"{k}.bin": bytes(10_000_000) for k in range(4)})
    assert len(bomb) < 200_000
    assert "times its size" in refusal(bomb, tmp_path)
    assert "unpacks to 40 MB, more than 1 MB" in refusal(bomb, tmp_path, limit=1_000_000)
    # Many names for the same bytes: the entries of the directory all point at one file.
    overlapping = zipped({"a.bin": bytes(5000) + bytes(range(256)) * 4})
    end = overlapping.rindex(b"PK\5\6")
    start = overlapping.index(b"PK\1\2")
    entry, body = overlapping[start:end], overlapping[:start]
    entries = b"".join(entry.replace(b"a.bin", b"%05d" % k) for k in range(500))
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 500, 500, len(entries), len(body), 0)
    assert any(said in refusal(body + entries + tail, tmp_path) for said in ("overlap", "damaged"))


def test_a_file_that_is_larger_than_it_says(tmp_path):
    """Its size is in the directory, which says what is made room for: no more is written."""
    honest = zipped({"a.bin": b"abc" * 100_000})
    at = honest.rindex(b"PK\1\2") + 24
    lying = honest[:at] + struct.pack("<L", 10) + honest[at + 4 :]
    (tmp_path / "given.zip").write_bytes(lying)
    with pytest.raises(InvalidParams, match="damaged"):
        unpack(tmp_path / "given.zip", tmp_path / "into", LIMIT)
    assert (tmp_path / "into/a.bin").stat().st_size <= 10


def test_too_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_FILES", 5)
    assert "holds 6 files, more than 5" in refusal(zipped({str(k): b"" for k in range(6)}), tmp_path)


def test_other_ways_of_packing_and_passwords(tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_LZMA) as opened:
        opened.writestr("a", b"x" * 100)
    assert "packed in another way than deflate" in refusal(data.getvalue(), tmp_path)
    plain = zipped({"a": b"x"})
    at = plain.index(b"PK\1\2") + 8
    assert "needs a password" in refusal(plain[:at] + b"\1" + plain[at + 1 :], tmp_path)


def test_what_is_cut_short_or_empty_or_none(tmp_path):
    whole = zipped({"a.json": b"{}" * 5000})
    for data in (whole[: len(whole) // 2], whole[:-1], b"PK\3\4", b"PK"):
        (tmp_path / "given.zip").write_bytes(data)
        assert is_zip(tmp_path / "given.zip")
        assert "damaged, or not whole" in refusal(data, tmp_path)
    assert "no file in it" in refusal(zipped({}), tmp_path)
    (tmp_path / "text").write_text("hello")
    assert not is_zip(tmp_path / "text")


@bounded(150)
@given(st.data())
def test_whatever_is_damaged_is_unpacked_or_refused_in_a_sentence(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("zip")
    whole = zipped({"run/a.json": b'{"a": 1}' * 50, "run/images/b.png": bytes(range(256)) * 4})
    (folder / "given.zip").write_bytes(damaged(data, damaged(data, whole)))
    try:
        top = unpack(folder / "given.zip", folder / "into", 10_000)
    except DiffAtlasError as error:
        told = error.message
    else:
        told = ""
        assert sum(p.stat().st_size for p in top.rglob("*")) < 50_000
    assert "\n" not in told
    found = {p for p in folder.rglob("*") if p.is_symlink()}
    assert not found
    assert {p.name for p in folder.iterdir()} <= {"given.zip", "into"}
