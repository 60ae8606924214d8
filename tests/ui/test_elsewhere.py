"""Backends that run elsewhere, as the pages offer them: their address, their token, their models, their runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diffatlas import backends
from diffatlas.backends.listed import refuse_server_files
from diffatlas.capture.spec import Capture
from diffatlas.errors import DiffAtlasError, InvalidParams, KeyRefused
from diffatlas.formats.hosted import backend_of
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.registry import ModelEntry, list_models
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.ui import elsewhere, links, places
from diffatlas.ui.atlas_services import AtlasServices
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.study_form import chosen_lanes, lanes_beside, to_lanes
from diffatlas.ui.expectations import told
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.live_runs import Asked, LiveRuns, Shelf
from diffatlas.ui.programs import kept
from diffatlas.ui.study_runner import StudyRunner
from diffatlas.ui.study_services import Running
from diffatlas.ui.turns import Turns
from diffatlas.ui.visitor_keys import VisitorKeys, backend_for
from diffatlas.ui.wire.calls import CALLS
from tests.elsewhere import GUARDED, NAME, TOKEN, ElsewhereBackend

OPEN = "http://127.0.0.1:1"
PARAMS = GenerationParams(model="shapes", prompt="a red circle", seed=3, num_inference_steps=2)
REQUEST = SimpleNamespace(session_hash="tab", cookies={}, request=None)


@pytest.fixture(autouse=True)
def personal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A server of one's own, on which nothing elsewhere is named yet, and whose other Atlas is on this machine."""
    monkeypatch.setitem(backends._BACKENDS, "remote", ("tests.elsewhere", "ElsewhereBackend"))
    monkeypatch.setenv("DIFFATLAS_MODE", "personal")
    monkeypatch.setenv("MODAL_CONFIG_PATH", str(tmp_path / "none.toml"))
    variables = (
        "DIFFATLAS_REMOTE_URL",
        "DIFFATLAS_REMOTE_TOKEN",
        "DIFFATLAS_RAY",
        "MODAL_TOKEN_ID",
        "MODAL_TOKEN_SECRET",
    )
    for name in variables:
        monkeypatch.delenv(name, raising=False)
    elsewhere.set_address("")
    elsewhere.forget_models("remote")
    yield
    monkeypatch.setenv("DIFFATLAS_MODE", "personal")
    elsewhere.set_address("")
    elsewhere.forget_models("remote")


def asking(keys: VisitorKeys) -> Callable[..., Any]:
    """Ask as the page does, each answer held against its type and searched for the token."""
    calls = AtlasServices(keys).calls

    def ask(name: str, visitor: str = "me", /, **asked: Any) -> Any:
        answer = calls[name](visitor, CALLS[name].read(asked))
        CALLS[name].check(answer)
        assert TOKEN not in json.dumps(answer)
        return answer

    return ask


def test_it_is_offered_once_it_has_an_address():
    ids = [backend for backend, _ in places.offered()]
    assert ids[:2] == ["local", "replicate"]
    ask = asking(VisitorKeys())
    assert not ask("atlas")["offered"]
    with pytest.raises(InvalidParams, match="no address"):
        ask("atlas_address", address="workstation")
    assert ask("atlas_address", address=OPEN + "/")["offered"]
    assert [backend for backend, _ in places.offered()][:3] == ["local", "remote", "replicate"]
    assert ask("atlas_check")["words"] == f"The Atlas at 127.0.0.1:1 answers: it offers {NAME}."
    # Its models are known from here on, beside those of this machine.
    assert [entry.name for entry in places.models_of("remote")] == [NAME]
    beside = dict(map(reversed, lanes_beside(next(e for e in list_models() if e.id == "shapes"), None)))
    assert beside["backend=remote model=shapes"] == f"Another Atlas: {NAME}"
    assert not ask("atlas_address", address="")["offered"]
    assert places.models_of("remote") == []


