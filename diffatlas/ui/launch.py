"""The app from Python: on a pipeline in memory (`launch`), and open on a run or a study (`show`)."""

from __future__ import annotations

import inspect
import os
import sys
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from gradio.utils import colab_check, ipython_check

from diffatlas.capture.asked import guides_by_true_cfg
from diffatlas.capture.calls import call_parameters
from diffatlas.capture.ran_on import name_of
from diffatlas.capture.trace import Trace
from diffatlas.errors import CapabilityError, DiffAtlasError, InvalidParams, RunNotFound
from diffatlas.library import Library, RunInfo, StoredRun
from diffatlas.library.studies import StudyInfo
from diffatlas.library.study import Study
from diffatlas.operations.trace import shared_local_backend
from diffatlas.registry import ModelEntry, list_models, offer, withdraw
from diffatlas.run import Run
from diffatlas.settings import is_shared
from diffatlas.ui import app as apps
from diffatlas.ui.visitors import one_without_cookie

#: Pixels of the frame in a notebook: the form, a film and the path fit into it.
HEIGHT = 900
#: Pages that open a run.
RUN_PAGES = ("trajectory", "attention", "library")


@dataclass(frozen=True)
class Served:
    """The app as this process serves it."""

    app: gr.Blocks
    library: Library

    @property
    def url(self) -> str:
        """Its address."""
        return self.app.share_url or self.app.local_url

    def __repr__(self) -> str:
        return f"Diffusion Atlas at {self.url}"


_served: Served | None = None
#: The pipeline of the last `launch`, by its name in the list of models.
_model: str | None = None


def launch(
    pipe: Any = None,
    name: str | None = None,
    library: Library | str | os.PathLike[str] | None = None,
    **gradio: Any,
) -> Served:
    """Start the app. In a script it blocks until it is interrupted; in a notebook (Jupyter, Colab) it is shown there.

    pipe: a pipeline of diffusers that is in memory; it comes first among the models.
    name: what it is called there; its folder, its id on the Hub or its class where None.
    library: where runs are, or the folder; that of the settings where None.
    gradio: what Gradio's ``launch`` takes, such as ``server_port`` or ``height``; ``prevent_thread_lock=True`` comes
        back at once in a script too.

    An app that an earlier call has started is closed, and its pipeline let go of.

    Raises `CapabilityError` for a pipeline that cannot be observed, `InvalidParams` for a name that a model of the
    list has, and where the address cannot be listened at.
    """
    if pipe is None and name is not None:
        raise InvalidParams("A name is for a pipeline: give pipe as well.", field="name")
    home = _library(library)
    close()
    if pipe is not None:
        _take(pipe, name)
    waits = not gradio.pop("prevent_thread_lock", False) and not _interactive()
    served = _serve(home, **gradio)
    if waits:
        _wait(served)
    return served


def show(
    thing: Trace | Run | StoredRun | RunInfo | Study | StudyInfo | str,
    page: str | None = None,
    library: Library | str | os.PathLike[str] | None = None,
    height: int = HEIGHT,
    block: bool | None = None,
) -> str:
    """Open the app on a run or a study, and return the address: in a notebook in a frame, else in the browser.

    The app is started where it does not run already. A run that is in no library yet is saved first.

    thing: the trace of an observed call, a run, a stored run, a study, or the id of one.
    page: "trajectory", "attention" or "library"; of a run whose path was not kept the last, else the first.
    library: as for `launch`; of a stored run its own, else that of the app which is running.
    block: whether to wait until interrupted; where None, in a script whose end would end the app.

    Raises `InvalidParams` for anything else, `RunNotFound` and `DamagedRun` for what cannot be read,
    `CapabilityError` for a trace without a call, and on a shared server.
    """
    if is_shared():
        raise CapabilityError(
            "On a shared server each visitor has a library of their own, which cannot be opened from here."
        )
    if page is not None and page not in RUN_PAGES:
        raise InvalidParams(f"There is no page {page!r} of a run: {', '.join(RUN_PAGES)}.", field="page")
    home = _home(thing, library)
    query = _query(thing, page, home)
    served = _running()
    started = served is None or not _same(served.library, home)
    if started:
        _close_app()
        served = _serve(home, inline=False)
    address = f"{served.url.rstrip('/')}/?{urlencode(query)}"
    if ipython_check():
        _show_frame(served, address, height)
    else:
        print(address, flush=True)
        webbrowser.open(address)
    if block or (block is None and started and not _interactive()):
        _wait(served)
    return address


def close() -> None:
    """Close the app of `launch` or `show`, and let go of its pipeline. No harm where none runs."""
    global _model
    _close_app()
    if _model is not None:
        withdraw(_model)
        shared_local_backend().remove(_model)
        _model = None


