"""Runs of hosted models as the pages run and show them, against a provider on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diffatlas.backends.hosted import provider_of
from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams
from diffatlas.library import Library
from diffatlas.operations.trace import shared_local_backend
from diffatlas.registry import HostedModel, hosted_model
from diffatlas.studies.plan_lanes import lanes_of
from diffatlas.ui import expectations, hosted_fields, links, run_names
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.run_data import stored_fields
from diffatlas.ui.components.study_form import chosen_lanes, lane_choices, to_lanes
from diffatlas.ui.live_runs import Asked, LiveRuns, Shelf
from diffatlas.ui.places import models_of
from diffatlas.ui.turns import Turns
from tests.backends.hosted.fakes.every import EVERY
from tests.backends.hosted.fakes.replicate import FakeReplicate
from tests.backends.hosted.fakes.server import KEY, FakeProvider
from tests.backends.hosted.test_every_case import CODES

#: What a sentence about an error of a code has in it; LABEL stands for the provider.
WORDS = {
    "auth": "key",
    "payment_required": "credit",
    "capability": "LABEL cannot",
    "provider_down": "LABEL has a fault",
    "provider_error": "LABEL points to another",
    "content_refused": "refuse",
    "bad_download": "picture",
}
WHY = "Replicate shows no latents: a hosted service returns only the finished image."
ASKED = {
    "backend": "replicate", "model": "black-forest-labs/flux-schnell", "prompt": "a red circle", "seed": 7,
    "steps": 4, "guidance": 5, "size": "1024x1024",
}  # fmt: skip


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeReplicate]:
    with FakeReplicate() as served:
        monkeypatch.setenv("DIFFATLAS_HOSTED_URLS", json.dumps({"replicate": served.url}))
        monkeypatch.setenv("REPLICATE_API_TOKEN", KEY)
        yield served


def run(library: Library, **changes: Any) -> list[dict[str, Any]]:
    """The values that a page is told of a run."""
    values = {**ASKED, **changes}
    live = LiveRuns(shared_local_backend(), {}, Turns(), Shelf(lambda visitor: library))

    def asked() -> Asked:
        return Asked(forms.to_params(values), Capture(), 1, "keep", True, forms.to_backend(values))

    request = SimpleNamespace(session_hash="tab", cookies={}, headers={}, request=None)
    return list(live.stream("", values["model"], asked, request))


def test_a_hosted_run_shows_its_image_and_says_why_there_is_no_path(
    fake: FakeReplicate, tmp_path: Path
) -> None:
    library = Library(tmp_path)
    *earlier, last = run(library)
    assert last["status"] == "complete"
    assert last["image"]
    assert last["steps"] == []
    hosted = last["run"]["hosted"]
    assert hosted["why"] == WHY
    assert any("takes no guidance" in sentence for sentence in hosted["ignored"])
    assert ["seed", "7"] in hosted["told"]
    assert last["run"]["query"]["backend"] == "replicate"
    assert "backend='replicate'" in last["run"]["python"]
    assert any(value["status"] in ("loading", "running") and value["message"] for value in earlier)
    # What is stored is shown as the live one was, and told apart from a run of this machine.
    stored = library.open(last["run"]["id"])
    again = stored_fields(stored, last["run"]["model_name"], "visitor")
    assert (again["run"]["hosted"], again["steps"], again["notes"]) == (hosted, [], [])
    assert again["image"]
    facts = run_names.facts(stored, {})
    assert (facts["backend"], facts["model"]) == ("at Replicate", "FLUX.1 schnell")
    # Nothing is paid for twice.
    assert run(library)[-1]["cached"]
    assert KEY not in json.dumps(last)


@pytest.mark.parametrize(("fault", "words"), [("401", "key"), ("402", "billing")])
def test_what_a_provider_refuses_is_said_at_the_backend(
    fake: FakeReplicate, tmp_path: Path, fault: str, words: str
) -> None:
    fake.fail(fault)
    last = run(Library(tmp_path))[-1]
    assert last["status"] == "failed"
    assert last["error"]["field"] == "backend"
    assert words in last["error"]["message"]


@pytest.mark.parametrize(
    "fault", ["401", "402", "403", "422", "500", "redirect", "refused content", "no picture"]
)
@pytest.mark.parametrize("kind", EVERY, ids=lambda one: one.name)
def test_a_page_says_what_every_provider_refuses(
    kind: type[FakeProvider], fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry = hosted_model(kind.model, kind.name)
    with kind() as served:
        monkeypatch.setenv("DIFFATLAS_HOSTED_URLS", json.dumps({kind.name: served.url}))
        monkeypatch.setenv(provider_of(kind.name).variables[0], served.key)
        served.fail(fault)
        guidance, steps = entry.guidance or 1.0, entry.steps or 30
        values = {"backend": kind.name, "model": kind.model, "steps": steps, "guidance": guidance}
        last = run(Library(tmp_path), **values)[-1]
        assert last["status"] == "failed"
        message = last["error"]["message"]
        assert WORDS[{**CODES, **served.codes}[fault]] in message.replace(
            provider_of(kind.name).label, "LABEL"
        )
        assert message.isprintable()
        assert served.key not in json.dumps(last)
        assert served.made <= 1


@pytest.mark.parametrize("fault", ["429 wait", "drop"])
@pytest.mark.parametrize("kind", EVERY, ids=lambda one: one.name)
def test_a_page_waits_and_pays_once(
    kind: type[FakeProvider], fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry = hosted_model(kind.model, kind.name)
    with kind() as served:
        monkeypatch.setenv("DIFFATLAS_HOSTED_URLS", json.dumps({kind.name: served.url}))
        monkeypatch.setenv(provider_of(kind.name).variables[0], served.key)
        served.fail(fault, times=1)
        asked = {"backend": kind.name, "model": kind.model, "steps": entry.steps or 30}
        told = run(Library(tmp_path), **asked, guidance=entry.guidance or 1.0)
        last = told[-1]
        if fault == "429 wait":
            assert last["status"] == "complete"
            assert any("asks to wait" in (value["message"] or "") for value in told)
        else:
            assert last["status"] == "complete" or "paid" in last["error"]["message"]
        assert served.made == 1


def test_without_a_key_the_page_says_where_one_goes(
    fake: FakeReplicate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REPLICATE_API_TOKEN")
    error = run(Library(tmp_path))[-1]["error"]
    assert error["field"] == "backend"
    assert "Settings" in error["message"]
    # What the model cannot do is said at its own field.
    monkeypatch.setenv("REPLICATE_API_TOKEN", KEY)
    assert run(Library(tmp_path), steps=40)[-1]["error"]["field"] == "num_inference_steps"


def test_a_link_brings_a_backend_with_the_settings_of_its_model() -> None:
    query = forms.query_of(forms.to_params(ASKED), "replicate")
    filled, problem = links.fill({"backend": "replicate", "prompt": "a cat"}, lambda model: None, "shapes")
    assert problem is None
    first = models_of("replicate")[0]
    assert (filled["model"]["value"], filled["steps"]) == (first.id, first.steps)
    filled, problem = links.fill(query, lambda model: None, "shapes")
    assert (filled["backend"]["value"], filled["model"]["value"]) == ("replicate", ASKED["model"])
    assert "backend" not in forms.query_of(forms.to_params(ASKED))
    # A form that held a provider is back on this machine with a run of it.
    assert links.emptied(filled, {})["backend"]["value"] == "local"
    assert "There is no provider" in links.fill({"backend": "nobody"}, lambda model: None, "shapes")[1]
    with pytest.raises(InvalidParams):
        forms.to_backend({"backend": "nobody"})
    assert forms.to_backend({}) == "local"


def test_the_fields_say_what_a_hosted_model_does_not_take() -> None:
    schnell = hosted_model("black-forest-labs/flux-schnell", "replicate")
    told = hosted_fields.hints(schnell)
    assert told["steps"] == ("1 to 4.", True)
    assert [told[name][1] for name in ("guidance", "negative_prompt", "scheduler")] == [False, False, False]
    assert "no guidance and no negative prompt: these are ignored" in hosted_fields.line_of(schnell)
    unknown = HostedModel("owner/name", "owner/name", provider="replicate")
    assert hosted_fields.hints(unknown)["guidance"][1]
    assert "all that is asked is sent" in hosted_fields.line_of(unknown)
    # What one image costs stands beside the form.
    line = expectations.told(
        None, SimpleNamespace(shared=False), False, {**ASKED, "scheduler": "", "guidance_method": ""}
    )
    assert "$0.003" in line[0]["value"]


@pytest.mark.parametrize("first", ["local", "replicate"])
def test_lanes_choose_a_backend_with_a_model(first: str) -> None:
    models = models_of(first)
    choices = [value for _, value in lane_choices(models, models[0].id, None, first)]
    other = "together" if first == "local" else "local"
    chosen = [next(one for one in choices if one.startswith(f"backend={other} ")), f"model={models[1].id}"]
    base = forms.to_params({**ASKED, "model": models[0].id})
    lanes = lanes_of(base, to_lanes(chosen), first)
    assert [lane.backend for lane in lanes] == [first, other, first]
    assert [one for one in chosen_lanes(lanes) if one in choices] == chosen


def test_a_lane_tells_which_settings_are_not_sent() -> None:
    from diffatlas.studies.plan_sweep import plan_sweep
    from diffatlas.studies.run import StudyChanged
    from diffatlas.ui.components.study_view import StudyView

    study = plan_sweep(
        forms.to_params(ASKED),
        "seed",
        "7, 8",
        lanes=[{"backend": "local", "model": "shapes"}],
        backend="replicate",
    )
    view = StudyView("visitor")
    view.add(StudyChanged(study))
    first, second = view.value()["study"]["lanes"]
    assert (first["not_sent"], second["not_sent"]) == (["guidance_scale"], [])
