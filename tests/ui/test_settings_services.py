"""What the Settings page and the line at the head of the pages ask of the server."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch  # noqa: F401  the line warns of memory once it has been imported

from diffatlas.backends import open_backend
from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams, UnknownModel
from diffatlas.events import Started
from diffatlas.library import Library
from diffatlas.operations.trace import shared_local_backend, stream
from diffatlas.params import GenerationParams
from diffatlas.run import new_run_id
from diffatlas.settings import Settings
from diffatlas.ui.invitation import Invitation
from diffatlas.ui.jobs import Jobs
from diffatlas.ui.key_services import KeyServices
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.settings_services import ABOUT, OF_VISITORS, SettingsServices
from diffatlas.ui.status_services import StatusServices
from diffatlas.ui.study_services import Running
from diffatlas.ui.turns import Turns
from diffatlas.ui.visitor_keys import VisitorKeys
from diffatlas.ui.wire.calls import CALLS
from tests.backends.hosted.fakes.replicate import FakeReplicate
from tests.backends.hosted.fakes.server import KEY
from tests.library.made_runs import made

SECRET = "secret-of-a-test-4711"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return open_room(tmp_path, monkeypatch, shared=False)


def open_room(folder: Path, monkeypatch: pytest.MonkeyPatch, shared: bool) -> Any:
    monkeypatch.delenv("REPLICATE_API_TOKEN", raising=False)
    monkeypatch.setenv("DIFFATLAS_MODE", "shared" if shared else "personal")
    libraries, turns, running, jobs = Libraries(folder / "runs", shared), Turns(), Running(), Jobs()
    keys = KeyServices(VisitorKeys())
    status = StatusServices(turns, running, keys, [jobs], lambda: Invitation("", ""))
    calls = {**SettingsServices(libraries, keys).calls, "status": status.status}

    def ask(name: str, visitor: str = "me", /, **asked: Any) -> Any:
        answer = calls[name](visitor, CALLS[name].read(asked))
        CALLS[name].check(answer)
        return answer

    return SimpleNamespace(ask=ask, libraries=libraries, turns=turns, running=running, jobs=jobs)


def keep(library: Library, **marks: Any) -> str:
    run = made(3, run_id=new_run_id())
    library.save(run)
    if marks:
        library.mark(run.id, **marks)
    return run.id


def test_a_provider_begins_with_its_first_model(room: Any):
    places = {one["id"]: one for one in room.ask("settings_places")["backends"]}
    assert next(iter(places)) == "local"
    for name in ("local", "replicate"):
        told = room.ask("settings_model", backend=name)
        assert told["model"] == places[name]["models"][0]["id"]


def test_a_model_that_ignores_guidance_is_warned_of(room: Any):
    hosted = room.ask("settings_model", backend="replicate", model="black-forest-labs/flux-schnell")
    assert (hosted["steps"], hosted["steps_range"], hosted["guidance"]) == (4, (1, 4), None)
    assert any("no guidance" in words for words in hosted["warnings"])
    local = room.ask("settings_model", backend="local", model="stabilityai/sd-turbo")
    assert (local["steps"], local["guidance"]) == (4, 0)
    assert any("without guidance" in words for words in local["warnings"])
    assert not room.ask("settings_model", backend="local", model="shapes")["warnings"]


def test_a_hosted_model_of_no_list_is_taken_as_it_is(room: Any):
    told = room.ask("settings_model", backend="replicate", model="somebody/something")
    assert (told["name"], told["guidance_range"]) == ("somebody/something", None)
    assert told["taken"] == ["steps", "guidance", "size"]
    assert any("not in the list" in words for words in told["warnings"])
    with pytest.raises(UnknownModel):
        room.ask("settings_model", backend="local", model="nothing")
    with pytest.raises(InvalidParams):
        room.ask("settings_model", backend="nobody")


def huge(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "models").mkdir()
    lines = "huge/model | Huge | mem=90000 dtype=fp16\nunknown/model | Unknown |\n"
    (folder / "models" / "local.md").write_text(lines)
    monkeypatch.setenv("DIFFATLAS_MODELS", str(folder / "models"))


def test_what_fits_is_told_by_the_weights_that_run_here(
    room: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shapes = next(one for one in room.ask("settings_machine")["models"] if one["id"] == "shapes")
    assert shapes["fits"]
    assert 1e6 < shapes["needed"] < 1e9
    huge(tmp_path, monkeypatch)
    monkeypatch.setenv("DIFFATLAS_DEVICE", "cpu")
    told = room.ask("settings_machine")
    found = {one["id"]: one for one in told["models"]}
    assert found["huge/model"]["fits"] is False
    if told["device"] == "cpu":
        # Twice the bytes of fp16, and room for loading.
        assert found["huge/model"]["needed"] == pytest.approx(90000e9 * 2 * 1.2)
    assert found["unknown/model"]["fits"] is None


def test_the_line_warns_of_a_model_that_will_not_fit_and_of_a_missing_key(
    room: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert room.ask("status", backend="", model="shapes")["warnings"] == []
    told = room.ask("status", backend="replicate", model="black-forest-labs/flux-dev")
    assert (told["backend"], told["model"], told["device"]) == ("Replicate", "FLUX.1 dev", "")
    assert any("no key" in words for words in told["warnings"])
    huge(tmp_path, monkeypatch)
    told = room.ask("status", backend="local", model="huge/model")
    assert any("will not fit" in words for words in told["warnings"])
    # What is half typed is nobody's fault yet.
    assert room.ask("status", backend="local", model="sha")["warnings"] == []
    assert room.ask("status", backend="nobody", model="x")["warnings"] == []


def test_the_line_warns_of_a_model_that_takes_long(room: Any, monkeypatch: pytest.MonkeyPatch):
    shared_local_backend().measure(GenerationParams(model="shapes", prompt="a picture"))
    monkeypatch.setenv("DIFFATLAS_MOST_SECONDS", "0.0001")
    (words,) = room.ask("status", backend="local", model="shapes")["warnings"]
    assert "takes about" in words


def test_the_line_counts_what_runs_and_waits(room: Any):
    assert [room.ask("status")[name] for name in ("running", "waiting", "studies", "jobs")] == [0, 0, 0, 0]
    first, second = room.turns.join("you"), room.turns.join("me")
    room.running.begin("me", "study", None)
    told = room.ask("status")
    assert [told[name] for name in ("running", "waiting", "studies")] == [1, 1, 1]
    # Another's studies are their own business.
    assert room.ask("status", "you")["studies"] == 0
    room.turns.leave(first)
    room.turns.leave(second)


def test_the_line_counts_what_a_provider_runs(room: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DIFFATLAS_HOSTED_LEDGER", str(tmp_path / "hosted.sqlite"))
    with FakeReplicate() as fake:
        fake.fail("stays in the queue")
        params = GenerationParams(model="black-forest-labs/flux-dev", prompt="a red circle")
        events = open_backend("replicate", key=KEY, url=fake.url).trace(params)
        next(event for event in events if isinstance(event, Started))
        assert room.ask("status")["running"] == 1
        events.close()
    assert room.ask("status")["running"] == 0


def test_clearing_leaves_what_somebody_asked_to_keep(room: Any):
    library = room.libraries.of("me")
    loose = [keep(library), keep(library)]
    kept = {keep(library, locked=True), keep(library, note="mine"), keep(library, tags=["good"])}
    before = room.ask("settings_library")
    assert (before["runs"], before["loose_runs"]) == (5, 2)
    assert before["folder"] == str(library.folder)
    told = room.ask("library_clear")
    assert (told["deleted"], told["kept"]["runs"], told["kept"]["loose_runs"]) == (2, 3, 0)
    assert before["bytes"] - told["kept"]["bytes"] == before["loose_bytes"]
    assert {info.id for info in library.list()} == kept
    assert not any((library.folder / run).exists() for run in loose)


def test_on_a_shared_server_a_visitor_clears_and_sees_their_own_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    room = open_room(tmp_path, monkeypatch, shared=True)
    mine, theirs = keep(room.libraries.of("me")), keep(room.libraries.of("you"))
    assert room.ask("settings_library")["runs"] == 1
    room.ask("library_clear")
    assert not (room.libraries.of("me").folder / mine).exists()
    assert (room.libraries.of("you").folder / theirs).is_dir()
    told = json.dumps([room.ask("settings_library"), room.ask("settings_variables")])
    assert str(tmp_path) not in told


def test_what_the_cache_answered_is_counted(room: Any):
    library = room.libraries.of("me")
    for _ in range(2):
        list(
            stream(GenerationParams(prompt="a red circle", num_inference_steps=2), Capture(), library=library)
        )
    assert room.ask("settings_library")["served"] == 1


def test_the_environment_is_shown_without_secrets(room: Any, monkeypatch: pytest.MonkeyPatch):
    for name in ("REPLICATE_API_TOKEN", "HF_TOKEN"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("DIFFATLAS_LIBRARY_CAP", "1e6")
    monkeypatch.setenv(
        "DIFFATLAS_HOSTED_URLS", json.dumps({"replicate": f"http://me:{SECRET}@127.0.0.1:9/x"})
    )
    found = {one["name"]: one for one in room.ask("settings_variables")["variables"]}
    assert (found["DIFFATLAS_LIBRARY_CAP"]["value"], found["DIFFATLAS_LIBRARY_CAP"]["given"]) == (
        "1000000",
        True,
    )
    assert found["REPLICATE_API_TOKEN"]["value"] == found["HF_TOKEN"]["value"] == "set"
    assert SECRET not in json.dumps(found)


def test_every_setting_has_its_words():
    assert set(ABOUT) == set(Settings.model_fields)
    assert set(OF_VISITORS) <= set(ABOUT)
