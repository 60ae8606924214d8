"""Runs out of folders, zips, URLs and datasets: the same runs, wherever they come from."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.formats import bundle
from diffatlas.formats.named import Named
from diffatlas.formats.source.take import import_runs
from diffatlas.formats.static.read import import_static
from diffatlas.formats.static.write import plan, write
from diffatlas.library import Library
from tests.attended_runs import run_of
from tests.formats.static.static_folders import reference_folder


@pytest.fixture
def static(tmp_path) -> Path:
    """A static folder of ours."""
    return write(plan(run_of(3)), tmp_path / "given/run")


def pack(folder: Path, to: Path, top: str = "") -> Path:
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, top + file.relative_to(folder).as_posix())
    return to


def refusal(library, source, **options) -> str:
    with pytest.raises(InvalidParams) as caught:
        import_runs(library, source, **options)
    assert caught.value.field == "source"
    assert library.list() == []
    return caught.value.message


def left_behind(library: Library) -> list[str]:
    return [path.name for path in library.folder.iterdir() if path.name.startswith(".source")]


def test_a_static_folder_comes_the_same_from_everywhere(library, static, server, tmp_path):
    wanted = import_static(library, static).run_id
    whole = library.load(wanted)
    server.files["/packed.zip"] = pack(static, tmp_path / "b.zip", "top/").read_bytes()
    sources = [
        static,
        str(pack(static, tmp_path / "a.zip")),
        tmp_path / "b.zip",
        f"{server.url}/packed.zip",
        f"{server.url}/packed.zip?download=1",
        server.folder(static, "/run"),
        f"{server.url}/run/metadata.json",
        server.redirect("/moved/metadata.json", "/run/metadata.json").removesuffix("metadata.json"),
        server.folder(static, "/a%20run") + "/",
    ]
    # Of a folder that has moved each file is asked for where it was.
    server.folder(static, "/moved")
    for number, source in enumerate(sources):
        other = Library(tmp_path / f"library-{number}")
        done = import_runs(other, source)
        assert (done.run_ids, done.new) == ((wanted,), (wanted,)), source
        assert done.notes == ()
        again = import_runs(other, source)
        assert (again.run_ids, again.new) == ((wanted,), ())
        back = other.load(wanted)
        for a, b in zip(back.steps, whole.steps, strict=True):
            np.testing.assert_array_equal(a.latents, b.latents)
            assert a.attention.keys() == b.attention.keys()
        assert left_behind(other) == []


def test_only_what_the_index_names_is_asked_for(library, static, server):
    metadata = json.loads((static / "metadata.json").read_text())
    (static / "secret.txt").write_text("not of the run")
    import_runs(library, server.folder(static, "/run"))
    named = {"metadata.json", "metrics.json", "latent_pca.json", "validation.json", "images/final.png"}
    named |= {"diffatlas_measured.json"}
    named |= {*metadata["images"], metadata["artifacts"]["latents_noise"]}
    named |= {entry["path"] for entry in metadata["attention_files"]}
    assert {path.removeprefix("/run/") for path in server.asked} >= named
    assert "/run/secret.txt" not in server.asked
    assert len(server.asked) == len(set(server.asked))
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "images/../../a.png",
        "/etc/a.png",
        "http://10.0.0.1/a.png",
        "//10.0.0.1/a.png",
        "a.html",
        "a\\b.png",
    ],
)
def test_an_index_that_names_what_is_not_inside(library, static, server, name):
    metadata = json.loads((static / "metadata.json").read_text())
    metadata["images"][1] = name
    (static / "metadata.json").write_text(json.dumps(metadata))
    assert "none of a static run folder" in refusal(library, server.folder(static, "/run"))
    assert server.asked == ["/run/metadata.json"]


def test_what_the_server_does_not_have_is_a_gap(library, server, tmp_path):
    url = server.folder(reference_folder(tmp_path / "given"), "/run")
    del server.files["/run/images/step_001.png"]
    del server.files["/run/attention/cross/layer_0_step_000.bin"]
    done = import_runs(library, url)
    run = library.load(done.run_ids[0])
    assert [step.preview is None for step in run.steps] == [False, True, False]
    assert "cross" not in " ".join(run.steps[0].attention or {})
    assert any("layer_0_step_000" in note for note in done.notes)


def test_a_server_that_breaks_off_takes_nothing_in(library, static, server):
    url = server.folder(static, "/run")
    server.says("/run/images/step_001.png", b"x" * 10, Content_Length="1000", Content_Type="image/png")
    assert "broke off" in refusal(library, url)
    assert left_behind(library) == []


def test_no_index_and_no_zip(library, server):
    assert "there is no metadata.json below it" in refusal(library, f"{server.url}/none")
    assert "there is nothing at it" in refusal(library, f"{server.url}/none.zip")
    server.files["/page/metadata.json"] = b"<html>"
    assert "it is no JSON" in refusal(library, f"{server.url}/page")
    server.files["/other/metadata.json"] = b"{}"
    assert "no index of a static run folder" in refusal(library, f"{server.url}/other")
    server.says("/spa/metadata.json", b"<html>", Content_Type="text/html")
    assert "it is a web page" in refusal(library, f"{server.url}/spa")
    server.files["/a.zip"] = b"PK\3\4 cut short"
    assert "damaged, or not whole" in refusal(library, f"{server.url}/a.zip")


def test_runs_of_a_zip_come_back_bit_for_bit(library, tmp_path):
    runs = [replace(run_of(seed), id=f"run-{seed}") for seed in (2, 3)]
    for several in (runs, runs[:1]):
        data = bundle.zip([Named(run.id, run) for run in several])
        path = tmp_path / "runs.zip"
        path.write_bytes(data)
        other = Library(tmp_path / f"of-{len(several)}")
        assert import_runs(other, path).new == tuple(run.id for run in several)
        assert import_runs(other, path).new == ()
        for run in several:
            back = other.load(run.id)
            assert back.params == run.params
            for a, b in zip(back.steps, run.steps, strict=True):
                np.testing.assert_array_equal(a.latents, b.latents)
                for key, maps in b.attention.items():
                    np.testing.assert_array_equal(a.attention[key], maps)
            assert other.open(run.id).info.key is None
            assert json.loads((other.folder / run.id / "manifest.json").read_text())["imported"] is True
    # Those of a library as it lies there, with what was said of them; and unpacked.
    other.mark("run-2", name="mine", tags=["a"], note="seen")
    third = Library(tmp_path / "third")
    assert import_runs(third, other.folder / "run-2").new == ("run-2",)
    assert (third.open("run-2").info.name, third.open("run-2").info.tags) == ("mine", ("a",))


def test_a_damaged_run_of_a_zip_takes_nothing_in(library, tmp_path):
    path = tmp_path / "runs.zip"
    path.write_bytes(bundle.zip([Named("a", run_of(2))]))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "runs")
    run = next((tmp_path / "runs").iterdir())
    (run / "steps/step_0001.safetensors").write_bytes(b"short")
    with pytest.raises(DiffAtlasError, match="cannot be read"):
        import_runs(library, pack(tmp_path / "runs", tmp_path / "bad.zip"))
    assert library.list() == []


def test_a_zip_of_a_dataset(library, tmp_path):
    own = Library(tmp_path / "own")
    run_id = own.save(run_of(2))
    folder = own.export_dataset(tmp_path / "dataset", [run_id])
    for number, source in enumerate((folder, pack(folder, tmp_path / "d.zip", "dataset/"))):
        other = Library(tmp_path / f"other-{number}")
        assert import_runs(other, source).new == (run_id,)


def test_a_stranger_names_no_file_of_this_machine(library, static, server, tmp_path):
    packed = pack(static, tmp_path / "a.zip")
    for source in (static, packed, "~", "/etc/passwd", "../given"):
        assert "neither a web address nor user/name" in refusal(library, str(source), own=False)
    assert "no address of the public network" in refusal(library, server.folder(static, "/run"), own=False)
    assert server.asked == []
    # What they send is taken, as large as it may be.
    assert "unpacks to" in refusal(
        library, "a.zip", own=False, upload=packed, most_bytes=packed.stat().st_size
    )
    assert len(import_runs(library, "a.zip", own=False, upload=packed).new) == 1


@pytest.mark.parametrize("source", ["", "  ", "nothing-here", "a\0b", "~nobody/x", "x" * 5000])
def test_sources_that_are_none(library, source):
    assert "give a static run folder" in refusal(library, source)


@pytest.mark.parametrize(
    "source", ["http://[", "https://", "ftp://example.org/a.zip", "javascript://x", "http://a b/"]
)
@pytest.mark.parametrize("own", [True, False])
def test_addresses_that_are_none(library, source, own):
    assert "cannot be fetched" in refusal(library, source, own=own)


def test_folders_and_files_of_something_else(library, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("hello")
    assert "holds no run" in refusal(library, tmp_path / "empty")
    assert "is no folder and no zip" in refusal(library, tmp_path / "a.txt")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.txt").write_text("hello")
    assert "holds no run" in refusal(library, pack(tmp_path / "other", tmp_path / "other.zip"))
