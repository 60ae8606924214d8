"""The endpoints for scripts beside those of the forms: kept runs, their numbers and files, models, backends.

Scripts call them as they call those of the forms, by ``gradio_client`` or plain HTTP (`docs/agents.md`). Whose runs
they reach is told by the visitor's cookie, or else by the client's own session.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal

import gradio as gr
from gradio.route_utils import get_root_url

from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.library.find import SORTS
from diffatlas.stopping import Stopped
from diffatlas.ui.answers import STOPPED
from diffatlas.ui.programs import kept
from diffatlas.ui.programs.kept import LINKS, Kept
from diffatlas.ui.said import refusal_to_script
from diffatlas.ui.visitors import visitor_of
from diffatlas.ui.wiring import MAX_WAITING

log = logging.getLogger("diffatlas")

FAILED = "The app could not do this; its log says why."
_MARK = "/gradio_api/"


def add_endpoints(runs: Kept) -> None:
    """Add the endpoints to the app that is being built."""

    def search(
        request: gr.Request,
        text: str = "",
        model: str = "",
        kind: str = "",
        status: str = "",
        tag: str = "",
        attention: Literal["", "cross", "self", "all"] = "",
        sort: Literal[tuple(SORTS)] = "created",  # type: ignore[valid-type]
        descending: bool = True,
        limit: int = 20,
        offset: int = 0,
    ) -> dict:
        """Find runs in the library.

        Args:
            text: words; each must begin a word of the prompt, name, note, tags, model or id.
            model: the id of a model; empty for any.
            kind: what made the run, such as trace, sweep, neighbourhood or bench; empty for any.
            status: complete, stopped, failed, running or partial; empty for any.
            tag: a tag that the run has; empty for any.
            attention: the kind of attention that was captured; empty for any or none.
            sort: what the runs are sorted by.
            descending: whether the last one comes first.
            limit: how many runs at most.
            offset: how many of those found are left out before the first.

        Returns:
            runs: each with its id, status, prompt, model, seed, settings, marks and `app`, the address that opens it;
            total: how many runs fit.
        """
        return _answered(
            lambda: runs.search(
                *_who(request),
                text,
                model,
                kind,
                status,
                tag,
                attention,
                sort,
                descending,
                limit,
                offset,
            )
        )

    def run(request: gr.Request, run_id: str) -> dict:
        """Say what was asked of a kept run, what came of it, and where its image is.

        Args:
            run_id: the id of a run.

        Returns:
            id, status, created, seconds, error; asked: the arguments that ask for it again; totals of its path;
            image: the address of its final image; app: the address that opens it.
        """
        return _answered(lambda: runs.run(*_who(request), run_id))

    def run_steps(request: gr.Request, run_id: str) -> dict:
        """Return the numbers of a kept run by step.

        Args:
            run_id: the id of a run.

        Returns:
            steps: by step, 0 the noise: timestep, sigma_before, sigma, and each measure, null where it is not known;
            totals of the path; units of the numbers by their names.
        """
        return _answered(lambda: runs.steps(_who(request)[0], run_id))

    def run_link(request: gr.Request, run_id: str, kind: Literal[LINKS] = "image") -> dict:  # type: ignore[valid-type]
        """Return the address of a file of a kept run.

        image is its final image, gif and mp4 its film that moves, png and svg its film as a strip, html a page of it
        that needs no server, csv and json its tables, npz and safetensors its arrays, pdf a report, zip the run itself.

        Args:
            run_id: the id of a run.
            kind: image (the final one), app (the app open on it), or a file of `diffatlas.formats.kinds.KINDS`.

        Returns:
            url: the address, for the visitor who asked; run and kind.
        """
        return _answered(lambda: runs.link(*_who(request), run_id, kind))

    def run_attention(request: gr.Request, run_id: str, word: str = "") -> dict:
        """Return by step how much the words of a prompt were looked at; the run must have captured attention.

        Args:
            run_id: the id of a run.
            word: a word of its prompt, as it stands there; empty for all of them.

        Returns:
            words: each with its tokens and activation, the mean probability over places and layers, by step;
            steps: the captured ones, 1 for the first; entropy: by step, nats, the mean over the layers.
        """
        return _answered(lambda: runs.words(_who(request)[0], run_id, word))

    def models(backend: str = "local") -> dict:
        """Say which models are offered.

        Args:
            backend: where they run, one of the names that `backends` returns.

        Returns:
            models: each with its id, name, notes, and good first values of side (pixels), steps and guidance.
        """
        return _answered(lambda: kept.models(backend))

    def backends() -> dict:
        """Say where models can run.

        Returns:
            backends: each with its name (which the other endpoints take), label, whether steps can be seen there, and
            how many models it lists; a place elsewhere lists what it has said so far, and `models` asks it.
        """
        return _answered(kept.backends)

    # Nothing of them is on the page.
    with gr.Column(visible=False):
        for function in (search, run, run_steps, run_link, run_attention, models, backends):
            gr.api(function, api_name=function.__name__, concurrency_limit=MAX_WAITING)


def root_of(request: Any, route: str, root_path: str | None = None) -> str:
    """Return the address of the app as its caller sees it, without a slash at its end.

    request: of FastAPI. route: what follows the app's own address in that of the request.
    """
    return get_root_url(request, route, root_path).rstrip("/")


def _who(request: gr.Request) -> tuple[str, str]:
    """Return the visitor who asks, and the address of the app."""
    visitor = visitor_of(request, request.session_hash)
    if visitor is None:
        raise InvalidParams("Nobody is named who asks: call it through a session, or with a cookie.")
    inner = request.request
    at = inner.url.path.find(_MARK)
    return visitor, root_of(inner, inner.url.path[at:] if at >= 0 else "/")


def _answered(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what is asked; what is wrong is told to the script in one sentence."""
    try:
        return ask()
    except Stopped:
        raise refusal_to_script(STOPPED) from None
    except DiffAtlasError as error:
        raise refusal_to_script(error.message) from None
    except Exception:
        log.exception("A script asked for something, which failed.")
        raise refusal_to_script(FAILED) from None
