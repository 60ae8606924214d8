"""The page without a server, on which a run is dropped or chosen: what it shows is what the files hold."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffatlas.formats.kinds import export
from diffatlas.formats.named import Named
from diffatlas.formats.static.write import plan, write
from diffatlas.run import Run
from tests.attended_runs import run_of
from tests.browser.page_file import STEPS, file, page, runs
from tests.formats.static.static_folders import reference_folder

pytestmark = pytest.mark.browser

__all__ = ["file", "page", "runs"]


@pytest.fixture(scope="module")
def static(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(plan(runs[0]), tmp_path_factory.mktemp("static") / "run")


def drop(page: Any, *paths: Path) -> None:
    """Drop files or folders of the disk, as a hand would."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 300, "data": data})


def choose(page: Any, button: str, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.focus(f".da-opening button:has-text('{button}')")
        page.keyboard.press("Enter")
    chooser.value.set_files(str(path))


def pack(folder: Path, to: Path, top: str = "") -> Path:
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in folder.rglob("*"):
            if one.is_file():
                archive.write(one, top + one.relative_to(folder).as_posix())
    return to


def numbers(page: Any) -> dict[str, str]:
    texts = page.locator(".da-opened-numbers dt, .da-opened-numbers dd").all_inner_texts()
    return dict(zip(texts[::2], texts[1::2], strict=True))


def go(page: Any, at: int) -> None:
    page.focus(".da-opened-timeline")
    page.keyboard.press("Home")
    for _ in range(at):
        page.keyboard.press("ArrowRight")
    page.wait_for_selector(f".da-opened-at:has-text('step {at + 1} of')")


def shows_static(page: Any, static: Path, run: Run) -> None:
    """The view is of this folder: its prompt, pictures, numbers and maps."""
    page.wait_for_selector(".da-opened h1")
    assert page.inner_text(".da-opened h1") == run.params.prompt
    metrics = json.loads((static / "metrics.json").read_text())
    metadata = json.loads((static / "metadata.json").read_text())
    go(page, 2)
    page.click(".da-opened .da-word >> text=circle")
    told = numbers(page)
    token = metadata["prompt"]["tokens"].index("circle</w>")
    assert float(told["norm"]) == pytest.approx(metrics["latent_l2_norm"][2], rel=1e-5)
    assert float(told["activation, mean of layers"]) == pytest.approx(
        metrics["mean_token_activation"][2][token], rel=1e-5
    )
    layer = metadata["attention_files"][0]["layer_id"]
    assert float(told["entropy of the layer, by the contract"]) == pytest.approx(
        metrics["cross_attention_entropy"][2]["by_layer"][layer], rel=1e-5
    )
    # What was measured of the layer's own maps, before they were brought to one grid, is in a file of ours.
    measured = json.loads((static / "diffatlas_measured.json").read_text())
    own = next(x for x in measured["layers"] if x["kind"] == "cross")
    assert page.inner_text(".da-opened select option:checked") == own["name"]
    assert float(told["entropy of the layer’s own maps"]) == pytest.approx(own["entropy"][2], rel=1e-5)
    assert float(told["activation in its own maps"]) == pytest.approx(own["activation"][2][token], rel=1e-5)
    # The value under the pointer is that of the file.
    entry = next(e for e in metadata["attention_files"] if e["step"] == 2 and e["layer_id"] == layer)
    maps = np.fromfile(static / entry["path"], "<f2").reshape(entry["shape"])
    page.wait_for_selector(".da-opened .da-attention-large canvas:visible")
    page.locator(".da-opened .da-attention-picture").hover(position={"x": 3, "y": 3})
    page.wait_for_function("document.querySelector('.da-opened .da-readout').textContent !== ''")
    said = page.inner_text(".da-opened .da-readout")
    assert said.startswith("row 1, column 1: ")
    assert float(said.split(": ")[1]) == pytest.approx(float(maps[token, 0, 0]), rel=1e-4)
    assert page.locator(".da-opened-table tbody tr").count() == len(run.steps)
    assert page.locator(".da-opened .da-path-dot").count() == len(run.steps)
    assert "the mean of several is not in it" in page.inner_text(".da-opened")
    assert page.is_hidden(".da-opening-problem")


def test_a_static_folder_is_dropped_or_chosen_or_comes_as_a_zip(
    page: Any, static: Path, runs: list[Run], tmp_path: Path
) -> None:
    drop(page, static)
    shows_static(page, static, runs[0])
    page.reload()
    page.wait_for_selector(".da-opening")
    choose(page, "a folder", static)
    shows_static(page, static, runs[0])
    page.reload()
    page.wait_for_selector(".da-opening")
    drop(page, pack(static, tmp_path / "run.zip", "top/"))
    shows_static(page, static, runs[0])


def test_a_folder_of_another_tool_with_bare_nan(page: Any, tmp_path: Path) -> None:
    folder = reference_folder(tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["latent_l2_norm"][1] = float("nan")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    drop(page, folder)
    page.wait_for_selector(".da-opened h1:has-text('a crocodile, blue')")
    go(page, 1)
    assert "norm" not in numbers(page)
    go(page, 0)
    assert numbers(page)["norm"] == "60"
    assert "diffatlas_measured.json) is not in the folder" in page.inner_text(".da-opened")


def test_runs_of_a_zip(page: Any, runs: list[Run], tmp_path: Path) -> None:
    path = tmp_path / "runs.zip"
    path.write_bytes(export("zip", [Named(str(k), run) for k, run in enumerate(runs)]))
    # Runs made in one second are listed by their ids: the first of them is shown.
    first, second = sorted(runs, key=lambda run: run.id)[:2]
    choose(page, "a file", path)
    page.wait_for_selector(".da-opened h1")
    told = numbers(page)
    assert float(told["norm"]) == pytest.approx(first.steps[-1].metrics["norm"], rel=1e-5)
    page.click(".da-opened .da-word >> text=circle")
    key = next(iter(first.steps[-1].attention))
    maps = first.steps[-1].attention[key][0]
    page.wait_for_selector(".da-opened .da-attention-large canvas:visible")
    page.locator(".da-opened .da-attention-picture").hover(position={"x": 3, "y": 3})
    page.wait_for_function("document.querySelector('.da-opened .da-readout').textContent !== ''")
    said = page.inner_text(".da-opened .da-readout")
    table = first.provenance["attention"]["text"]
    token = next(t["index"] for t in table if t["text"] == "circle")
    assert float(said.split(": ")[1]) == pytest.approx(float(maps[token, 0, 0]), rel=1e-4)
    assert "no activation, entropy or reallocation" in page.inner_text(".da-opened")
    page.select_option(".da-opening select", label=second.id)
    page.wait_for_selector(f".da-opened p:has-text('seed {second.params.seed}')")


def test_another_page_takes_the_place_of_this_one(page: Any, tmp_path: Path) -> None:
    other, run = tmp_path / "other.html", run_of(4)
    other.write_bytes(export("html", [Named("another", run)]))
    drop(page, other)
    page.wait_for_selector(".da-offline-run h1:has-text('another')")
    count = len(run.steps)
    page.wait_for_selector(f".da-timeline-at:has-text('of {count}')")
    # The keys are those of what is shown, and so they are when the page's own runs come back.
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(f".da-timeline-at:has-text('step {count - 1} of {count}')")
    page.click(".da-opening-back")
    page.wait_for_selector(f".da-timeline-at:has-text('of {STEPS}')")
    page.locator("body").press("ArrowLeft")
    page.wait_for_selector(f".da-timeline-at:has-text('step {STEPS - 1} of {STEPS}')")


def test_a_wrong_file_gets_a_sentence_and_what_is_shown_stays(
    page: Any, static: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "a.html").write_text("<script>alert(1)</script><img src=x onerror=alert(2)>")
    (tmp_path / "cut.zip").write_bytes(pack(static, tmp_path / "whole.zip").read_bytes()[:2000])
    (tmp_path / "empty").mkdir()
    broken = shutil.copytree(static, tmp_path / "broken")
    (broken / "metadata.json").write_text("{")
    lying = shutil.copytree(static, tmp_path / "lying")
    metadata = json.loads((lying / "metadata.json").read_text())
    (lying / "metadata.json").write_text(json.dumps({**metadata, "steps": 10**9}))
    cases = {
        "a.txt": "“a.txt” is not opened here: choose a static run folder",
        "a.html": "“a.html” is no page of Diffusion Atlas",
        "cut.zip": "The zip is damaged, or not whole.",
        "empty": "There is no file in it",
        "broken": "metadata.json is no JSON object.",
        "lying": "does not say how many steps there are",
    }
    before = page.inner_text(".da-offline-runs")
    for name, said in cases.items():
        drop(page, tmp_path / name)
        page.wait_for_selector(f".da-opening-problem:has-text('{said}')")
        assert page.inner_text(".da-offline-runs") == before
    # A file that is not what the folder says it is, is told where it would be seen.
    short = shutil.copytree(static, tmp_path / "short")
    for one in (short / "attention/cross").iterdir():
        one.write_bytes(b"\0\0")
    drop(page, short)
    page.wait_for_selector(".da-opened :text('not of the size that the folder says')")