def test_programs_are_told_of_it_and_of_its_models():
    assert "remote" not in [one["name"] for one in kept.backends()["backends"]]
    with pytest.raises(InvalidParams, match="has no address yet"):
        kept.models("remote")
    elsewhere.set_address(OPEN)
    assert kept.backends()["backends"][1] == {
        "name": "remote", "label": "Another Atlas", "sees_inside": True, "models": 0,
    }  # fmt: skip
    assert [one["name"] for one in kept.models("remote")["models"]] == [NAME]
    inside = {one["name"]: one["sees_inside"] for one in kept.backends()["backends"]}
    assert [inside[name] for name in ("local", "remote", "replicate")] == [True, True, False]
    elsewhere.set_address(GUARDED)
    with pytest.raises(KeyRefused):
        kept.models("remote")


def test_a_token_goes_to_the_address_it_was_typed_for(monkeypatch: pytest.MonkeyPatch):
    keys = VisitorKeys()
    ask = asking(keys)
    with pytest.raises(InvalidParams, match="give that first"):
        ask("atlas_token", token=TOKEN)
    ask("atlas_address", address=GUARDED)
    asks = "The Atlas at 127.0.0.1:9 asks for a token: type what is in DIFFATLAS_TOKEN there."
    assert ask("atlas_check") == {"taken": False, "words": asks}
    with pytest.raises(KeyRefused) as refused:
        ask("atlas_token", token=f"{TOKEN} and more")
    assert TOKEN not in str(refused.value)
    assert ask("atlas_token", token=TOKEN)["token"] == "typed"
    assert ask("atlas_check")["taken"]
    assert TOKEN not in repr(keys) + repr(CALLS["atlas_token"].read({"token": TOKEN}))
    # Nobody else's, and of no other address.
    assert ask("atlas", "somebody else")["token"] == "none"
    with pytest.raises(KeyRefused):
        backend_for("somebody else", None, "remote", keys).models()
    assert backend_for("me", None, "remote", keys).models()
    ask("atlas_address", address=OPEN)
    assert ask("atlas")["token"] == "none"
    ask("atlas_address", address=GUARDED)
    assert ask("atlas_forget")["token"] == "none"
    # That of the environment goes to the address of the environment alone.
    monkeypatch.setenv("DIFFATLAS_REMOTE_TOKEN", TOKEN)
    assert not ask("atlas_check")["taken"]
    monkeypatch.setenv("DIFFATLAS_REMOTE_URL", GUARDED)
    assert ask("atlas")["token"] == "environment"
    assert ask("atlas_check")["taken"]


