"""The 2D Lab in a real browser."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.browser.visiting import PATIENCE

pytestmark = pytest.mark.browser

INKS = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Set();
  for (let k = 0; k < data.length; k += 4) seen.add((data[k] << 16) | (data[k + 1] << 8) | data[k + 2]);
  return seen.size;
}"""


def open_lab(open_page: Any, width: int = 1280, more: str = "") -> Any:
    page = open_page(width, "?page=lab" + more)
    sampled(page)
    return page


def lab(page: Any) -> Any:
    """The lab: fields of the same name are on other pages too."""
    return page.locator(".da-lab")


def sampled(page: Any) -> None:
    """Wait until samples are shown and measured."""
    page.wait_for_selector(".da-lab-measures:not([hidden])")


def status(page: Any) -> str:
    return page.locator(".da-lab .da-status").inner_text()


def train_briefly(page: Any, steps: int = 300) -> None:
    lab(page).get_by_label("Steps", exact=True).first.fill(str(steps))
    lab(page).get_by_role("button", name="Train", exact=True).click()
    page.wait_for_function(
        f"document.querySelector('.da-lab .da-status').textContent.includes('{steps} steps trained')"
    )
    sampled(page)


def saved(page: Any, act: Any) -> Path:
    with page.expect_download() as download:
        act()
    return download.value.path()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_with_a_trained_network_and_its_samples(open_page, width):
    page = open_lab(open_page, width)
    assert status(page).startswith("Moons · 20,000 steps trained")
    for canvas in page.locator(
        ".da-lab-stage canvas, .da-lab-targets canvas, #da-lab-panel-field canvas"
    ).all():
        assert canvas.evaluate(INKS) > 2
    assert page.locator(".da-lab-measures td").first.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert not page.problems
    assert not [
        url
        for url in page.requested
        if not url.startswith(("http://127.0.0.1", "http://localhost", "blob:", "data:"))
    ]


def test_a_link_opens_a_target(open_page):
    page = open_lab(open_page, more="&target=rings")
    assert status(page).startswith("Rings")


def test_training_is_watched_stopped_and_continued(open_page):
    page = open_lab(open_page)
    page.click("#da-lab-tab-training")
    lab(page).get_by_role("button", name="Train", exact=True).click()
    page.wait_for_function("/step [1-9]/.test(document.querySelector('.da-lab .da-status').textContent)")
    page.wait_for_function("/floor 0\\.6/.test(document.querySelector('.da-lab .da-status').textContent)")
    page.locator(".da-lab-actions").get_by_role("button", name="Stop", exact=True).first.click()
    page.wait_for_function(
        "document.querySelector('.da-lab .da-status').textContent.includes('steps trained')"
    )
    sampled(page)
    before = int(status(page).split(" · ")[1].split()[0].replace(",", ""))
    lab(page).get_by_label("Steps", exact=True).first.fill("100")
    lab(page).get_by_role("button", name="Continue").click()
    page.wait_for_function(
        f"document.querySelector('.da-lab .da-status').textContent.includes('{before + 100:,} steps trained')"
    )
    page.wait_for_selector("#da-lab-panel-training .da-figure-says:has-text('Over all levels the excess')")
    assert page.locator("#da-lab-panel-training .scatterlayer .js-line").count() >= 4
    rows = list(
        csv.reader(saved(page, lambda: lab(page).get_by_role("button", name="CSV of Loss").click()).open())
    )
    assert rows[0][:3] == ["step", "loss", "floor"]
    assert int(rows[-1][0]) == before + 100 - (before + 100) % 10


def test_a_drawing_becomes_a_target_that_is_learned(open_page):
    page = open_lab(open_page)
    lab(page).get_by_role("button", name="Draw your own").click()
    page.wait_for_timeout(600)  # the page scrolls to the plane
    box = page.locator(".da-lab-stage canvas").first.bounding_box()
    for label, radius in ((0, 0.32), (2, 0.12)):
        page.locator(".da-lab-swatch").nth(label).click()
        for k in range(24):
            angle = 2 * math.pi * k / 23
            page.mouse.move(
                box["x"] + box["width"] * (0.5 + radius * math.cos(angle)),
                box["y"] + box["height"] * (0.5 + radius * math.sin(angle)),
            )
            if k == 0:
                page.mouse.down()
        page.mouse.up()
    points = int(page.locator(".da-lab-brush .da-timeline-at").inner_text().split()[0])
    assert points >= 90
    lab(page).get_by_role("button", name="Undo stroke").click()
    assert int(page.locator(".da-lab-brush .da-timeline-at").inner_text().split()[0]) < points
    lab(page).get_by_role("button", name="Use as target").click()
    page.wait_for_function(
        "document.querySelector('.da-lab .da-status').textContent.includes('not trained yet')"
    )
    sampled(page)
    train_briefly(page)
    assert status(page).startswith("Your drawing · 300 steps trained")
    rows = list(
        csv.reader(
            saved(
                page, lambda: lab(page).get_by_role("button", name="CSV of From noise to points").click()
            ).open()
        )
    )
    assert len(rows) == 1001
    lengths = sorted(math.hypot(float(x), float(y)) for x, y, *_ in rows[1:])
    assert 1.2 < lengths[500] < 2.0  # the ring had a radius of 0.32 of 5


