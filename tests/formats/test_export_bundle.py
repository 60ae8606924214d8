import io
import zipfile
from dataclasses import fields, replace

import numpy as np

from diffatlas.formats import bundle
from diffatlas.formats.named import Named
from diffatlas.library import Library


def unpacked(runs, folder):
    with zipfile.ZipFile(io.BytesIO(bundle.zip(runs))) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
        return archive.infolist()


def same(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if hasattr(a, "__dataclass_fields__"):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return repr(a) == repr(b)


def test_the_zip_is_the_folders_of_a_library(layers, tmp_path):
    members = unpacked(layers, tmp_path)
    library = Library(tmp_path)
    assert sorted(info.id for info in library.list()) == sorted(entry.run.id for entry in layers)
    assert {member.filename.split("/")[0] for member in members} == {entry.run.id for entry in layers}
    for entry in layers:
        back = library.load(entry.run.id)
        assert all(same(getattr(entry.run, f.name), getattr(back, f.name)) for f in fields(back))


def test_what_is_compressed_already_is_stored(layers, tmp_path):
    kinds = {(m.filename.rsplit(".", 1)[1], m.compress_type) for m in unpacked(layers, tmp_path)}
    assert kinds == {
        ("png", zipfile.ZIP_STORED),
        ("safetensors", zipfile.ZIP_STORED),
        ("json", zipfile.ZIP_DEFLATED),
        ("jsonl", zipfile.ZIP_DEFLATED),
    }


def test_no_name_leaves_the_folder(run, tmp_path):
    odd = [Named("a", replace(run, id=name)) for name in ("../../evil", "/etc/x", "..", "C:\\x")]
    for member in unpacked(odd, tmp_path / "out"):
        assert not member.filename.startswith("/")
        assert ".." not in member.filename
        assert "\\" not in member.filename
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_given_twice_is_there_once(run, tmp_path):
    once, twice = bundle.zip([Named("a", run)]), bundle.zip([Named("a", run), Named("b", run)])
    assert zipfile.ZipFile(io.BytesIO(once)).namelist() == zipfile.ZipFile(io.BytesIO(twice)).namelist()


def test_the_same_runs_give_the_same_bytes(layers):
    assert bundle.zip(layers) == bundle.zip(layers)


def test_odd_runs_come_back(odd_runs, tmp_path):
    for name, run in odd_runs.items():
        folder = tmp_path / name
        unpacked([Named(name, run)], folder)
        back = Library(folder).load(run.id)
        assert (back.status, len(back.steps), len(back.images)) == (
            run.status,
            len(run.steps),
            len(run.images),
        )
