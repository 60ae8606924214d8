"""What the pages and the shell ask before runs on Modal are paid for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from diffatlas import GenerationParams, cli
from diffatlas.backends.modal import ModalBackend
from diffatlas.capture.spec import Capture
from diffatlas.library import Library
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.ui import elsewhere
from diffatlas.ui.invitation import Invitation
from diffatlas.ui.key_services import KeyServices
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.live_runs import Asked, LiveRuns, Shelf
from diffatlas.ui.status_services import StatusServices
from diffatlas.ui.study_runner import StudyRunner
from diffatlas.ui.study_services import Running
from diffatlas.ui.turns import Turns
from diffatlas.ui.wire.calls import CALLS

RED = GenerationParams(model="shapes", prompt="a red circle", seed=3, num_inference_steps=2)


@pytest.fixture
def modal(container, tmp_path, monkeypatch):
    """The backend of the pages, none of whose runs has been made."""
    backend = ModalBackend()
    monkeypatch.setattr(elsewhere, "_shared", lambda name: backend)
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "library"))
    monkeypatch.setenv("DIFFATLAS_HOSTED_CONFIRM", "2")
    return backend


def test_a_study_is_asked_for_by_its_number_of_runs(modal, tmp_path):
    runner = StudyRunner(Libraries(tmp_path / "runs", False), Turns(), Running())
    study = plan_sweep(RED, "guidance_scale", [1, 3], backend="modal")

    def run():
        *_, last = runner.run("visitor", "tab", lambda: (study, Capture()), True)
        return last

    message = run()["error"]["message"]
    assert message.startswith("This asks for 2 runs on Modal, an unknown time")
    assert "“Run all the same”" in message
    assert runner.sessions.question("tab").startswith("This asks for 2 runs on Modal")
    assert modal.spent.runs == 0
    runner.sessions.confirm("tab")
    assert run()["status"] == "complete"
    assert modal.spent.runs == 2
    # The library has them, so there is nothing to ask for.
    assert run()["status"] == "complete"
    assert modal.spent.runs == 2


def test_runs_whose_time_is_known_are_asked_for_by_what_they_cost(modal, tmp_path, monkeypatch):
    library = Library(tmp_path / "runs")
    live = LiveRuns(modal, {}, Turns(), Shelf(lambda visitor: library))
    request = SimpleNamespace(session_hash="tab", cookies={}, request=None)

    def run(params):
        what = Asked(params, Capture(), 1, "next", True, "modal")
        return list(live.stream("a red circle", "shapes", lambda: what, request))[-1]

    assert run(RED)["status"] == "complete"
    monkeypatch.setenv("DIFFATLAS_MODAL_CONFIRM", "0.0001")
    assert run(RED)["status"] == "complete", "the library has it"
    message = run(RED.replace(seed=4))["error"]["message"]
    assert message.startswith("This asks for 1 run on Modal, about 1 s on a container without a GPU at $")
    assert "with the longest start and idle time" in message
    assert modal.spent.runs == 1
    live.sessions.confirm("tab")
    assert run(RED.replace(seed=4))["status"] == "complete"


def test_the_status_line_has_its_device_once_it_is_chosen(modal):
    nobody = KeyServices()
    line = StatusServices(Turns(), Running(), nobody, (), lambda: Invitation("", ""))
    asked = {"backend": "modal", "model": "shapes"}
    elsewhere.forget_models("modal")
    before = line.status("me", CALLS["status"].read(asked))
    assert (before["backend"], before["device"]) == ("Modal", "")
    elsewhere.learn_models("modal", anew=True)
    assert line.status("me", CALLS["status"].read(asked))["device"] == "CPU"
    assert ModalBackend(gpu="H100").runs_on() == "H100"
    elsewhere.forget_models("modal")


def test_the_shell_asks_for_yes(modal, capsys):
    sweep = [
        "sweep",
        "a red circle",
        "--backend",
        "modal",
        "--model",
        "shapes",
        "--values",
        "1,3",
        "--steps",
        "2",
    ]
    assert cli.run(sweep) == 2
    assert "This asks for 2 runs on Modal" in (said := capsys.readouterr().err)
    assert "--yes" in said
    assert cli.run([*sweep, "--yes"]) == 0