def test_a_table_is_uploaded_and_a_wrong_one_refused(open_page, tmp_path):
    page = open_lab(open_page)
    table = tmp_path / "points.csv"
    table.write_text("x,y\n1,2\n3,oops\n")
    with page.expect_file_chooser() as chooser:
        lab(page).get_by_role("button", name="Upload a table").click()
    chooser.value.set_files(table)
    page.wait_for_selector("text=Line 3 of the table has no two numbers")
    table.write_text("x,y,kind\n" + "".join(f"{k % 7},{k % 5},{'ab'[k % 2]}\n" for k in range(70)))
    with page.expect_file_chooser() as chooser:
        lab(page).get_by_role("button", name="Upload a table").click()
    chooser.value.set_files(table)
    page.wait_for_function(
        "document.querySelector('.da-lab .da-status').textContent.startsWith('Your table')"
    )
    sampled(page)
    assert lab(page).get_by_label("Class", exact=True).first.locator("option").all_inner_texts()[2:] == [
        "class a",
        "class b",
    ]


def test_the_field_follows_its_slider_and_its_file_has_its_numbers(open_page):
    page = open_lab(open_page)
    numbers = page.locator("#da-lab-panel-field .da-lab-numbers dd")
    numbers.first.wait_for()
    before = numbers.first.inner_text()
    lab(page).get_by_role("slider", name="Noise, t").fill("800")
    page.wait_for_function(
        f"document.querySelector('#da-lab-panel-field .da-lab-numbers dd').textContent !== {json.dumps(before)}"
    )
    told = float(numbers.first.inner_text().split(" %")[0])
    rows = list(
        csv.DictReader(
            saved(
                page, lambda: page.locator("#da-lab-panel-field").get_by_role("button", name="CSV").click()
            ).open()
        )
    )
    assert len(rows) == 256
    apart = sum(
        (float(r["learned_x"]) - float(r["exact_x"])) ** 2
        + (float(r["learned_y"]) - float(r["exact_y"])) ** 2
        for r in rows
    )
    size = sum(float(r["exact_x"]) ** 2 + float(r["exact_y"]) ** 2 for r in rows)
    assert told == pytest.approx(100 * math.sqrt(apart / size), rel=0.01)


def test_a_path_is_moved_by_hand_and_by_keys_and_time_is_dragged(open_page):
    page = open_lab(open_page)
    for name in ("Path", "Mesh", "Exact density", "Density of the points"):
        lab(page).get_by_role("checkbox", name=name, exact=True).check()
    plane = page.locator(".da-lab-stage canvas").first
    plane.scroll_into_view_if_needed()
    page.wait_for_timeout(4000)  # the first playing has ended, and the layers are there
    look = lambda: plane.evaluate("(canvas) => canvas.toDataURL().length + canvas.toDataURL().slice(-4000)")  # noqa: E731
    before = look()
    plane.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(500)
    moved = look()
    assert moved != before
    box = plane.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.8)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.7, steps=3)
    page.mouse.up()
    page.wait_for_timeout(500)
    assert look() != moved
    lab(page).get_by_label("Time, from noise to points").fill("0")
    assert page.locator(".da-lab .da-timeline-at").last.inner_text().startswith("step 0 of 18")
    assert not page.problems


