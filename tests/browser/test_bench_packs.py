"""Packs written, and benches compared, on the Bench page as a visitor does it, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffatlas.bench.bench import judged
from diffatlas.bench.counted import differences
from diffatlas.bench.packs.own import OwnPacks
from diffatlas.bench.packs.shipped import shipped_pack
from diffatlas.library import Library
from tests.bench.stored_benches import BASE, CARD, stored_bench, verdict
from tests.browser.visiting import PATIENCE

pytestmark = pytest.mark.browser

TEXT = ".da-pack-text"
FAULT = ".da-pack-fault:visible"


@pytest.fixture(scope="module")
def page(chromium: Any, app_url: str) -> Iterator[Any]:
    """The Bench page with its packs in sight."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{app_url}?page=bench")
    page.click("#da-bench-tab-pack")
    page.wait_for_selector(".da-pack-tasks > li")
    yield page
    assert not problems
    context.close()


@pytest.fixture(scope="module")
def library(app_folder: Path) -> Library:
    return Library(app_folder / "runs")


def test_a_fault_is_said_as_one_types_and_its_sentence_leads_to_the_line(page: Any) -> None:
    text = page.input_value(TEXT)
    line = next(at for at, row in enumerate(text.splitlines()) if "tag:" in row)
    page.fill(TEXT, text.replace("tag:", "tags:"))
    page.wait_for_selector(FAULT)
    assert page.inner_text(FAULT).startswith(f"Line {line + 1}: tasks[0].tags means nothing here")
    assert page.is_disabled(".da-pack-save")
    page.click(FAULT)
    field = page.locator(TEXT)
    chosen = field.evaluate("area => area.value.slice(area.selectionStart, area.selectionEnd)")
    assert chosen.strip() == "tags: position"
    # It is there after a reload, as is what is wrong with it.
    page.reload()
    page.wait_for_selector(FAULT)
    assert "tags: position" in page.input_value(TEXT)
    page.fill(TEXT, text)
    page.wait_for_selector(".da-pack-fault", state="hidden")


def test_a_task_is_added_by_the_form_and_the_pack_is_kept_and_asked_for(page: Any, library: Library) -> None:
    page.click("summary:has-text('Add a task')")
    page.fill(".da-pack-form [data-field=prompt]", "two red cups")
    page.fill(".da-pack-form [data-field=tag]", "counting")
    page.click(".da-pack-form button[type=submit]")
    # Nothing says what they are.
    page.wait_for_selector(".da-pack-form .da-problem:visible")
    assert page.evaluate("document.activeElement.dataset.field") == "noun"
    page.select_option(".da-pack-row select >> nth=0", "exactly")
    page.fill(".da-pack-row [data-field=count]", "2")
    page.fill(".da-pack-row [data-field=color]", "red")
    page.fill(".da-pack-row [data-field=noun]", "cup")
    page.click(".da-pack-form button[type=submit]")
    page.wait_for_selector(".da-pack-demands :text('exactly 2 red cups')")
    page.click(".da-pack-save")
    page.wait_for_selector(".da-pack-stand:has-text('Kept in your library')")
    kept = OwnPacks(library.folder).pack("mine")
    assert [task.id for task in kept.tasks] == ["dog-and-bear", "counting-1"]
    # What comes after it is not lost by a look at another pack.
    page.fill(TEXT, page.input_value(TEXT).replace("My pack", "Ours"))
    page.select_option(".da-pack-choice", "from smoke")
    page.wait_for_function("text => document.querySelector(text).value.includes('name: smoke-2')", arg=TEXT)
    page.select_option(".da-pack-choice", "own mine")
    page.wait_for_function("text => document.querySelector(text).value.includes('title: Ours')", arg=TEXT)
    page.click(".da-pack-save")
    page.wait_for_selector(".da-pack-stand:has-text('Kept in your library')")
    page.click(".da-pack-acts button:has-text('Run it')")
    page.wait_for_function("document.querySelector('#bench-pack input').value === 'Ours (mine)'")
    assert page.input_value("#bench-each input") == ""


def test_a_file_is_imported_by_choosing_it(page: Any, library: Library) -> None:
    line = '{"tag": "one", "prompt": "a car", "include": [{"class": "car", "count": 1}]}\n'
    data = {"name": "evaluation_metadata.jsonl", "mimeType": "application/json", "buffer": line.encode()}
    page.set_input_files(".da-bench-pack input[type=file]", data)
    page.wait_for_selector(".da-pack-name:text('geneval')")
    page.wait_for_selector(".da-pack-demands :text('a car')")
    assert OwnPacks(library.folder).pack("geneval").tasks[0].prompt == "a car"
    page.click(".da-pack-acts button:has-text('Delete')")
    page.wait_for_selector(".da-toast:has-text('geneval')")
    assert OwnPacks(library.folder).names() == ["mine"]
    page.click(".da-toast-act")
    page.wait_for_selector(".da-pack-name:text('geneval')")
    assert OwnPacks(library.folder).names() == ["geneval", "mine"]


def test_two_benches_are_compared_in_numbers_and_pictures(page: Any, library: Library) -> None:
    # There may be benches of other packs in this library.
    pack = replace(shipped_pack("shapes", 2), name="held", title="Held")
    one = stored_bench(library, pack, lambda cell: verdict((cell.row + cell.column) % 2 == 0))
    two = stored_bench(
        library, pack, lambda cell: verdict(cell.row % 4 > 0), base=BASE.replace(num_inference_steps=4)
    )
    stored_bench(library, pack, lambda cell: verdict(True), card=CARD.__class__("other", "Another judge."))
    page.click("#da-bench-tab-compare")
    page.wait_for_selector(".da-board")
    assert page.locator(".da-board:has-text('Held')").count() == 2
    board = page.locator(".da-board:has-text('Held'):has-text('judged by shapes')")
    rows = board.locator("tbody tr")
    # The best comes first, and by name where that is asked for.
    assert rows.locator("button").all_inner_texts() == [
        "Shapes (embedded), 4 steps",
        "Shapes (embedded), 2 steps",
    ]
    board.locator("[data-by=name]").click()
    assert rows.locator("button").all_inner_texts()[0].endswith("2 steps")
    rows.nth(0).locator("input").check()
    rows.nth(1).locator("input").check()
    whole, _ = differences(judged(one, "shapes"), judged(two, "shapes"))
    page.click("summary:has-text('The same in numbers')")
    foot = page.locator(".da-board-compared tfoot td")
    foot.first.wait_for()
    assert foot.first.inner_text() == f"{whole.difference:+.2f}"
    page.wait_for_selector(".da-board-compared .da-figure-stage :text('all prompts')")
    first = sum((row + k) % 2 == 0 and row % 4 == 0 for row in range(12) for k in range(2))
    page.click("[data-which=first]")
    page.wait_for_selector(f"[data-which=first][aria-pressed=true]:has-text('{first}')")
    page.wait_for_function("count => document.querySelectorAll('.da-board-pair').length === count", arg=first)
    assert page.locator(".da-board-pair .da-right").count() == first
    assert page.locator(".da-board-pair figure:first-child.da-right").count() == first
    page.wait_for_function(
        "[...document.querySelectorAll('.da-board-pair img')].every((one) => one.naturalWidth > 0)"
    )
