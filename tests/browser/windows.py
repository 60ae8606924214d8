"""Windows of visitors. One is used again by the next test: its browser has read and compiled the page already."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from diffatlas.ui.own_files import base
from tests.browser.visiting import PATIENCE

#: Visits after which a window is closed, so that nothing gathers in it.
VISITS = 25
#: What a browser keeps for a site, but for the files that it has fetched.
KEPT = "cookies,local_storage,indexeddb,cache_storage,service_workers"

#: Whether the view of the first page and its form are there: those of others may be before, and forms after views. What
#: Playwright's own selectors take to look for them is a tenth of what opening the page takes.
THERE = """() => document.querySelector(".da-page-trajectory .da-viewer") && document.querySelector("#field-run")"""


class Windows:
    """Opens the app at ``url`` in a visitor's own window.

    ``page.requested`` lists the addresses that a window has fetched, ``page.problems`` the errors of its scripts.
    """

    def __init__(self, chromium: Any, url: str) -> None:
        self._chromium = chromium
        self._url = url
        self._spare: Any = None
        self._visits = 0
        self._open: list[Any] = []

    def open(self, width: int = 1280, query: str = "") -> Any:
        """Return the page of a visitor whom the app does not know, once its view and its form are there."""
        page = self.blank(width)
        page.goto(self._url + query)
        page.wait_for_function(THERE, polling=50)
        return page

    def blank(self, width: int = 1280, height: int = 900) -> Any:
        """Return the empty page of a visitor whom the app does not know."""
        page, self._spare = self._spare or self._new(), None
        self._open.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.requested, page.problems = [], []
        return page

    def keep(self, page: Any) -> None:
        """Leave a page open after the test; who has it closes its context."""
        self._open.remove(page)

    def leave(self) -> None:
        """Close the windows of a test; the first of them is kept, as that of somebody who was never here."""
        first, *others = self._open or [None]
        self._open = []
        for page in others:
            page.context.close()
        if first is None:
            return
        self._visits += 1
        try:
            self._clean(first)
        except Exception:
            with suppress(Exception):
                first.context.close()
            return
        self._spare = first

    def close(self) -> None:
        """Close the window that is kept."""
        if self._spare is not None:
            self._spare.context.close()

    def _new(self) -> Any:
        self._visits = 0
        page = self._chromium.new_context().new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        return page

    def _clean(self, page: Any) -> None:
        """Raises an error for a window that cannot be used again."""
        if self._visits >= VISITS:
            raise RuntimeError("It was used often enough.")
        context = page.context
        for other in context.pages:
            if other != page:
                other.close()
        # What a test holds back still is no fault of the next one.
        page.unroute_all(behavior="ignoreErrors")
        # Where no script runs any more that could write: what a browser is told to forget from outside comes before
        # what a page has written just now.
        page.goto(f"{self._url}{base()}/core/page.css")
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
        page.goto("about:blank")
        context.clear_cookies()
        context.clear_permissions()
        session = context.new_cdp_session(page)
        session.send("Storage.clearDataForOrigin", {"origin": self._url.rstrip("/"), "storageTypes": KEPT})
        session.detach()