def test_quality_is_measured_and_drawn_against_steps_or_evaluations(open_page):
    page = open_lab(open_page)
    page.click("#da-lab-tab-quality")
    lab(page).get_by_label("Points", exact=True).last.select_option("200")
    lab(page).get_by_label("Repeats").fill("2")
    lab(page).get_by_role("button", name="Measure", exact=True).click()
    page.wait_for_selector("text=24 samplings of 200 points")
    cells = page.locator("#da-lab-panel-quality tbody td").all_inner_texts()
    assert len(cells) == 12
    assert "–" not in cells
    places = """Math.max(...document.querySelector("#da-lab-panel-quality .da-figure-stage").data
        .filter(({ mode }) => mode === "lines+markers").flatMap(({ x }) => x))"""
    page.wait_for_function(f"{places} === 128")
    lab(page).get_by_label("Against", exact=True).select_option("calls")
    page.wait_for_function(f"{places} === 255")
    says = page.locator("#da-lab-panel-quality .da-figure-says .da-caption").inner_text()
    assert "one standard deviation" in says
    rows = list(
        csv.DictReader(
            saved(
                page, lambda: page.locator("#da-lab-panel-quality").get_by_role("button", name="CSV").click()
            ).open()
        )
    )
    assert sum(row["sampler"] == "heun" for row in rows) == 12
    assert (rows[0]["lab_target"], rows[0]["asked_sampler"]) == ("Moons", "heun ddim")
    units = dict(entry.split("=") for entry in rows[0]["units"].split("; "))
    assert (units["excess_nll"], units["w2"], units["steps"]) == ("nats", "units of the plane", "none")
    drawn = page.evaluate(
        """() => Object.fromEntries(document.querySelector("#da-lab-panel-quality .da-figure-stage").data
            .filter(({ mode }) => mode === "lines+markers").map(({ name, y }) => [name, y]))"""
    )
    told = [float(row["mmd2"]) for row in rows if (row["sampler"], row["steps"]) == ("heun", "4")]
    assert drawn["Heun"][0] == pytest.approx(sum(told) / 2, rel=1e-4)
    png = saved(page, lambda: page.locator("#da-lab-panel-quality").get_by_role("button", name="PNG").click())
    assert png.read_bytes()[:4] == b"\x89PNG"


def test_an_error_budget_is_the_servers_figure_by_day_and_by_night(open_page):
    page = open_lab(open_page)
    page.click("#da-lab-tab-budget")
    panel = page.locator("#da-lab-panel-budget")
    panel.get_by_role("button", name="Split the error").click()
    page.wait_for_function("document.querySelectorAll('#da-lab-panel-budget .js-line').length === 4")
    assert "the field’s own error is" in panel.inner_text()
    assert "more steps no longer help" in panel.locator(".da-figure-says .da-caption").inner_text()
    entries = panel.locator(".da-figure-entry")
    assert entries.count() == 4
    entries.first.click()
    page.wait_for_function("document.querySelectorAll('#da-lab-panel-budget .js-line').length === 3")
    entries.first.click()
    page.wait_for_function("document.querySelectorAll('#da-lab-panel-budget .js-line').length === 4")
    drawn = page.evaluate(
        """() => {
            const lines = document.querySelector("#da-lab-panel-budget .da-figure-stage").data;
            return Object.fromEntries(lines.map(({ meta, y }) => [meta.measure, y]));
        }"""
    )
    rows = list(csv.DictReader(saved(page, panel.get_by_role("button", name="CSV").click).open()))
    assert [float(row["total"]) for row in rows] == pytest.approx(drawn["total"], rel=1e-5)
    svg = saved(page, panel.get_by_role("button", name="SVG").click).read_text()
    assert "Error budget of" in svg
    paper = """document.querySelector("#da-lab-panel-budget .main-svg").style.background"""
    before = page.evaluate(paper)
    page.click(".da-ink-switch")
    page.wait_for_function(f"before => {paper} !== before", arg=before)
    assert page.problems == []


def test_memory_is_drawn_for_the_size_that_is_chosen(open_page):
    page = open_lab(open_page)
    page.click("#da-lab-tab-memory")
    panel = page.locator("#da-lab-panel-memory")
    panel.get_by_label("Steps for each").fill("100")
    panel.get_by_role("button", name="Train on 5 to 5,000 points").click()
    page.wait_for_selector("text=6 networks, 100 steps each.")
    panel.get_by_role("button", name="20", exact=True).click()
    heads = panel.locator(".da-figure-head")
    heads.filter(has_text="Samples, 20 training points").wait_for()
    marks = page.evaluate(
        """() => document.querySelector("#da-lab-panel-memory .da-figure-stage").data
            .find(({ meta }) => meta.measure === "copies" && meta.of === "learned").y"""
    )
    table = saved(page, panel.get_by_role("button", name="CSV of copies").click)
    rows = list(csv.DictReader(table.open()))
    assert [float(row["copies_learned"]) for row in rows] == pytest.approx(marks, rel=1e-4)
    assert len(rows) == 6
    assert page.problems == []