def test_on_a_shared_server_its_host_alone_names_another(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    monkeypatch.setenv("DIFFATLAS_REMOTE_URL", OPEN)
    ask = asking(VisitorKeys())
    with pytest.raises(InvalidParams, match="only its host"):
        ask("atlas_address", address="http://169.254.169.254")
    told = ask("atlas")
    assert told["closed"]
    assert not told["offered"]
    assert told["address"] == ""
    with pytest.raises(InvalidParams, match="DIFFATLAS_ELSEWHERE_FOR_VISITORS"):
        forms.to_backend({"backend": "remote"})
    with pytest.raises(InvalidParams):
        backend_for("me", None, "remote")
    monkeypatch.setenv("DIFFATLAS_ELSEWHERE_FOR_VISITORS", "1")
    assert ask("atlas")["offered"]
    assert backend_for("me", None, "remote").models()
    places.entry_of("remote")
    refuse_server_files(PARAMS, "remote")
    with pytest.raises(InvalidParams, match="model of their own"):
        refuse_server_files(PARAMS.replace(model="/etc"), "remote")


@pytest.mark.parametrize(
    ("backend", "advice"),
    [("remote", "the page Settings takes one"), ("ray", "DIFFATLAS_RAY"), ("modal", "modal")],
)
def test_a_link_that_names_what_is_not_offered_says_what_to_do(backend: str, advice: str):
    _, problem = links.fill({"backend": backend, "prompt": "a red circle"}, lambda model: None, "shapes")
    assert "cannot be chosen here" in problem
    assert advice in problem


def test_a_form_is_as_for_this_machine_and_knows_only_what_it_is_told_there():
    elsewhere.set_address(OPEN)
    updates, problem = links.fill({"backend": "remote", "model": "shapes"}, lambda model: None, "shapes")
    assert problem is None
    assert (updates["steps"], updates["guidance"]) == (12, 4.0)
    lanes = [value for _, value in lanes_beside(places.entry_of("remote", "shapes"), None)]
    assert any(value.startswith("guidance_method=") for value in lanes)
    assert any(value == "backend=local model=shapes" for value in lanes)
    # No estimate of this machine for a run that is not on it.
    asked = {"model": "shapes", "steps": 12, "guidance": 4, "size": "640x640", "backend": "remote"}
    shown, _ = told(shared_local_backend(), SimpleNamespace(shared=False), False, asked)
    assert not shown["visible"]


@pytest.fixture
def libraries(tmp_path: Path) -> Libraries:
    return Libraries(tmp_path / "runs", False)


def test_a_run_shows_its_path_and_where_it_was_made(libraries: Libraries, monkeypatch: pytest.MonkeyPatch):
    elsewhere.set_address(OPEN)
    # It takes as long as it takes there, whatever is allowed here.
    monkeypatch.setenv("DIFFATLAS_MOST_SECONDS", "0.0001")
    live = LiveRuns(shared_local_backend(), {}, Turns(), Shelf(libraries.of))
    asked = Asked(PARAMS, Capture(attention="cross"), 1, "keep", True, "remote")
    *_, last = live.stream("a red circle", "shapes", lambda: asked, REQUEST)
    assert last["status"] == "complete"
    assert len(last["steps"]) == 2
    assert last["run"]["hosted"] is None
    assert last["run"]["device"].endswith("at another Atlas")
    assert last["run"]["query"]["backend"] == "remote"
    assert last["run"]["model_name"] == NAME


def test_what_is_wrong_with_the_token_is_said_at_the_backend(libraries: Libraries):
    elsewhere.set_address(GUARDED)
    live = LiveRuns(shared_local_backend(), {}, Turns(), Shelf(libraries.of))
    asked = Asked(PARAMS, Capture(), 1, "keep", True, "remote")
    *_, last = live.stream("a red circle", "shapes", lambda: asked, REQUEST)
    assert (last["status"], last["error"]["field"]) == ("failed", "backend")
    assert "asks for a token" in last["error"]["message"]


def test_a_study_runs_here_and_there_at_once(libraries: Libraries):
    elsewhere.set_address(OPEN)
    elsewhere.ask_models("remote")
    ElsewhereBackend.asked.clear()
    study = plan_sweep(PARAMS, "guidance_scale", [1, 4], lanes=to_lanes(["backend=remote model=shapes"]))
    assert chosen_lanes(study.lanes) == ["backend=remote model=shapes"]
    runner = StudyRunner(libraries, Turns(), Running())
    *_, last = runner.run("me", "tab", lambda: (study, Capture()), True)
    assert last["status"] == "complete"
    # What ran here first is served for the same cells there, and the other way round: each is made once.
    found = libraries.of("me").studies.open(study.id)
    made = {cell.run_id for cell in found.cells}
    places_of = {backend_of(libraries.of("me").open(run).provenance) for run in made}
    assert places_of <= {"local", "remote"}


def test_a_model_is_of_the_place_that_lists_it():
    assert places.place_of(ModelEntry("shapes", NAME, provider="remote")) == "remote"
    elsewhere.set_address("http://127.0.0.1:2")
    assert places.called("remote", "nobody/knows") == "nobody/knows"
    with pytest.raises(DiffAtlasError):
        places.entry_of("nowhere", "shapes")


def test_a_place_that_several_pages_ask_for_at_once_is_opened_once(monkeypatch: pytest.MonkeyPatch):
    opened: list[object] = []

    def slowly(name: str) -> object:
        time.sleep(0.05)
        opened.append(object())
        return opened[-1]

    monkeypatch.setattr(elsewhere, "open_backend", slowly)
    elsewhere._opened_once.cache_clear()
    with ThreadPoolExecutor(4) as pages:
        found = list(pages.map(elsewhere._shared, ["ray"] * 4))
    elsewhere._opened_once.cache_clear()
    assert len(opened) == 1
    assert set(map(id, found)) == {id(opened[0])}
