"""The app: its pages, and how it is served."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from typing import Any

# Before Gradio is imported, which reads them then: nothing is reported to anyone.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Before torch is imported: its idle threads would spin, and starve a browser that draws on the same few cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr

from diffatlas.library import Library
from diffatlas.operations.trace import shared_local_backend
from diffatlas.registry import list_models
from diffatlas.ui.components.header import footer, header
from diffatlas.ui.layers import Layers
from diffatlas.ui.pages.trajectory import trajectory_page
from diffatlas.ui.theme import STATIC, Atlas, head

log = logging.getLogger("diffatlas")

#: Of the server: those who wait for a turn hold one each, and the others want answers meanwhile.
THREADS = 80
#: Cached pictures are looked over every hour and dropped after a day.
CACHE = (3600, 86400)


def build_app(library: Library, ephemeral: bool = False) -> gr.Blocks:
    """Return the app. Runs are recorded into ``library``; an ephemeral one forgets those that are let go.

    The look is given to `launch` (or to ``gr.mount_gradio_app``) as `look`.
    """
    with gr.Blocks(
        title="Diffusion Atlas", analytics_enabled=False, delete_cache=CACHE, fill_width=True
    ) as app:
        header()
        trajectory_page(app, Layers(library, ephemeral))
        footer()
    return app


def look() -> dict[str, Any]:
    """Return theme and style sheets, as keyword arguments of ``launch`` and ``mount_gradio_app``."""
    return {"theme": Atlas(), "head": head(), "favicon_path": STATIC / "favicon.svg"}


def launch(**kwargs: Any) -> gr.Blocks:
    """Serve the app and return it; ``kwargs`` go to Gradio's ``launch``.

    Honours GRADIO_SERVER_NAME and GRADIO_SERVER_PORT. Blocks until interrupted, unless
    ``prevent_thread_lock=True``. The model is made ready in the background once the page is served.
    """
    block = not kwargs.pop("prevent_thread_lock", False)
    # On a public Space, where visitors share one disk, nothing is kept but the layers that somebody still has.
    public = bool(os.environ.get("SPACE_ID"))
    library = Library(tempfile.mkdtemp(prefix="diffatlas-runs-")) if public else Library()
    app = build_app(library, ephemeral=public)
    options = {
        "share": False,
        "run_history": False,
        "footer_links": [],
        "max_threads": THREADS,
        **look(),
        **kwargs,
    }
    app.queue(default_concurrency_limit=None).launch(prevent_thread_lock=True, quiet=True, **options)
    print(f"Diffusion Atlas is at {app.local_url}", flush=True)
    threading.Thread(target=warm_up, name="diffatlas-warm-up", daemon=True).start()
    if block:
        app.block_thread()
    return app


def warm_up() -> None:
    """Import the heavy libraries and load the default model, so that the first run answers at once."""
    try:
        shared_local_backend().pipeline(list_models("local")[0].id)
    except Exception as error:
        # The first run meets the same error and shows it where it can be read.
        log.info("The default model could not be loaded ahead: %s", error)
