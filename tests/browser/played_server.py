"""A page without an app, in which a test plays the server: in which order and how late it answers, and whether."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.module_page import HOST, module_page

#: `play()` makes a `server` that notes what it is asked in `calls`, [{name, asked, answer(value), refuse(words, field),
#: lose()}]; `open(name)` are those of a name that have no answer yet. `settle()` lets all that has been answered come
#: to its end; what waits for some time waits for `pass()`.
SERVER = """() => {
  const later = setTimeout;
  window.later = [];
  window.setTimeout = (act, wait, ...given) =>
    wait > 90 ? window.later.push(() => act(...given)) : later(act, wait, ...given);
  window.pass = () => window.later.splice(0).forEach((act) => act());
  window.settle = () => new Promise((done) => later(done, 5));
  window.play = () => {
    const calls = [];
    const server = new Proxy({}, { get: (_, name) => (asked) => new Promise((resolve, reject) => {
      const call = { name, asked: structuredClone(asked), done: false };
      call.answer = (value) => { call.done = true; resolve(value); };
      call.refuse = (message, field = null) => call.answer({ error: { message, field } });
      call.lose = () => { call.done = true; reject(new Error("lost")); };
      calls.push(call);
    }) });
    const open = (name) => calls.filter((call) => call.name === name && !call.done);
    return { server, calls, open };
  };
}"""


@pytest.fixture(scope="module")
def page(chromium: Any) -> Iterator[Any]:
    with module_page(chromium) as page:
        page.evaluate(SERVER)
        yield page


@pytest.fixture
def run(page: Any) -> Callable[..., Any]:
    """``run(file, script, **values)``: what a script returns that has the module as `m` and a server to play."""
    page.evaluate("() => { sessionStorage.clear(); window.later = []; }")

    def go(name: str, script: str, **values: Any) -> Any:
        given = ", ".join(values)
        return page.evaluate(
            f"async ({{ {given} }}) => {{ const m = await import('{HOST}/{name}');"
            f" const {{ server, calls, open }} = window.play(); {script} }}",
            values,
        )

    return go