def _close_app() -> None:
    global _served
    if _served is not None:
        _served.app.close(verbose=False)
        _served = None
    one_without_cookie(False)


def _serve(library: Library, **gradio: Any) -> Served:
    global _served
    one_without_cookie(ipython_check() and not is_shared())
    try:
        app = apps.launch(library, **{"height": HEIGHT, **gradio, "prevent_thread_lock": True})
    except DiffAtlasError:
        close()
        raise
    _served = Served(app, library)
    return _served


def _wait(served: Served) -> None:
    try:
        served.app.block_thread()
    finally:
        close()


def _running() -> Served | None:
    return _served if _served is not None and _served.app.is_running else None


def _interactive() -> bool:
    """Whether somebody goes on typing after the call: a notebook, or Python's own prompt."""
    return ipython_check() or bool(getattr(sys, "ps1", sys.flags.interactive))


def _take(pipe: Any, name: str | None) -> None:
    """List a pipeline as a model."""
    global _model
    backend = shared_local_backend()
    if name is None and (own := name_of(pipe)) in {entry.id for entry in list_models("local")}:
        # What was loaded from the Hub may have been changed since: it is not the model of the list.
        name = f"{own} in memory"
    model = backend.add(pipe, name)
    try:
        offer(_entry(pipe, model))
    except InvalidParams:
        backend.remove(model)
        raise
    _model = model


def _entry(pipe: Any, model: str) -> ModelEntry:
    parameters = call_parameters(type(pipe))
    scale = "true_cfg_scale" if guides_by_true_cfg(parameters) else "guidance_scale"
    return ModelEntry(
        id=model,
        name=model,
        notes="A pipeline in memory.",
        provider="memory",
        size=shared_local_backend().info(model).width,
        steps=_default(parameters, "num_inference_steps"),
        guidance=_default(parameters, scale),
    )


def _default(parameters: Mapping[str, inspect.Parameter], name: str) -> Any:
    value = parameters[name].default if name in parameters else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _library(library: Any) -> Library:
    if library is None or isinstance(library, (str, os.PathLike)):
        return Library(library)
    if isinstance(library, Library):
        return library
    raise InvalidParams(f"library is {library!r:.80}: give a library or the folder of one.", field="library")


def _home(thing: Any, library: Any) -> Library:
    if library is None and isinstance(thing, StoredRun):
        return Library(thing.folder.parent)
    served = _running()
    return served.library if library is None and served is not None else _library(library)


def _same(a: Library, b: Library) -> bool:
    return Path(a.folder).resolve() == Path(b.folder).resolve()


def _query(thing: Any, page: str | None, library: Library) -> dict[str, str]:
    """Return what a link of a thing asks for; a run that the library has not yet is saved."""
    if isinstance(thing, (Study, StudyInfo)):
        return _study(library, thing.id)
    if isinstance(thing, str):
        try:
            return _run(library, thing, page)
        except RunNotFound:
            return _study(library, thing)
    if isinstance(thing, Trace):
        thing = thing.run
    if isinstance(thing, Run):
        try:
            library.open(thing.id)
        except RunNotFound:
            library.save(thing)
    elif not isinstance(thing, (StoredRun, RunInfo)):
        raise InvalidParams(
            f"{type(thing).__name__} cannot be shown: give a trace, a run, a study, or the id of one.",
            field="thing",
        )
    return _run(library, thing.id, page)


def _run(library: Library, run_id: str, page: str | None) -> dict[str, str]:
    stored = library.open(run_id)
    if page is None:
        page = "trajectory" if all("latents" in line["arrays"] for line in stored.step_lines()) else "library"
    return {"page": page, "run": run_id}


def _study(library: Library, study_id: str) -> dict[str, str]:
    try:
        study = library.studies.open(study_id)
    except RunNotFound:
        raise RunNotFound(f"The library has no run and no study {study_id!r:.100}.") from None
    return {"page": study.operation, "study": study.id}


def _show_frame(served: Served, address: str, height: int) -> None:
    from IPython.display import HTML, display

    if colab_check() and not served.app.share_url:
        from google.colab import output

        output.serve_kernel_port_as_iframe(
            served.app.server_port, path="/?" + address.partition("?")[2], height=str(height)
        )
        return
    frame = (
        f'<iframe src="{address.replace("&", "&amp;")}" width="100%" height="{height}" style="border: 0" '
        'title="Diffusion Atlas" allow="clipboard-write" allowfullscreen></iframe>'
    )
    display(HTML(f"<div>{frame}</div>"))
