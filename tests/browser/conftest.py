"""The real app in a process of its own, and a real Chromium."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from diffatlas.ui.own_files import base
from tests.browser.firefox import find_firefox
from tests.browser.visiting import PATIENCE
from tests.browser.windows import Windows
from tests.serving import CHROMIUM_FLAGS, find_chromium, served_app

#: Pages are put together without WebGL's renderer, which a CPU runs in software: half of what Chromium takes.
PLAIN_DRAWING = ["--disable-gpu-compositing"]
#: Letters of a page that the report of a failed test shows.
SHOWN = 1500


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, Any, Any]:
    """Show in the report of a failed test what was on its pages, and the end of the app's log."""
    report = yield
    browser = getattr(item, "funcargs", {}).get("chromium")
    if report.failed and browser is not None:
        for context in browser.contexts:
            for page in context.pages:
                with suppress(Exception):
                    report.sections.append((page.url, page.inner_text("body")[:SHOWN]))
        folder = item.funcargs.get("app_folder")
        if folder is not None and (folder / "log.txt").is_file():
            report.sections.append(("log of the app", (folder / "log.txt").read_text()[-SHOWN:]))
    return report


@pytest.fixture(scope="session")
def app_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the served app keeps what it keeps; its library is ``runs``."""
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="session")
def app_url(app_folder: Path) -> Iterator[str]:
    with served_app(app_folder) as url:
        yield url


def needed(path: str | None, what: str) -> str:
    """Return a browser's path; where there is none the test is skipped, and fails in CI."""
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"No {what}")
    return path


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    path = needed(find_chromium(), "Chromium: install Debian's chromium, or name one in CHROMIUM.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*CHROMIUM_FLAGS, *PLAIN_DRAWING])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def firefox() -> str:
    """Where Firefox is."""
    return needed(find_firefox(), "Firefox: install Debian's firefox-esr, or name one in FIREFOX.")


@pytest.fixture(scope="session")
def windows(chromium: Any, app_url: str) -> Iterator[Windows]:
    windows = Windows(chromium, app_url)
    yield windows
    windows.close()


@pytest.fixture
def bare_page(chromium: Any, app_url: str) -> Iterator[Any]:
    """A page of the app's own address without a script, in which modules are loaded by themselves."""
    context = chromium.new_context(viewport={"width": 1000, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{app_url}{base()}/core/page.css")
    yield page
    context.close()


@pytest.fixture
def open_page(windows: Windows) -> Iterator[Any]:
    """A function that opens the app in a visitor's own window: `Windows.open`."""
    yield windows.open
    windows.leave()
