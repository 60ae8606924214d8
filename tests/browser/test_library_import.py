"""Runs come into the Library from this device and from an address, and what cannot is said beside its field."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from diffatlas.formats.static.write import plan, write
from diffatlas.library import Library
from tests.attended_runs import run_of
from tests.browser.test_opened_runs import drop
from tests.formats.source.web import web

pytestmark = pytest.mark.browser

DIALOG = ".da-import-dialog[open]"


@pytest.fixture(scope="module")
def library(app_folder: Path) -> Library:
    return Library(app_folder / "runs")


def opened(open_page: Any) -> Any:
    page = open_page()
    page.click(".da-nav button[data-page=library]")
    page.wait_for_function("document.querySelector('.da-library .da-usage').textContent !== ''")
    page.locator(".da-import:visible, .da-nothing button:visible:has-text('Import runs')").first.click()
    page.wait_for_selector(DIALOG)
    return page


def imported(page: Any, place: str) -> None:
    page.wait_for_selector(f"{DIALOG} {place} .da-task-said:has-text('1 run imported.')")


def ids(library: Library) -> set[str]:
    return {info.id for info in library.list() if info.id.startswith("static-")}


def test_a_folder_and_its_zip_are_chosen_or_dropped(open_page: Any, library: Library, tmp_path: Path) -> None:
    folders = [write(plan(run_of(seed)), tmp_path / f"run-{seed}") for seed in (11, 12, 13)]
    before = ids(library)
    page = opened(open_page)
    with page.expect_file_chooser() as chooser:
        page.click(".da-import-folder")
    chooser.value.set_files(str(folders[0]))
    imported(page, ".da-import-drop")
    packed = tmp_path / "run.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folders[1].rglob("*"):
            archive.write(file, file.relative_to(folders[1]))
    with page.expect_file_chooser() as chooser:
        page.click(".da-import-zip")
    chooser.value.set_files(str(packed))
    page.wait_for_function("document.querySelectorAll('.da-library-cards .da-run-open').length >= 2")
    imported(page, ".da-import-drop")
    page.keyboard.press("Escape")
    # Dropped on the page it comes in as well.
    drop(page, folders[2])
    imported(page, ".da-import-drop")
    new = ids(library) - before
    assert {library.load(one).params.seed for one in new} == {run_of(s).params.seed for s in (11, 12, 13)}
    assert len(new) == 3
    assert page.problems == []


def test_an_address_brings_a_run_and_failures_are_said_at_the_field(
    open_page: Any, library: Library, tmp_path: Path
) -> None:
    page = opened(open_page)
    with web() as server:
        server.folder(write(plan(run_of(14)), tmp_path / "run"), "/run")
        cases = {
            f"{server.url}/nothing": "there is no metadata.json below it",
            f"{server.url}/nothing.zip": "there is nothing at it",
            "file:///etc/passwd": "only http and https are fetched",
            "http://169.254.169.254/latest": "no address of the public network",
            "": "Say where from",
        }
        for address, said in cases.items():
            page.fill(".da-import-source", address)
            page.keyboard.press("Enter")
            page.wait_for_selector(f"{DIALOG} section:first-child .da-problem:has-text('{said}')")
        page.fill(".da-import-source", f"{server.url}/run/")
        page.click(".da-import-take")
        imported(page, "section:first-child")
        assert page.is_hidden(f"{DIALOG} section:first-child .da-problem")
    assert page.problems == []


def test_a_wrong_file_is_said_and_leaves_nothing(open_page: Any, library: Library, tmp_path: Path) -> None:
    before = ids(library)
    page = opened(open_page)
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4 cut short")
    with page.expect_file_chooser() as chooser:
        page.click(".da-import-zip")
    chooser.value.set_files(str(tmp_path / "cut.zip"))
    page.wait_for_selector(
        f"{DIALOG} .da-import-drop .da-problem:has-text('cut.zip is not imported: it is damaged')"
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.txt").write_text("hello")
    with page.expect_file_chooser() as chooser:
        page.click(".da-import-folder")
    chooser.value.set_files(str(tmp_path / "other"))
    page.wait_for_selector(
        f"{DIALOG} .da-import-drop .da-problem:has-text('holds no run that is known here')"
    )
    assert ids(library) == before
    assert page.problems == []
