"""The app: its pages, and how it is served."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

# Before Gradio is imported, which reads them then: nothing is reported to anyone.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Processes of Gradio's that serve files by themselves ask nobody whose they are.
os.environ["GRADIO_NUM_WORKERS"] = "0"

import gradio as gr
from starlette.middleware import Middleware

from diffatlas.errors import InvalidParams
from diffatlas.formats.html.bundle import STATIC
from diffatlas.library import Library
from diffatlas.operations.projections import Projections
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.registry import list_models
from diffatlas.settings import is_shared, settings
from diffatlas.ui.attention_services import AttentionServices
from diffatlas.ui.bench_runner import BenchRunner
from diffatlas.ui.bench_services import BenchServices
from diffatlas.ui.components.header import footer, header
from diffatlas.ui.components.viewer import StatusLine
from diffatlas.ui.gone import Gone
from diffatlas.ui.invitation import Invitation, check_address, invitation
from diffatlas.ui.key_services import KeyServices
from diffatlas.ui.lab_services import LabServices
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.library_services import LibraryServices
from diffatlas.ui.links import PageParameter
from diffatlas.ui.live_benches import LiveBenches
from diffatlas.ui.own_files import OwnFiles
from diffatlas.ui.own_page import OwnPageOnly
from diffatlas.ui.packed import Packed
from diffatlas.ui.pages.attention import attention_page
from diffatlas.ui.pages.bench import bench_page
from diffatlas.ui.pages.lab import lab_page
from diffatlas.ui.pages.library import library_page
from diffatlas.ui.pages.neighbourhood import neighbourhood_page
from diffatlas.ui.pages.settings import settings_page
from diffatlas.ui.pages.sweep import sweep_page
from diffatlas.ui.pages.trajectory import trajectory_page
from diffatlas.ui.places import names_of_models
from diffatlas.ui.plain_requests import PlainRequests
from diffatlas.ui.private_files import PrivateFiles
from diffatlas.ui.programs.described import App
from diffatlas.ui.programs.endpoints import add_endpoints
from diffatlas.ui.programs.kept import Kept
from diffatlas.ui.programs.mcp_server import PATH, McpServer, check_installed
from diffatlas.ui.programs.running import Runs
from diffatlas.ui.remote_routes import RemoteRoutes, serve_runs
from diffatlas.ui.settings_services import SettingsServices
from diffatlas.ui.sign_in import Accounts, SignIn, accounts
from diffatlas.ui.status_services import StatusServices
from diffatlas.ui.study_runner import StudyRunner
from diffatlas.ui.study_services import Running, StudyServices
from diffatlas.ui.tab_memory import empty_when_quiet, keep_small
from diffatlas.ui.theme import EARLY, Atlas, head
from diffatlas.ui.turns import MOST_IN_ALL, MOST_WAITING, Turns
from diffatlas.ui.uploads import Uploads
from diffatlas.ui.workshop.held import begin, pages
from diffatlas.ui.workshop.prepared import Prepared
from diffatlas.waiting_threads import let_threads_sleep

# Before torch is imported, which nothing above does.
let_threads_sleep()

log = logging.getLogger("diffatlas")

#: Of the server: those who wait for a turn hold one each (`MOST_IN_ALL`), and the others want answers meanwhile.
THREADS = 120
#: Events that may wait in Gradio's own queue: `Turns` says who runs. On ZeroGPU it would take one, of all visitors.
EVENTS = 1000
#: Seconds after which a queue in which nothing waits is looked at again. Gradio looks a thousand times a second, which
#: takes a twentieth of a core while nobody does anything.
LOOK = 0.01
#: Cached pictures are looked over every hour and dropped after a day.
CACHE = (3600, 86400)


def build_app(libraries: Libraries) -> gr.Blocks:
    """Return the app. Runs are recorded into ``libraries``.

    How it is to be served is given to ``launch`` (or to ``gr.mount_gradio_app``) as `served`.
    """
    workshop, there = begin(), pages()
    with App(title="Diffusion Atlas", analytics_enabled=False, delete_cache=CACHE, fill_width=True) as app:
        layers, projections, running = Layers(libraries), Projections(), Running()
        prepared = app.prepared = Prepared(libraries)
        turns = Turns(most=MOST_WAITING if libraries.shared else None, in_all=MOST_IN_ALL)
        serve_runs(app, turns)
        backend = shared_local_backend()
        names = names_of_models()
        studies = StudyServices(libraries, layers, backend, names, projections, running)
        labs, kept = LabServices(libraries), LibraryServices(libraries, layers, backend, names, turns)
        keys = KeyServices()
        header(workshop)
        StatusLine(
            StatusServices(
                turns, running, keys, [labs.jobs, kept.jobs], lambda: invitation_to(app)
            ).functions,
            elem_id="status",
        )
        # What a workshop leaves out is not hidden but absent: it has no endpoints, and nothing of it is sent.
        form = around = words = None
        if "trajectory" in there:
            form = trajectory_page(app, layers, turns, projections, prepared)
        if "sweep" in there:
            sweep_page(app, studies, StudyRunner(libraries, turns, running))
        if "neighbourhood" in there:
            around = neighbourhood_page(app, studies, StudyRunner(libraries, turns, running))
        attention = AttentionServices(libraries, layers, backend, names)
        if "attention" in there:
            words = attention_page(app, libraries, attention, turns, prepared)
        live = LiveBenches()
        if "bench" in there:
            benches = BenchServices(libraries, layers, names, running, live)
            bench_page(app, benches, BenchRunner(libraries, turns, running, live), around, words)
        empty_when_quiet(projections, studies, attention)
        if "lab" in there:
            lab_page(labs)
        if "library" in there:
            library_page(kept, form, around)
        if "settings" in there:
            settings_page(app, SettingsServices(libraries, keys))
        footer()
        kept_runs = Kept(libraries, attention, names)
        if "library" in there:
            add_endpoints(kept_runs)
        app.programs = Runs(libraries, turns, running, live, kept_runs, names)
    return app


def served(mcp: bool = False, signed_in: Accounts | None = None) -> dict[str, Any]:
    """Return look and privacy, as keyword arguments of ``launch`` and ``mount_gradio_app``.

    mcp: whether agents are served too. signed_in: who may come in; where None those of the environment, and everybody
    where it names none. Raises `CapabilityError` where the package for it is not installed.
    """
    signed_in = accounts() if signed_in is None else signed_in
    gate = [] if signed_in is None else [Middleware(SignIn, accounts=signed_in)]
    look = {"theme": Atlas(), "head": head(), "favicon_path": STATIC / "favicon.svg"}
    for_agents = [McpServer] if mcp else []
    if mcp:
        check_installed()
    layers = (OwnFiles, PrivateFiles, Uploads, *for_agents, Gone, PlainRequests, PageParameter)
    inner = [Middleware(one) for one in layers]
    outer = [
        Middleware(RemoteRoutes, signs_in=bool(gate)),
        *gate,
        Middleware(Packed),
        Middleware(OwnPageOnly, scripts=(EARLY,)),
    ]
    return {
        **look,
        "app_kwargs": {"middleware": [*outer, *inner]},
        # Gradio's own server of tools calls the app as one and the same visitor for everybody.
        "mcp_server": False,
    }


def invitation_to(app: gr.Blocks) -> Invitation:
    """Return how others come to an app that is served; a mounted one does not know where it is."""
    host, port = getattr(app, "server_name", None), getattr(app, "server_port", None)
    named = settings().address
    return invitation(host or "127.0.0.1", port or 0, app.share_url, check_address(named) if named else "")


def launch(library: Library | None = None, signed_in: Accounts | None = None, **kwargs: Any) -> gr.Blocks:
    """Serve the app and return it; ``kwargs`` go to Gradio's ``launch``. ``library``: None for that of the settings.

    signed_in: who may come in; None for those of the environment (`diffatlas.ui.sign_in.accounts`).

    Honours GRADIO_SERVER_NAME and GRADIO_SERVER_PORT. Blocks until interrupted, unless
    ``prevent_thread_lock=True``. The model is made ready in the background once the page is served.

    ``mcp=True`` serves agents too, at ``/mcp``; as the settings say where it is not given. Raises `CapabilityError`
    where the package for it is not installed, `InvalidParams` where it cannot listen there.
    """
    mcp = kwargs.pop("mcp", None)
    mcp = settings().mcp if mcp is None else mcp
    look = served(mcp, signed_in)
    block = not kwargs.pop("prevent_thread_lock", False)
    root = settings().library if library is None else library.folder
    app = build_app(Libraries(root, is_shared()))
    options = {
        "share": False,
        "run_history": False,
        # What all visitors do is for none of them to see.
        "enable_monitoring": False,
        # A page that another server puts together has none of the headers of `served`.
        "ssr_mode": False,
        "footer_links": [],
        "max_threads": THREADS,
        # While it arrives; before that `Uploads` looks at what is announced.
        "max_file_size": settings().upload_bytes if is_shared() else None,
        **look,
        **kwargs,
    }
    app.queue(default_concurrency_limit=None, max_size=EVENTS)
    app._queue.sleep_when_free = LOOK
    try:
        app.launch(prevent_thread_lock=True, quiet=True, **options)
    except OSError as error:
        host = options.get("server_name") or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"
        raise InvalidParams(f"The app cannot listen on {host}: {error}".rstrip(".") + ".") from error
    keep_small(app)
    print(f"Diffusion Atlas is at {app.local_url}", flush=True)
    if mcp:
        print(f"Agents (MCP) are answered at {app.local_url.rstrip('/')}{PATH}", flush=True)
    threading.Thread(target=warm_up, args=(app.prepared,), name="diffatlas-warm-up", daemon=True).start()
    if block:
        app.block_thread()
    return app


def warm_up(prepared: Prepared) -> None:
    """Import the heavy libraries, load the default model and measure it, so that the first run answers at once.

    Then a workshop's presets are run, before anybody asks for them.
    """
    try:
        first = list_models("local")[0].id
        # Loads it, and finds out what it takes here.
        shared_local_backend().measure(GenerationParams(model=first, prompt="a picture"))
        # Imports the pipelines that begin from a picture.
        shared_local_backend().takes_picture(first)
        if ready := prepared.make():
            print(f"The presets of the workshop are ready: {ready}.", flush=True)
    except Exception as error:
        # The first run meets the same error and shows it where it can be read.
        log.info("The default model could not be loaded ahead: %s", error)