def test_a_saved_lab_opens_for_somebody_else_as_it_was(open_page, tmp_path):
    page = open_lab(open_page)
    train_briefly(page, 200)
    lab(page).get_by_label("Sampler", exact=True).select_option("ddim")
    page.wait_for_timeout(400)
    sampled(page)
    page.click("#da-lab-tab-density")
    kept = tmp_path / "lab.json"
    kept.write_bytes(
        saved(page, lambda: lab(page).get_by_role("button", name="Save this lab").click()).read_bytes()
    )
    samples = saved(
        page, lambda: lab(page).get_by_role("button", name="CSV of From noise to points").click()
    ).read_text()
    film = saved(page, lambda: lab(page).get_by_role("button", name="GIF of From noise to points").click())
    assert film.read_bytes()[:3] == b"GIF"

    other = open_lab(open_page)
    with other.expect_file_chooser() as chooser:
        lab(other).get_by_role("button", name="Open a lab").click()
    chooser.value.set_files(kept)
    other.wait_for_function(
        "document.querySelector('.da-lab .da-status').textContent.includes('200 steps trained')"
    )
    sampled(other)
    assert lab(other).get_by_label("Sampler", exact=True).input_value() == "ddim"
    assert other.locator("#da-lab-tab-density").get_attribute("aria-selected") == "true"
    again = saved(
        other, lambda: lab(other).get_by_role("button", name="CSV of From noise to points").click()
    ).read_text()
    assert list(csv.reader(io.StringIO(again))) == list(csv.reader(io.StringIO(samples)))


def test_a_wrong_setting_is_told_at_its_field(open_page):
    page = open_lab(open_page)
    lab(page).get_by_text("More settings").click()
    lab(page).get_by_label("Learning rate").fill("9")
    lab(page).get_by_role("button", name="Train", exact=True).click()
    page.wait_for_selector(".da-field-problem:not([hidden])")
    assert (
        "learning_rate is a number from 1e-05 to 0.05"
        in page.locator(".da-field-problem:visible").inner_text()
    )
    lab(page).get_by_label("Steps", exact=True).nth(1).fill("1")
    page.keyboard.press("Tab")
    page.wait_for_selector("text=This sampler takes 2 to 1000 steps")


def test_a_lesson_asks_and_then_shows(open_page):
    page = open_lab(open_page)
    lab(page).get_by_text("Lessons (7)").click()
    page.locator('[data-lesson="guidance"]').click()
    card = page.locator(".da-lab-lesson")
    card.get_by_role("button", name="Next", exact=True).click()
    card.locator(".da-lab-choices button").first.click()
    page.wait_for_function(
        "document.querySelector('.da-lab-lesson-shown').textContent.startsWith('Its spread goes from')"
    )
    words = card.locator(".da-lab-lesson-shown").inner_text().split()
    assert float(words[6].rstrip(",")) < 0.8 * float(words[4])
    assert card.locator(".da-right").inner_text().startswith("It shrinks")
    card.get_by_role("button", name="Leave the lesson").click()
    assert card.is_hidden()
    assert not page.problems


def trained_lab(page: Any) -> None:
    """A network of one's own, known by its seed."""
    lab(page).get_by_text("More settings").click()
    lab(page).locator("input").and_(lab(page).get_by_label("Seed")).first.fill("41")
    train_briefly(page, 200)


def kept_names(page: Any) -> list[str]:
    return page.locator(".da-lab-kept-name").all_inner_texts()


