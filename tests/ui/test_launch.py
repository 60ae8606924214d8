"""The app from Python: on a pipeline in memory, and open on a run or a study."""

from __future__ import annotations

import sys
import time
import types
import urllib.request
from urllib.parse import parse_qs, urlsplit

import pytest

import diffatlas
from diffatlas import GenerationParams, Library, observe
from diffatlas.backends.listed import refuse_server_files
from diffatlas.errors import CapabilityError, InvalidParams, RunNotFound
from diffatlas.operations.trace import shared_local_backend, stream
from diffatlas.registry import list_models
from diffatlas.run import collect
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.ui import launch as launching
from diffatlas.ui.app import LOOK
from diffatlas.ui.app import launch as serve
from diffatlas.ui.visitors import visitor_of

LISTED = [entry.id for entry in list_models("local")]


@pytest.fixture(autouse=True)
def own_library(tmp_path, monkeypatch):
    """A library of its own, and no browser; what was launched is closed."""
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "runs"))
    monkeypatch.setattr("webbrowser.open", lambda address: None)
    yield
    launching.close()


@pytest.fixture
def notebook(monkeypatch):
    """A kernel of IPython, as far as it is asked for; what it displays is listed."""
    shown = []
    core = types.ModuleType("IPython.core.getipython")
    core.get_ipython = lambda: "a kernel"
    display = types.ModuleType("IPython.display")
    display.HTML = lambda text: text
    display.Javascript = lambda text: text
    display.display = shown.append
    for name, module in (
        ("IPython", types.ModuleType("IPython")),
        ("IPython.core", types.ModuleType("IPython.core")),
        ("IPython.core.getipython", core),
        ("IPython.display", display),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    return shown


def launch(*args, **options):
    return diffatlas.launch(*args, prevent_thread_lock=True, **options)


def answers(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def test_a_pipeline_comes_first_among_the_models_and_runs(sd_pipe, tmp_path):
    served = launch(sd_pipe, name="my fine-tune", library=tmp_path / "elsewhere")
    first, *others = list_models("local")
    assert (first.id, first.provider, first.size) == ("my fine-tune", "memory", 64)
    assert (first.steps, first.guidance) == (50, 7.5)
    assert [entry.id for entry in others] == LISTED
    fields = [c for c in served.app.blocks.values() if getattr(c, "label", None) == "Model"]
    assert len(fields) == 5
    first_choice = ("my fine-tune · in memory", "my fine-tune")
    assert all(c.choices[0] == first_choice and c.value == "my fine-tune" for c in fields)
    assert "Diffusion Atlas" in answers(served.url)
    assert served.library.folder == tmp_path / "elsewhere"
    assert repr(served) == f"Diffusion Atlas at {served.url}"

    params = GenerationParams(model="my fine-tune", prompt="a circle", num_inference_steps=2)
    assert collect(stream(params)).status == "complete"
    # The host has handed it in, so strangers may run it too.
    refuse_server_files(params)


def test_launching_again_closes_the_earlier_app_and_lets_go_of_its_pipeline(sd_pipe, sdxl_pipe):
    first = launch(sd_pipe, name="mine")
    again = launch(sdxl_pipe, name="mine")
    assert not first.app.is_running
    assert again.app.is_running
    assert [entry.id for entry in list_models("local")] == ["mine", *LISTED]
    assert shared_local_backend().pipeline("mine") is sdxl_pipe
    launch()
    assert [entry.id for entry in list_models("local")] == LISTED
    launching.close()
    launching.close()
    assert launching._running() is None


def test_a_name_of_the_list_is_refused_and_one_that_was_not_chosen_is_told_apart(sd_pipe, monkeypatch):
    with pytest.raises(InvalidParams, match="'shapes' is a model of the list already"):
        launch(sd_pipe, name="shapes")
    assert shared_local_backend().pipeline("shapes") is not sd_pipe
    monkeypatch.setattr(launching, "name_of", lambda pipe: "shapes")
    launch(sd_pipe)
    assert list_models("local")[0].id == "shapes in memory"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"name": "mine"}, InvalidParams),
        ({"pipe": "stabilityai/sdxl-turbo"}, InvalidParams),
        ({"pipe": print}, CapabilityError),
        ({"library": 3}, InvalidParams),
    ],
)
def test_what_cannot_be_launched_is_said_in_a_sentence(arguments, error):
    with pytest.raises(error, match=r"^.*\.$"):
        launch(**arguments)
    assert [entry.id for entry in list_models("local")] == LISTED


def test_an_address_that_is_taken_is_said_in_a_sentence(sd_pipe):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(diffatlas.errors.InvalidParams, match="cannot listen"):
            launch(sd_pipe, name="mine", server_port=taken.getsockname()[1], server_name="127.0.0.1")
    assert [entry.id for entry in list_models("local")] == LISTED


