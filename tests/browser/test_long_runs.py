"""Long runs on the Trajectory page: Stop is reachable, what is drawn is little, what is sent is new."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.visiting import CURVES, STATUS, lock, press_run, run, view

pytestmark = pytest.mark.browser

LIVE = "[...document.querySelectorAll('.da-sheet:last-child .da-frame[data-step]')]"


def test_stop_ends_200_steps_over_two_locked_layers_and_no_frame_is_made_twice(open_page: Any) -> None:
    page = open_page()
    for seed in (1, 2):
        run(page, prompt="a red circle", seed=seed, num_inference_steps=30)
        lock(page)
    press_run(page, seed=3, num_inference_steps=200)
    page.wait_for_function(f"document.querySelectorAll('.da-sheet').length === 3 && {LIVE}.length >= 20")
    marked = page.evaluate(f"{LIVE}.map((frame, at) => (frame.marked = at)).length")
    page.wait_for_function(f"{LIVE}.length >= {marked + 10}")
    page.click("#field-stop")
    page.wait_for_function(f"{STATUS} === 'stopped'")
    made = page.evaluate(f"{LIVE}.length")
    assert marked + 10 <= made < 200
    assert page.inner_text(".da-status") == f"Stopped after {made} of 200 steps"
    kept = page.evaluate(f"{LIVE}.map(frame => frame.marked ?? null).filter(at => at !== null)")
    assert kept == list(range(marked))
    assert page.problems == []


def test_a_view_that_is_closed_is_not_drawn_and_every_step_is_sent_once(open_page: Any) -> None:
    page = open_page()
    answers: list[Any] = []
    page.on("response", lambda response: answers.append(response))
    view(page, "curves")
    page.evaluate(
        """() => {
            window.drawn = 0;
            const all = { childList: true, subtree: true, attributes: true, characterData: true };
            for (const closed of [".da-film", ".da-path"]) {
                const watch = new MutationObserver((changes) => (drawn += changes.length));
                watch.observe(document.querySelector(closed), all);
            }
        }"""
    )
    run(page, prompt="a red circle", seed=4, num_inference_steps=40)
    assert page.evaluate("drawn") == 0
    page.wait_for_function(f"{CURVES} == 8")
    grown = [one for one in answers if '"grown"' in (one.request.post_data or "")]
    sent = [step["index"] for answer in grown for step in answer.json()["steps"]]
    assert sent == list(range(40))
    view(page, "film")
    page.wait_for_function("document.querySelectorAll('.da-frame[data-step]').length === 40")
    assert page.problems == []


GROW = """async (address) => {
    const { createFilm } = await import(address);
    const root = document.createElement("div");
    root.className = "da-film";
    document.querySelector(".da-panel-film").replaceChildren(root);
    const film = createFilm(root, { onSelect() {}, onHistogram() {} });
    const preview = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
    const histogram = btoa("\\x40".repeat(48));
    const alike = { sigma_before: 1, sigma: 1, metrics: [], preview, histogram };
    const step = (index) => ({ index, timestep: 999 - index, ...alike });
    const steps = (count) => Array.from({ length: count }, (_, index) => step(index));
    const run = (id, total_steps) => ({ id, seed: 1, model_name: "Shapes", guidance_scale: 3, total_steps });
    const layer = (id, count, total, status) => ({
        id, name: id, own: id, locked: status === "complete", colour: "red",
        data: { request: id, status, prompt: id, metrics: [], run: run(id, total), steps: steps(count) },
    });
    const locked = [layer("a", 30, 30, "complete"), layer("b", 30, 30, "complete")];
    const show = (count, status) => {
        const live = layer("live", count, 1000, status);
        film.update({ layers: [...locked, live], live: status === "running" ? live.data : null, selected: null });
    };
    const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    let most = 0;
    for (let count = 20; count <= 1000; count += 20) {
        show(count, "running");
        await frame();
        most = Math.max(most, root.querySelectorAll("*").length);
    }
    await frame();
    const shots = () => [...root.querySelectorAll(".da-sheet:last-child .da-shot")];
    const filled = () => shots().map((shot) => Number(shot.closest(".da-cell").dataset.index));
    const atTheEnd = filled();
    show(1000, "complete");
    for (let k = 0; k < 5; k++) await frame();
    return { most, atTheEnd, after: filled(), nodes: root.querySelectorAll("*").length };
}"""


def test_of_1000_steps_the_frames_in_sight_are_filled_and_the_others_are_two_elements(open_page: Any) -> None:
    page = open_page()
    address = next(url for url in page.requested if url.endswith("/views.js"))
    found = page.evaluate(GROW, address.replace("views.js", "runs/film.js"))
    # A filled frame has some twenty; all of them filled would be over 20,000.
    assert 2000 < found["nodes"] < 2 * 1060 + 20 * 240
    assert found["most"] < 2 * 1060 + 20 * 240
    # The newest is followed while the film grows; at the end it lies at its beginning.
    assert {995, 999} <= set(found["atTheEnd"])
    assert {0, 1, 2, 3} <= set(found["after"])
