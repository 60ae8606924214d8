"""The page without a server, opened from the disk in Chromium and in Firefox."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffatlas.attention.compare import js
from diffatlas.attention.trace import AttentionTrace
from diffatlas.formats.kinds import export
from diffatlas.formats.named import Named
from diffatlas.run import Run
from tests.browser.firefox import firefox_page
from tests.browser.page_file import file, page, runs

__all__ = ["file", "page", "runs"]

pytestmark = pytest.mark.browser


def shown_step(page: Any) -> str:
    return page.inner_text(".da-timeline-at").split(" of ")[0]


def test_words_timeline_and_scrolling_go_together(page: Any, runs: list[Run]) -> None:
    trace = AttentionTrace.of(runs[0])
    page.click(".da-tab[data-view=words]")
    page.click(".da-words .da-word >> text=blue")
    page.focus(".da-timeline")
    page.keyboard.press("Home")
    page.wait_for_selector(".da-timeline-at:has-text('step 1 of 6')")
    token = next(t.index for t in trace.tokens if t.word_text == "blue")
    numbers = page.locator(".da-attention-numbers dd").all_inner_texts()
    assert numbers[0] == "blue"
    assert float(numbers[1]) == pytest.approx(trace.activation()[0, token], rel=1e-3)
    page.wait_for_selector(".da-attention-large canvas:visible")
    # The column of steps follows the timeline, and the timeline the column.
    assert page.get_attribute(".da-scroller-step >> nth=0", "aria-current") == "step"
    page.wait_for_timeout(400)
    page.evaluate("document.querySelector('.da-scroller').scrollTop = 1e6")
    page.wait_for_selector(".da-timeline-at:has-text('step 6 of 6')")
    page.wait_for_timeout(400)
    page.evaluate(
        """(box => {
            box.scrollTop = (box.scrollHeight - box.clientHeight) / 2;
        })(document.querySelector('.da-scroller'))"""
    )
    page.wait_for_function("/step [34] of 6/.test(document.querySelector('.da-timeline-at').innerText)")
    before = shown_step(page)
    page.wait_for_timeout(400)
    assert shown_step(page) == before  # nothing scrolls it further
    page.click(".da-play")
    page.wait_for_selector(".da-timeline-at:has-text('step 6 of 6')")
    page.wait_for_function(
        "document.querySelectorAll('.da-scroller-step')[5].getAttribute('aria-current') === 'step'"
    )


SAYS = "#da-offline-compare .da-figure-says"


def test_two_runs_their_paths_and_curves(page: Any, runs: list[Run]) -> None:
    page.click(".da-tab[data-view=compare]")
    page.wait_for_selector(".da-attention-twin canvas:visible >> nth=1")
    found = js(*(AttentionTrace.of(run) for run in runs))
    told = page.inner_text(SAYS)
    assert float(told.split(": ")[1].split()[0]) == pytest.approx(found.by_step.max(), rel=1e-2)
    # Of some layers, the maps and the divergence are both theirs.
    page.select_option(".da-attention-controls select >> nth=0", '["down"]')
    found = js(*(AttentionTrace.of(run).within("down") for run in runs))
    page.wait_for_function(
        "before => document.querySelector('#da-offline-compare .da-figure-says').innerText !== before",
        arg=told,
    )
    told = page.inner_text(SAYS)
    assert float(told.split(": ")[1].split()[0]) == pytest.approx(found.by_step.max(), rel=1e-2)
    page.click(".da-tab[data-view=path]")
    assert page.locator(".da-path-line").count() == 2
    page.click(".da-path-second .da-path-state >> nth=2", force=True)
    page.wait_for_selector(".da-timeline-at:has-text('step 2 of 6')")
    assert "da-active" in page.get_attribute(".da-offline-run >> nth=1", "class")
    page.click(".da-tab[data-view=latents]")
    norm = page.locator(".da-figure-head[data-metric=norm] .da-readout > span").all_inner_texts()
    wanted = [run.steps[1].metrics["norm"] for run in runs]
    assert [float(text) for text in norm] == pytest.approx(wanted, rel=1e-3)


def test_runs_without_attention_or_latents_show_what_there_is(
    runs: list[Run], chromium: Any, tmp_path: Path
) -> None:
    bare = [
        replace(
            run,
            initial_latents=None,
            steps=tuple(replace(step, attention=None, latents=None, metrics={}) for step in run.steps),
        )
        for run in runs
    ]
    for name, shown in (("bare", bare), ("mixed", [bare[0], runs[1]])):
        (tmp_path / f"{name}.html").write_bytes(export("html", [Named(name, run) for run in shown]))
        page = chromium.new_page()
        problems = []
        page.on("pageerror", lambda error, problems=problems: problems.append(str(error)))
        page.goto((tmp_path / f"{name}.html").as_uri())
        # The arrow keys work without anything being chosen first.
        page.wait_for_selector(".da-timeline-at:has-text('step 6 of 6')")
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector(".da-timeline-at:has-text('step 5 of 6')")
        assert page.locator(".da-attention-twin img:visible").count() == 2
        assert "not captured in both runs" in page.inner_text(".da-stage")
        for view in page.eval_on_selector_all(".da-tab", "tabs => tabs.map((tab) => tab.dataset.view)"):
            page.click(f".da-tab[data-view={view}]")
            assert page.inner_text(f"#da-offline-{view}").strip() != ""
        assert problems == []
        page.close()


def test_it_opens_in_firefox(file: Path, firefox: str, tmp_path: Path) -> None:
    with firefox_page(firefox, tmp_path) as page:
        page.goto(file.as_uri())
        page.wait_for("document.querySelectorAll('.da-word').length === 7")
        page.wait_for("!document.querySelector('.da-attention-large canvas').hidden")
        # Colours are drawn: the canvas is not of one colour.
        assert (
            page.evaluate(
                """(() => {
                const canvas = document.querySelector(".da-attention-large canvas");
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                return new Set(Array.from({ length: data.length / 4 }, (_, k) => data[4 * k])).size;
            })()"""
            )
            > 20
        )
        assert page.evaluate("document.querySelector('.da-timeline-at').innerText").startswith("step 6 of 6")
        page.press("\ue012")  # the left arrow
        page.wait_for("document.querySelector('.da-timeline-at').innerText.startsWith('step 5 of 6')")
        page.wait_for("document.querySelectorAll('.da-attention-twin').length === 2")
        assert page.problems == []
