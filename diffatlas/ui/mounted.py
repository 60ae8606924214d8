"""The app as an ASGI application, for a server that is not Gradio's own."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

import gradio as gr

from diffatlas.settings import is_shared, settings
from diffatlas.ui.app import LOOK, THREADS, build_app, served
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.tab_memory import keep_small

if TYPE_CHECKING:
    from fastapi import FastAPI


def mounted(password: str | None = None) -> FastAPI:
    """Return the app, its runs in the library of the settings.

    password: what visitors have to give to see it, beside any name; None for nothing.
    """
    from fastapi import FastAPI

    app = build_app(Libraries(settings().library, is_shared()))
    app.queue(default_concurrency_limit=None)
    app._queue.sleep_when_free = LOOK
    app.max_threads = app._queue.max_thread_count = THREADS
    options: dict[str, Any] = {
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "footer_links": [],
        "max_file_size": settings().upload_bytes if is_shared() else None,
        "auth": None if password is None else _taking(password),
    }
    outer = gr.mount_gradio_app(FastAPI(), app, path="/", **options, **served())
    # Gradio says so of apps that it serves itself; what is tidied up is tidied as long as it holds.
    app.is_running = True
    keep_small(app)
    return outer


def _taking(password: str) -> Any:
    def takes(name: str, given: str) -> bool:
        """Whether a visitor may come in."""
        return hmac.compare_digest(given.encode(), password.encode())

    return takes
