"""What is wrong with a static run folder is found, whoever made it; nothing in it is followed or believed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from diffatlas.errors import InvalidParams
from diffatlas.formats.static.check import check_folder
from tests.formats.static.static_folders import reference_folder


@pytest.fixture
def folder(tmp_path) -> Path:
    return reference_folder(tmp_path / "run")


def change(folder: Path, name: str, **changes) -> None:
    path = folder / name
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **changes}))


def first_entry(folder: Path) -> dict:
    return json.loads((folder / "metadata.json").read_text())["attention_files"][0]


def set_entry(folder: Path, **changes) -> None:
    metadata = json.loads((folder / "metadata.json").read_text())
    metadata["attention_files"][0].update(changes)
    (folder / "metadata.json").write_text(json.dumps(metadata))


def poison(folder: Path, value: float) -> None:
    path = folder / first_entry(folder)["path"]
    values = np.frombuffer(path.read_bytes(), "<f2").copy()
    values[5] = value
    path.write_bytes(values.tobytes())


def test_what_another_tool_wrote_is_valid_but_for_its_bare_nan(folder):
    assert check_folder(folder).problems == []
    metrics = (folder / "metrics.json").read_text()
    (folder / "metrics.json").write_text(metrics.replace('"mean": 2.0', '"mean": NaN', 1))
    report = check_folder(folder)
    assert [(p.where, p.severe) for p in report.problems] == [("metrics.json", False)]
    assert report.valid()
    assert not report.valid(strict=True)


FAULTS = {
    "a file of JSON is missing": (lambda f: (f / "metrics.json").unlink(), "metrics.json"),
    "JSON is cut off": (lambda f: (f / "latent_pca.json").write_text('{"points": ['), "latent_pca.json"),
    "a key is missing": (lambda f: change(f, "metadata.json", timesteps=None), "timesteps"),
    "steps is no number": (lambda f: change(f, "metadata.json", steps="5"), "steps"),
    "steps is not that of the lists": (lambda f: change(f, "metadata.json", steps=4), "timesteps"),
    "a list of norms is too short": (
        lambda f: change(f, "metrics.json", latent_l2_norm=[1.0]),
        "latent_l2_norm",
    ),
    "points are too few": (lambda f: change(f, "latent_pca.json", points=[[0, 0]]), "points"),
    "a point is no number": (lambda f: change(f, "latent_pca.json", points=[[0, None]] * 3), "point"),
    "ratios are three": (lambda f: change(f, "latent_pca.json", explained_variance_ratio=[1, 0, 0]), "ratio"),
    "a picture is missing": (lambda f: (f / "images/step_001.png").unlink(), "step_001.png"),
    "a picture is text": (lambda f: (f / "images/step_001.png").write_text("no"), "no PNG"),
    "a picture is cut off": (
        lambda f: (f / "images/step_001.png").write_bytes((f / "images/step_001.png").read_bytes()[:60]),
        "damaged",
    ),
    "a picture says it is huge": (
        lambda f: (f / "images/step_001.png").write_bytes(
            b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (10**6).to_bytes(4, "big") * 2
        ),
        "pixels",
    ),
    "maps are missing": (lambda f: (f / first_entry(f)["path"]).unlink(), "missing"),
    "maps are too short": (lambda f: (f / first_entry(f)["path"]).write_bytes(b"12"), "bytes"),
    "maps hold NaN": (lambda f: poison(f, float("nan")), "NaN"),
    "maps exceed 1": (lambda f: poison(f, 3.0), "beyond"),
    "maps are negative": (lambda f: poison(f, -0.5), "beyond"),
    "a dtype is unknown": (lambda f: set_entry(f, dtype="int8"), "dtype"),
    "a dtype is another": (lambda f: set_entry(f, dtype="float32"), "bytes"),
    "a shape is no list": (lambda f: set_entry(f, shape="77x8x8"), "shape"),
    "a shape is of another size": (lambda f: set_entry(f, shape=[77, 8, 9]), "bytes"),
    "tokens are not those of the prompt": (lambda f: set_entry(f, shape=[7, 8, 88]), "tokens"),
    "a step is beyond the run": (lambda f: set_entry(f, step=9), "step"),
    "a layer is unknown": (lambda f: set_entry(f, layer_id="layer_99"), "layer"),
    "a path leads out": (lambda f: set_entry(f, path="../../etc/passwd"), "outside"),
    "a path is absolute": (lambda f: set_entry(f, path="/etc/passwd"), "outside"),
    "an image leads out": (lambda f: change(f, "metadata.json", images=["../x.png"] * 3), "outside"),
    "latents are said to be there": (
        lambda f: change(f, "metadata.json", artifacts={"latents_noise": "latents.npz"}),
        "latents.npz",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_told(folder, fault):
    spoil, told = FAULTS[fault]
    spoil(folder)
    report = check_folder(folder)
    assert any(told in f"{p.where} {p.what}" and p.severe for p in report.problems), report.problems
    assert not report.valid()


def test_links_are_not_followed(folder, tmp_path):
    outside = tmp_path / "outside.bin"
    path = folder / first_entry(folder)["path"]
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)
    assert any("a link" in p.what for p in check_folder(folder).problems)


def test_pickles_are_not_opened(folder):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    np.savez(folder / "latents.npz", latents=np.array([Evil()], dtype=object))
    change(folder, "metadata.json", artifacts={"latents_noise": "latents.npz"})
    assert any(p.where == "latents.npz" and p.severe for p in check_folder(folder).problems)


def test_latents_that_do_not_fit_are_told(folder):
    change(folder, "metadata.json", artifacts={"latents_noise": "latents.npz"})
    for latents, told in (
        (np.zeros((2, 4, 8, 8), np.float16), "not of the 3 steps"),
        (np.full((3, 4, 8, 8), np.nan, np.float16), "NaN"),
        (np.zeros((3, 4), np.int32), "floating point"),
    ):
        np.savez(folder / "latents.npz", latents=latents)
        assert any(told in p.what for p in check_folder(folder).problems), told


def test_a_large_folder_is_allowed_unless_strict(folder):
    with (folder / "padding").open("wb") as file:
        file.truncate(201_000_000)
    report = check_folder(folder)
    assert report.valid()
    assert not report.valid(strict=True)


def test_layers_without_maps_are_allowed_unless_strict(folder):
    change(folder, "metadata.json", attention_files=[])
    assert check_folder(folder).valid()
    assert not check_folder(folder).valid(strict=True)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(InvalidParams, match="no folder"):
        check_folder(tmp_path / "absent")