def test_a_script_waits_and_a_notebook_does_not(monkeypatch, notebook):
    waited = []
    monkeypatch.setattr(launching, "_wait", waited.append)
    served = diffatlas.launch()
    assert not waited
    assert len(notebook) == 1
    assert f'src="{served.url}"' in notebook[0]
    assert 'height="900"' in notebook[0]
    # A frame on another site has no cookie: all in it are one visitor, until the app is closed.
    here = visitor_of(None, "tab 1")
    assert here == visitor_of(None) == visitor_of(None, "tab 2")
    launching.close()
    assert visitor_of(None) is None

    monkeypatch.delitem(sys.modules, "IPython.core.getipython")
    monkeypatch.delitem(sys.modules, "IPython")
    diffatlas.launch()
    assert len(waited) == 1


def test_a_trace_is_saved_and_opened(sd_pipe, tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    with observe(sd_pipe) as trace:
        sd_pipe("a circle", num_inference_steps=2, output_type="np")
    address = diffatlas.show(trace, block=False)
    assert opened == [address]
    assert address in capsys.readouterr().out
    assert parse_qs(urlsplit(address).query) == {"page": ["trajectory"], "run": [trace.run.id]}
    assert Library().open(trace.run.id).params.model == trace.run.params.model
    assert "Diffusion Atlas" in answers(address)

    app = launching._running().app
    Library().mark(trace.run.id, name="kept")
    again = diffatlas.show(trace.run, page="library", block=False)
    assert launching._running().app is app
    assert parse_qs(urlsplit(again).query)["page"] == ["library"]
    assert Library().open(trace.run.id).info.name == "kept"
    assert diffatlas.show(trace.run.id, block=False) == address


def test_a_stored_run_is_opened_in_its_own_library(sd_pipe, tmp_path):
    elsewhere = Library(tmp_path / "elsewhere")
    with observe(sd_pipe, diffatlas.Capture(latents=False), record=elsewhere) as trace:
        sd_pipe("a circle", num_inference_steps=2, output_type="np")
    launch(sd_pipe, name="mine")
    address = diffatlas.show(elsewhere.open(trace.run.id), block=False)
    assert launching._running().library.folder == elsewhere.folder
    assert list_models("local")[0].id == "mine"
    # Without its path there is nothing to see on the Trajectory page.
    assert parse_qs(urlsplit(address).query)["page"] == ["library"]


def test_a_study_is_opened_on_its_page():
    study = plan_sweep(GenerationParams(prompt="a circle"), "guidance_scale", "1, 6")
    with pytest.raises(RunNotFound, match="no run and no study"):
        diffatlas.show(study, block=False)
    Library().studies.save(study)
    for thing in (study, study.id):
        address = diffatlas.show(thing, block=False)
        assert parse_qs(urlsplit(address).query) == {"page": ["sweep"], "study": [study.id]}


def test_a_notebook_shows_a_run_in_a_frame(sd_pipe, notebook):
    with observe(sd_pipe) as trace:
        sd_pipe("a circle", num_inference_steps=2, output_type="np")
    address = diffatlas.show(trace, height=700)
    (frame,) = notebook
    assert f'src="{address.replace("&", "&amp;")}"' in frame
    assert 'height="700"' in frame


def test_colab_shows_a_run_through_its_own_way(sd_pipe, notebook, monkeypatch):
    calls = []
    google, colab = types.ModuleType("google"), types.ModuleType("google.colab")
    colab.output = types.SimpleNamespace(
        serve_kernel_port_as_iframe=lambda port, **options: calls.append((port, options))
    )
    monkeypatch.setitem(sys.modules, "google", google)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    sys.modules["IPython.core.getipython"].get_ipython = lambda: "google.colab._shell.Shell"
    with observe(sd_pipe) as trace:
        sd_pipe("a circle", num_inference_steps=2, output_type="np")
    diffatlas.show(trace)
    port = launching._running().app.server_port
    assert calls == [(port, {"path": f"/?page=trajectory&run={trace.run.id}", "height": "900"})]


def test_what_cannot_be_shown_is_said_in_a_sentence(sd_pipe, monkeypatch):
    with pytest.raises(InvalidParams, match="int cannot be shown"):
        diffatlas.show(3)
    with pytest.raises(RunNotFound, match="no run and no study 'nothing'"):
        diffatlas.show("nothing")
    with pytest.raises(InvalidParams, match="no page 'sweep' of a run"):
        diffatlas.show("nothing", page="sweep")
    with observe(sd_pipe) as trace, pytest.raises(CapabilityError):
        diffatlas.show(trace)
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    with pytest.raises(CapabilityError, match="shared server"):
        diffatlas.show("nothing")
    assert launching._running() is None


def test_an_app_that_nobody_uses_rests(tmp_path, monkeypatch):
    """Its queue is looked at no more often than is said, however busy the machine is."""
    # Else it goes on importing beside the next test.
    monkeypatch.setattr("diffatlas.ui.app.warm_up", lambda prepared: None)
    app, looks = serve(Library(tmp_path), prevent_thread_lock=True), []
    queue = type(app._queue)
    plain = queue.__len__
    monkeypatch.setattr(queue, "__len__", lambda self: looks.append(self) or plain(self))
    began = time.monotonic()
    time.sleep(0.5)
    app.close()
    assert 0 < looks.count(app._queue) <= (time.monotonic() - began) / LOOK + 5