def test_a_trained_network_is_kept_over_another_target_a_lesson_and_a_reload(open_page):
    page = open_lab(open_page)
    trained_lab(page)
    rows = lambda: saved(page, lambda: lab(page).get_by_role("button", name="CSV of From noise").click())  # noqa: E731
    before = rows().read_text()
    page.locator('[data-target="rings"]').click()
    page.wait_for_selector(".da-lab-aside:not([hidden])")
    assert page.locator(".da-lab-aside").inner_text().startswith("“Moons, 3 × 128, 200 steps")
    page.locator(".da-lab-aside").get_by_role("button", name="Back to it").click()
    page.wait_for_function(
        "document.querySelector('.da-lab .da-status').textContent.startsWith('Moons · 200 steps')"
    )
    sampled(page)
    assert rows().read_text() == before
    # A reload comes back to it; a new window of the same visitor has it in the list.
    page.reload()
    page.wait_for_function("document.querySelector('.da-lab .da-status')?.textContent.includes('200 steps')")
    sampled(page)
    assert rows().read_text() == before
    other = page.context.new_page()
    other.set_default_timeout(PATIENCE)
    other.goto(page.url)
    sampled(other)
    mine = other.locator('.da-lab-kept-row:has-text("200 steps")').first
    mine.get_by_role("button", name="Rename").click()
    other.locator(".da-lab-kept .da-name-input").fill("My <b>moons</b>")
    other.keyboard.press("Enter")
    mine = other.locator('.da-lab-kept-row:has-text("My <b>moons</b>")')
    mine.wait_for()
    mine.get_by_role("button", name="Delete").click()
    mine.wait_for(state="detached")
    other.get_by_role("button", name="Undo").click()
    mine.locator(".da-lab-kept-name").click()
    other.wait_for_function(
        "document.querySelector('.da-lab .da-status').textContent.startsWith('Moons · 200 steps')"
    )
    # A lesson puts it aside with the same words.
    lab(other).get_by_text("Lessons (7)").click()
    other.locator('[data-lesson="score"]').click()
    other.wait_for_selector(".da-lab-aside:not([hidden]):has-text('is kept')")
    assert not page.problems


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_the_actions_are_in_view_all_the_way_and_on_a_phone_results_come_first(open_page, width, height):
    page = open_lab(open_page, width)
    page.set_viewport_size({"width": width, "height": height})
    for share in (0, 0.5, 1):
        page.evaluate(f"window.scrollTo(0, {share} * document.body.scrollHeight)")
        page.wait_for_timeout(200)
        for name in ("Train", "Continue", "Stop", "Sample"):
            box = page.locator(".da-lab-actions").get_by_role("button", name=name, exact=True).bounding_box()
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= height
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
    page.evaluate("window.scrollTo(0, 0)")
    places = {
        name: page.locator(at).bounding_box()["y"]
        for name, at in {
            "plane": ".da-lab-stage",
            "target": ".da-lab-targets",
            "views": ".da-lab-main [role=tablist]",
            "network": '.da-lab [aria-label="Network"]',
        }.items()
    }
    if width < 900:
        assert sorted(places, key=places.get) == ["plane", "target", "views", "network"]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_lines_of_python_make_the_samples_in_view(open_page):
    page = open_lab(open_page)
    trained_lab(page)
    with page.expect_response(lambda answer: "lab_sample" in (answer.request.post_data or "")):
        lab(page).get_by_label("Sampler", exact=True).select_option("ddim")
    page.wait_for_timeout(500)
    sampled(page)
    csv_file = saved(page, lambda: lab(page).get_by_role("button", name="CSV of From noise").click())
    shown = [(float(x), float(y)) for x, y, *_ in list(csv.reader(csv_file.open()))[1:]]
    page.click(".da-footer .da-python")
    lines = page.inner_text(".da-python-dialog[open] .da-python-lines")
    names: dict[str, Any] = {}
    exec(compile(lines, "lines", "exec"), names)
    assert names["trainer"].step == 200
    assert names["points"].tolist() == [pytest.approx(point, abs=1e-3) for point in shown]


def test_a_lab_that_the_server_has_dropped_comes_back_by_itself(open_page):
    page = open_lab(open_page)
    trained_lab(page)
    sample = page.locator(".da-lab-actions").get_by_role("button", name="Sample", exact=True)
    is_sampling = lambda request: "lab_sample" in (request.post_data or "")  # noqa: E731
    with page.expect_request(is_sampling) as asked:
        sample.click()
    body = asked.value.post_data_json
    taken = {"target": {"preset": "rings"}, "pretrained": True, "instead": body["data"]["lab"]}
    answer = page.evaluate(
        """async ([url, body]) => {
          const headers = { "Content-Type": "application/json" };
          return (await fetch(url, { method: "POST", headers, body: JSON.stringify(body) })).json();
        }""",
        [asked.value.url, {**body, "fn_name": "lab_begin", "data": taken}],
    )
    assert answer["name"] == "rings"
    with page.expect_request(lambda request: "lab_return" in (request.post_data or "")):
        sample.click()
    page.wait_for_function("!/…/.test(document.querySelector('.da-lab .da-status').textContent)")
    sampled(page)
    assert status(page).startswith("Moons · 200 steps trained")
    assert page.locator(".da-lab .da-problem:visible").count() == 0
