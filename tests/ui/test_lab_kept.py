"""Networks and drawings of the 2D Lab are kept with the visitor, as the page asks for them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from diffatlas.errors import InvalidParams
from diffatlas.lab2d import states
from diffatlas.ui import lab_kept, lab_sessions
from diffatlas.ui.lab_services import LabServices
from diffatlas.ui.libraries import Libraries
from tests.spoken import Spoken

ME, YOU = "a" * 32, "b" * 32
SMALL = {"width": 16, "depth": 1, "batch": 16, "steps": 400}
MOONS = {"target": {"preset": "moons"}, "recipe": SMALL}


@pytest.fixture
def services(tmp_path) -> LabServices:
    return Spoken(LabServices(Libraries(tmp_path)))


@pytest.fixture
def shared(tmp_path) -> LabServices:
    return Spoken(LabServices(Libraries(tmp_path, shared=True)))


def trained(services: LabServices, asked: dict[str, Any] = MOONS, steps: int = 50, who: str = ME) -> str:
    lab = services.begin(who, asked)["lab"]
    train(services, lab, steps, who)
    return lab


def train(services: LabServices, lab: str, steps: int, who: str = ME) -> dict[str, Any]:
    services.train(who, {"lab": lab, "steps": steps})
    end = time.monotonic() + 60
    while (seen := services.watch(who, {"lab": lab}))["status"] in ("waiting", "training"):
        assert time.monotonic() < end
        time.sleep(0.02)
    return seen


def kept(services: LabServices, who: str = ME) -> list[dict[str, Any]]:
    return services.listed(who, {})["kept"]


def test_another_target_keeps_the_network_and_there_is_a_way_back(services):
    lab = trained(services)
    before = services.sample(ME, {"lab": lab, "n": 50, "seed": 3})["final"]
    other = services.begin(ME, {"target": {"preset": "rings"}, "pretrained": True, "instead": lab})
    assert other["aside"]["name"] == "Moons, 1 × 16, 50 steps"
    back = services.back(ME, {"kept": other["aside"]["kept"], "instead": other["lab"]})
    assert (back["step"], back["origin"], back["aside"]) == (50, "scratch", None)
    assert services.sample(ME, {"lab": back["lab"], "n": 50, "seed": 3})["final"] == before
    assert len(services.watch(ME, {"lab": back["lab"]})["losses"]) == 5


def test_a_training_that_another_target_interrupts_is_kept_as_far_as_it_came(services):
    lab = services.begin(ME, {**MOONS, "recipe": {**SMALL, "steps": 100_000}})["lab"]
    services.train(ME, {"lab": lab})
    while services.watch(ME, {"lab": lab})["step"] < 50:
        time.sleep(0.01)
    aside = services.begin(ME, {"target": {"preset": "rings"}, "pretrained": True, "instead": lab})["aside"]
    assert services.back(ME, {"kept": aside["kept"]})["step"] >= 50


def test_networks_are_found_after_a_restart_and_their_training_goes_on_in_place(services, tmp_path):
    trained(services)
    again = Spoken(LabServices(Libraries(tmp_path)))
    (one,) = kept(again)
    lab = again.back(ME, {"kept": one["id"]})["lab"]
    assert train(again, lab, 30)["kept"] == one["id"]
    assert [entry["name"] for entry in kept(again)] == ["Moons, 1 × 16, 80 steps"]


def test_a_long_training_is_kept_while_it_goes_on(services, monkeypatch):
    monkeypatch.setattr(lab_sessions, "KEEP_EVERY", 0.1)
    lab = services.begin(ME, {**MOONS, "recipe": {**SMALL, "steps": 100_000}})["lab"]
    services.train(ME, {"lab": lab})
    end = time.monotonic() + 20
    while not kept(services):
        assert time.monotonic() < end
        services.watch(ME, {"lab": lab})
        time.sleep(0.02)
    assert services.watch(ME, {"lab": lab})["status"] == "training"
    services.stop(ME, {"lab": lab})


def test_a_lab_that_was_dropped_for_memory_is_loaded_again(services):
    services._labs._labs.most = 2
    lab = trained(services)
    before = services.sample(ME, {"lab": lab, "n": 50, "seed": 3})["final"]
    for _ in range(3):
        services.begin(ME, {"target": {"preset": "rings"}, "pretrained": True})
    with pytest.raises(InvalidParams) as told:
        services.watch(ME, {"lab": lab})
    # By this the page knows that it may ask for it again.
    assert told.value.field == "lab"
    back = services.back(ME, {"kept": kept(services)[0]["id"]})
    assert services.sample(ME, {"lab": back["lab"], "n": 50, "seed": 3})["final"] == before


def test_a_training_is_the_last_to_be_dropped_for_memory(services):
    services._labs._labs.most = 2
    lab = services.begin(ME, {**MOONS, "recipe": {**SMALL, "steps": 100_000}})["lab"]
    services.train(ME, {"lab": lab})
    for _ in range(4):
        services.begin(ME, {"target": {"preset": "rings"}, "pretrained": True})
    assert services.watch(ME, {"lab": lab})["status"] in ("waiting", "training")
    services.stop(ME, {"lab": lab})


def test_what_is_trained_on_from_a_pretrained_start_or_a_file_is_kept_and_what_is_not_is_not(services):
    lab = services.begin(ME, {"target": {"preset": "moons"}, "pretrained": True})["lab"]
    assert kept(services) == []
    train(services, lab, 10)
    trainer = services._labs.find(ME, lab).trainer
    assert services._labs.find(ME, lab).begun == trainer.step - 10
    text = states.json.dumps(states.to_json(trainer))
    # It is kept already, to the bit.
    services.open(ME, {"text": text})
    assert len(kept(services)) == 1


def test_names_say_what_differs(services):
    for recipe in ({}, {"seed": 4}, {"objective": "eps"}):
        trained(services, {**MOONS, "recipe": {**SMALL, **recipe}})
    names = [entry["name"] for entry in kept(services)]
    assert len(set(names)) == 3
    assert any("seed 4" in name for name in names)
    assert any("predicts noise" in name for name in names)


def test_a_drawing_is_kept_renamed_deleted_and_opened(services):
    points = np.random.default_rng(0).uniform(-1, 1, (30, 2)).tolist()
    drawing = {"name": "drawing", "points": points, "labels": [k % 2 for k in range(30)], "jitter": 0.1}
    first = services.begin(ME, {"target": drawing, "recipe": SMALL})
    # Trained from scratch it is the same drawing.
    lab = trained(services, {"target": first["source"], "recipe": SMALL})
    entries = kept(services)
    assert [entry["kind"] for entry in entries] == ["network", "drawing"]
    assert entries[1]["name"] == "Your drawing, 30 points"
    assert len(entries[1]["labels"]) == 30
    services.rename(ME, {"id": entries[1]["id"], "name": "A <b>cloud</b>"})
    assert kept(services)[1]["name"] == "A <b>cloud</b>"
    services.delete(ME, {"id": entries[0]["id"]})
    again = services.begin(ME, {"target": {"kept": entries[1]["id"]}, "recipe": SMALL, "instead": lab})
    assert (again["components"], again["given"], again["step"]) == (30, 30, 0)
    np.testing.assert_allclose(again["source"]["points"], points)
    services.restore(ME, {"id": entries[0]["id"]})
    assert len(kept(services)) == 2


def test_on_a_shared_server_nobody_reaches_what_another_keeps(shared):
    trained(shared)
    (mine,) = kept(shared)
    assert kept(shared, YOU) == []
    for call, asked in (
        (shared.back, {"kept": mine["id"]}),
        (shared.rename, {"id": mine["id"], "name": "yours"}),
        (shared.delete, {"id": mine["id"]}),
        (shared.restore, {"id": mine["id"]}),
        (shared.begin, {"target": {"kept": mine["id"]}}),
    ):
        with pytest.raises(InvalidParams):
            call(YOU, asked)
    assert kept(shared) == [mine]
    assert shared.listed(ME, {})["expires"] is not None


def test_where_the_bound_is_reached_the_page_is_told_and_the_network_stays_within_reach(shared, monkeypatch):
    monkeypatch.setattr(lab_kept, "SHARED_MOST", 1)
    trained(shared)
    second = trained(shared, {**MOONS, "recipe": {**SMALL, "seed": 1}})
    assert "delete one" in shared.watch(ME, {"lab": second})["unkept"]
    assert len(kept(shared)) == 1
    other = shared.begin(ME, {"target": {"preset": "rings"}, "pretrained": True, "instead": second})
    assert other["aside"]["lab"] == second
    assert "delete one" in other["aside"]["problem"]
    assert shared.back(ME, {"again": second, "instead": other["lab"]})["step"] == 50
    shared.delete(ME, {"id": kept(shared)[0]["id"]})
    # Now there is room.
    told = shared.keep(ME, {"lab": second})
    assert (told["kept"], told["unkept"]) == (kept(shared)[0]["id"], "")


def test_a_disk_that_is_full_is_told_and_nothing_breaks(services, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(states, "write_whole", full)
    lab = trained(services)
    assert services.watch(ME, {"lab": lab})["unkept"] == "It could not be written: No space left on device."
    assert services.sample(ME, {"lab": lab, "n": 50})["n"] == 50
