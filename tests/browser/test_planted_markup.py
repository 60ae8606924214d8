"""Markup that somebody planted, in a link, a run, a file or a field, stays text; and the page asks nobody else."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

from diffatlas.library import Library
from tests.browser.visiting import PATIENCE, press_run
from tests.library.made_runs import made
from tests.serving import served_app

pytestmark = pytest.mark.browser

PLANTED = (
    '"><img src=//evil.example/i.png onerror="window.pwned=1"><svg onload="window.pwned=1"></svg>'
    "<a href=//evil.example>x</a><form action=//evil.example></form></script><script>window.pwned=1</script>"
    "[x](http://evil.example) ![x](http://evil.example/i.png)"
)
SHORT = "<img src=x onerror=window.pwned=1>"
FILE = "<img src=x onerror=window.pwned=1>[x](http:evil.example).png"
WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
    window.violations.push([event.effectiveDirective, event.blockedURI, event.sample]));
"""
#: What came to be of what was planted.
GROWN = """() => {
    const bad = "a[href*=evil], [src*=evil], [action*=evil], img[src=x], [onerror], [onload]";
    const found = [...document.querySelectorAll(bad)].map((node) => node.outerHTML);
    return [...found, ...(window.pwned ? ["it ran"] : []), ...window.violations];
}"""


@pytest.fixture(scope="module")
def planted_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An app whose library has runs in which everything that can be is planted."""
    folder = tmp_path_factory.mktemp("planted")
    library = Library(folder / "runs")
    words = {
        "model": PLANTED[:200],
        "prompt": PLANTED,
        "negative_prompt": PLANTED,
        "scheduler": PLANTED[:100],
    }
    provenance = {"dtype": PLANTED, "pipeline": PLANTED, "device": PLANTED, "versions": {"torch": PLANTED}}
    library.save(made(1, **words, provenance=provenance))
    error = {"message": PLANTED, "type": "BackendFailure", "field": None}
    library.save(made(2, **words, status="failed", error=error, images=()))
    for info in library.list():
        library.mark(info.id, name=SHORT, tags=[SHORT], note=PLANTED)
    with served_app(folder) as url:
        yield url


@pytest.fixture
def visit(chromium: Any, planted_url: str) -> Iterator[Callable[[dict[str, str]], Any]]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.add_init_script(WATCH)
    requested, problems = [], []
    page.on("request", lambda request: requested.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda said: said.type == "error" and "Content Security" in said.text and problems.append(said.text),
    )

    def visit(query: dict[str, str]) -> Any:
        page.goto(planted_url + "?" + urlencode(query))
        page.wait_for_selector(".da-page-trajectory .da-viewer", state="attached")
        return page

    yield visit
    assert page.evaluate(GROWN) == []
    assert [url for url in requested if not url.startswith((planted_url, "data:", "blob:"))] == []
    assert problems == []
    context.close()


def test_of_links_files_and_fields(visit: Callable[[dict[str, str]], Any]) -> None:
    page = visit({"seed": PLANTED, "page": PLANTED, "run": PLANTED, "study": PLANTED})
    page.wait_for_selector("[data-testid=toast-text]")
    assert page.inner_text("[data-testid=toast-text]").count(PLANTED) == 1
    assert page.evaluate(GROWN) == []

    page.click(".da-from-picture > button")
    page.wait_for_selector("#field-inputs canvas")
    drawn = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(drawn, "PNG")
    picture = {"name": FILE, "mimeType": "image/png", "buffer": drawn.getvalue()}
    page.set_input_files("#field-inputs input[type=file]", picture)
    page.wait_for_selector("#field-inputs [aria-label='Brush Size']")
    # A model that is none: its field says so, in the words that were typed.
    page.fill("#field-model input", PLANTED)
    page.press("#field-model input", "Enter")
    page.wait_for_selector("#field-model.da-wrong")
    assert "evil.example" in page.inner_text("#field-model")
    press_run(page, prompt=PLANTED)
    page.wait_for_function("document.querySelector('.da-viewer').innerText.includes('evil.example')")


def test_of_runs_and_what_was_written_about_them(
    visit: Callable[[dict[str, str]], Any], planted_url: str
) -> None:
    page = visit({"page": "library"})
    page.wait_for_selector(".da-run >> nth=1")
    page.click(".da-run-open >> nth=0")
    page.wait_for_selector(".da-details[open] .da-tag")
    assert PLANTED in page.inner_text(".da-details")
    assert page.input_value(".da-note") == PLANTED
    assert page.evaluate(GROWN) == []
    run = page.evaluate(
        "document.querySelector('.da-run').dataset.id ?? document.querySelector('[data-id]').dataset.id"
    )
    page = visit({"page": "trajectory", "run": run})
    page.wait_for_function("document.querySelector('.da-viewer').innerText.includes('evil.example')")
    assert page.evaluate(GROWN) == []
    page.click(".da-nav button[data-page=attention]")
    page.wait_for_selector(".da-page-attention .da-attention", state="attached")


def test_every_answer_says_what_a_browser_may_do(chromium: Any, planted_url: str) -> None:
    context = chromium.new_context()
    answers = [
        context.request.get(planted_url + path)
        for path in ("", "theme.css", "config", "nowhere", "gradio_api/file=/nowhere", "favicon.ico")
    ]
    context.close()
    for answer in answers:
        headers = answer.headers
        rules = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
        assert (rules["default-src"], rules["object-src"], rules["form-action"]) == (
            "'self'",
            "'none'",
            "'self'",
        )
        assert "'unsafe-inline'" not in rules["script-src"]
        assert "https://*.hf.space" in rules["frame-ancestors"]
        assert "http://localhost:*" in rules["frame-ancestors"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
