"""A key that a visitor types reaches the provider, and is found nowhere else after a whole session."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from diffatlas.library import Library
from tests.backends.hosted.fakes.replicate import FakeReplicate
from tests.backends.hosted.fakes.server import KEY
from tests.browser.visiting import PATIENCE, STATUS
from tests.serving import served_app

#: Whether the guidance values that are offered are those of the model that the link names, which takes 0 to 10.
WITHIN_RANGE = """() => {
    const offered = [...document.querySelectorAll("#field-guides button")].map((one) => Number(one.textContent));
    return offered.length > 0 && offered.every((value) => value <= 10);
}"""
ROW = ".da-key[data-provider=replicate]"


@dataclass
class Heard:
    """What went over the line between the browser and the app."""

    sent: list[tuple[str, str]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    def take(self, response: Any) -> None:
        request = response.request
        self.sent.append((request.url, (request.post_data or "") + json.dumps(request.headers)))
        with suppress(Exception):  # a stream that the page has left has no body any more
            self.answers.append(f"{response.url} {json.dumps(response.headers)} {response.text()}")


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeReplicate, str, Path]]:
    folder = tmp_path_factory.mktemp("keys")
    with FakeReplicate() as fake:
        urls = json.dumps({"replicate": fake.url})
        with served_app(folder, DIFFATLAS_HOSTED_URLS=urls, REPLICATE_API_TOKEN="") as url:
            yield fake, url, folder


def choose(page: Any, name: str, label: str) -> None:
    """Choose one of a form's menu."""
    page.click(f"#{name} input")
    page.click(f".options li:has-text('{label}')")


def test_a_key_is_found_nowhere_but_at_the_provider(
    chromium: Any, hosted: tuple[FakeReplicate, str, Path], tmp_path: Path
) -> None:
    fake, url, folder = hosted
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    page, heard, said = context.new_page(), Heard(), []
    page.set_default_timeout(PATIENCE)
    page.on("response", heard.take)
    page.on("console", lambda line: said.append(line.text))
    try:
        page.goto(f"{url}?page=settings")
        page.wait_for_selector(ROW)
        page.fill(f"{ROW} input", KEY)
        page.keyboard.press("Enter")
        page.wait_for_selector(f"{ROW}[data-source=typed]")
        page.click(f"{ROW} button:has-text('Check key')")
        page.wait_for_selector(f"{ROW}:has-text('takes')")

        # A run; one that the provider refuses with the key in its words; and several, as a study.
        page.goto(
            f"{url}?backend=replicate&model=black-forest-labs/flux-dev&prompt=a+red+circle&steps=4&guidance=3"
        )
        page.wait_for_selector("#field-run")
        page.wait_for_function("document.querySelector('#field-backend input').value === 'Replicate'")
        page.wait_for_function(WITHIN_RANGE)
        page.click("#field-run")
        page.wait_for_function(f"{STATUS} === 'complete'")
        page.wait_for_selector(":text('shows no latents')")
        fake.refusal = lambda status: {"detail": f"{KEY} is not allowed to do that."}  # type: ignore[method-assign]
        fake.fail("422")
        page.fill("#field-seed input", "12")
        page.click("#field-run")
        page.wait_for_selector(":text('[key] is not allowed')")
        fake.fail("")
        seen = page.content()
        page.goto(f"{url}?page=library")
        page.wait_for_selector(".da-page-library :text('a red circle')")
        seen += page.content() + page.url
        for path in ("config", "gradio_api/info", "gradio_api/openapi.json"):
            heard.answers.append(context.request.get(url + path).text())
        kept = json.dumps(context.storage_state(indexed_db=True)) + page.evaluate(
            "JSON.stringify({...sessionStorage})"
        )
    finally:
        context.close()

    carried = [one for one in heard.sent if KEY in "".join(one)]
    assert len(carried) == 1, "it goes to the app once, as it is typed"
    assert KEY not in carried[0][0], "and in no address"
    assert not [answer[:80] for answer in heard.answers if KEY in answer]
    assert KEY not in seen + kept + "".join(said)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".png" for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    for arguments in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            assert KEY.encode() not in arguments.read_bytes()
    library = Library(folder / "runs")
    library.export_dataset(tmp_path / "dataset", [run.id for run in library.list()])
    assert not [
        p for p in (tmp_path / "dataset").rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()
    ]

    assert fake.creations
    for request in fake.seen:
        # Of the provider's own addresses, only its API sees it.
        assert (KEY in json.dumps(dict(request.headers))) == request.path.startswith("/v1/")
        assert KEY not in request.path + request.body.decode()
