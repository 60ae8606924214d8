"""The 2D Lab's side of the server, as the page calls it."""

from __future__ import annotations

import base64
import json
import threading
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from diffatlas.backends import bounds
from diffatlas.errors import CapabilityError, InvalidParams, OverBound, Overrun
from diffatlas.lab2d import states
from diffatlas.lab2d.cost import sampling_cost
from diffatlas.lab2d.mixtures import nearest_modes
from diffatlas.lab2d.samplers import Plan
from diffatlas.lab2d.targets import PRESETS, preset
from diffatlas.look import NIGHT, PAPER
from diffatlas.ui import lab_sessions, private_files
from diffatlas.ui.lab_asked import bind, field_of
from diffatlas.ui.lab_services import FAR, LabServices
from diffatlas.ui.turns import Turns
from diffatlas.ui.wire.lab import FieldAsked
from tests.spoken import Spoken

ME, OTHER = "me", "other"
SMALL = {"width": 32, "depth": 2, "batch": 64, "steps": 400}


def shorts(text: str, extent: float = FAR) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<i2") * extent / 32767


@pytest.fixture
def services() -> LabServices:
    return Spoken(LabServices())


@pytest.fixture
def moons(services: LabServices) -> str:
    return services.begin(ME, {"target": {"preset": "moons"}, "pretrained": True})["lab"]


def trained(services: LabServices, lab: str, steps: int = 400) -> dict[str, Any]:
    services.train(ME, {"lab": lab, "steps": steps})
    end = time.monotonic() + 60
    while (seen := services.watch(ME, {"lab": lab}))["status"] in ("waiting", "training"):
        assert time.monotonic() < end
        time.sleep(0.05)
    return seen


def finished(services: LabServices, started: dict[str, Any]) -> dict[str, Any]:
    end = time.monotonic() + 120
    while not (state := services.job(ME, started))["done"]:
        assert time.monotonic() < end
        time.sleep(0.05)
    return state


def test_every_preset_is_shown_and_has_a_pretrained_start(services):
    shown = services.presets(ME, {})
    assert [entry["name"] for entry in shown["presets"]] == list(PRESETS)
    for name in PRESETS:
        lab = services.begin(ME, {"target": {"preset": name}, "pretrained": True})
        assert (lab["origin"], lab["step"] > 1000) == ("pretrained", True)


def test_a_training_ends_where_it_was_asked_and_goes_on(services):
    lab = services.begin(ME, {"target": {"preset": "moons"}, "recipe": SMALL})["lab"]
    seen = trained(services, lab)
    assert (seen["status"], seen["step"]) == ("trained", 400)
    assert len(seen["losses"]) == 40
    assert seen["losses"][-1] < seen["losses"][0]
    again = trained(services, lab, 100)
    assert again["step"] == 500
    assert len(services.watch(ME, {"lab": lab, "since": 45})["losses"]) == 5


def test_a_training_is_stopped_within_a_few_steps(services):
    lab = services.begin(ME, {"target": {"preset": "moons"}, "recipe": {"steps": 100_000}})["lab"]
    services.train(ME, {"lab": lab})
    with pytest.raises(InvalidParams, match="being trained"):
        services.train(ME, {"lab": lab})
    while services.watch(ME, {"lab": lab})["floor"] is None:
        time.sleep(0.02)
    seen = services.watch(ME, {"lab": lab, "samples": True})
    assert shorts(seen["samples"]["points"]).size == 800
    assert 0.5 < seen["floor"] < 0.8
    assert services.stop(ME, {"lab": lab})["status"] == "stopped"
    step = services.watch(ME, {"lab": lab})["step"]
    time.sleep(0.1)
    assert services.watch(ME, {"lab": lab})["step"] == step


def test_a_training_that_nobody_watches_ends(services, monkeypatch):
    monkeypatch.setattr(lab_sessions, "ABANDONED", 0.2)
    lab = services.begin(ME, {"target": {"preset": "moons"}, "recipe": {**SMALL, "steps": 100_000}})["lab"]
    services.train(ME, {"lab": lab})
    kept = services._labs._labs.get(ME, lab)  # to watch it would be to wait for it
    end = time.monotonic() + 20
    while kept.status != "stopped":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert kept.trainer.step < 100_000


def test_more_trainings_than_processors_wait_their_turn(services):
    services._labs.turns.places = 1
    first, second = (
        services.begin(ME, {"target": {"preset": "moons"}, "recipe": {**SMALL, "steps": 100_000}})["lab"]
        for _ in "ab"
    )
    services.train(ME, {"lab": first})
    while services.watch(ME, {"lab": first})["status"] != "training":
        time.sleep(0.02)
    services.train(ME, {"lab": second})
    time.sleep(0.3)
    seen = services.watch(ME, {"lab": second})
    assert (seen["status"], seen["ahead"]) == ("waiting", 1)
    services.stop(ME, {"lab": first})
    end = time.monotonic() + 10
    while services.watch(ME, {"lab": second})["status"] != "training":
        assert time.monotonic() < end
        time.sleep(0.05)
    services.stop(ME, {"lab": second})


def test_a_diverging_training_says_so(services):
    lab = services.begin(ME, {"target": {"preset": "moons"}, "recipe": SMALL})["lab"]
    services._labs.find(ME, lab).trainer.vector[:] = np.nan
    seen = trained(services, lab)
    assert seen["status"] == "stopped"
    assert "lower learning rate" in seen["problem"]
    json.dumps({k: v for k, v in seen.items() if k != "losses"}, allow_nan=False)


def test_nobody_reaches_another_visitors_lab(services, moons):
    for call in (services.watch, services.sample, services.save, services.stop):
        with pytest.raises(InvalidParams, match="no longer kept"):
            call(OTHER, {"lab": moons})
    services.begin(OTHER, {"target": {"preset": "moons"}, "pretrained": True, "instead": moons})
    assert services.watch(ME, {"lab": moons})["status"] == "idle"


@pytest.mark.parametrize("which", ["learned", "exact", "empirical"])
def test_samples_of_one_class_are_of_that_class(services, moons, which):
    asked = {"lab": moons, "field": which, "classes": 1, "n": 300, "steps": 24}
    found = services.sample(ME, asked)
    points = shorts(found["frames"]).reshape(found["count"], 300, 2)
    modes = nearest_modes(preset("moons"), points[-1])
    assert np.mean(modes >= 8) > 0.97  # the lower moon has the second half of the modes
    assert set(found["labels"]) == {1}


def test_guidance_reaches_the_sampler(services, moons):
    def spread(weight: float) -> float:
        found = services.sample(
            ME, {"lab": moons, "field": "exact", "classes": 0, "n": 300, "weight": weight}
        )
        points = shorts(found["frames"]).reshape(found["count"], 300, 2)[-1]
        return float(np.sqrt(points.var(axis=0).sum()))

    assert spread(3.0) < 0.8 * spread(0.0)


def test_frames_go_from_noise_to_points_with_mesh_and_paths(services, moons):
    found = services.sample(ME, {"lab": moons, "n": 200, "mesh": True, "sampler": "euler", "steps": 30})
    assert (found["count"], found["straight"], found["sigmas"][-1], found["calls"]) == (31, True, 0, 30)
    assert shorts(found["mesh"]).size == 31 * 225 * 2
    paths = services.paths(ME, {"lab": moons, "sampler": "euler", "steps": 30, "start": [0.5, -0.5]})
    for which in ("learned", "exact"):
        path = shorts(paths[which]).reshape(31, 2)
        np.testing.assert_allclose(path[0], [0.5, -0.5], atol=0.01)
    noisy = services.sample(ME, {"lab": moons, "n": 50, "mesh": True, "sampler": "ddim", "eta": 1.0})
    assert noisy["mesh"] is None
    maps = services.density(ME, {"lab": moons, "sigmas": found["sigmas"], "straight": True})
    assert shorts(maps["maps"], 1.0).size == 31 * maps["cells"] ** 2


def test_fields_and_measures(services, moons):
    found = services.field(ME, {"lab": moons, "t": 300, "classes": 0, "weight": 1.5, "quantity": "eps"})
    assert found["grid"]["learned"]["relative"] < 0.5
    assert found["on"]["class"]["relative"] < 0.1
    assert found["empirical_points"] == 500
    services.sample(ME, {"lab": moons, "n": 500})
    measured = services.measure(ME, {"lab": moons})
    assert measured["measures"]["mmd2"] < 0.01
    assert set(measured["measures"]) == set(measured["chance"])


def test_a_lab_saved_and_opened_samples_the_same(services, tmp_path, monkeypatch):
    monkeypatch.setattr(private_files, "_root", lambda: tmp_path)
    points = np.random.default_rng(0).uniform(-1, 1, (40, 2)).tolist()
    target = {"points": points, "labels": [k % 2 for k in range(40)], "classes": ["a", "b"], "jitter": 0.1}
    lab = services.begin(ME, {"target": target, "recipe": SMALL})["lab"]
    trained(services, lab, 100)
    saved = services.save(ME, {"lab": lab, "view": {"view": "field"}})
    text = next(tmp_path.rglob(saved["name"])).read_text()
    opened = services.open(OTHER, {"text": text})
    assert opened["view"] == {"view": "field"}
    asked = {"n": 100, "seed": 3}
    before, after = (
        services.sample(ME, {"lab": lab, **asked}),
        services.sample(OTHER, {"lab": opened["lab"], **asked}),
    )
    assert before["final"] == after["final"]
    assert states.parse(text)[0].step == 100


def test_the_film_is_a_gif_of_all_frames(services, moons, tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(private_files, "_root", lambda: tmp_path)
    with pytest.raises(InvalidParams, match="Sample first"):
        services.gif(ME, {"lab": moons})
    count = services.sample(ME, {"lab": moons, "n": 60, "steps": 6})["count"]
    services.gif(ME, {"lab": moons})
    with Image.open(next(tmp_path.rglob("lab.gif"))) as film:
        assert film.n_frames == count
        first = np.asarray(film.convert("RGB"), float)
        film.seek(count - 1)
        assert np.abs(np.asarray(film.convert("RGB"), float) - first).mean() > 0.5


def test_a_table_is_a_target_and_says_what_was_left_out(services):
    rows = "\n".join(
        f"{x:.4f},{y:.4f},{'ab'[k % 2]}"
        for k, (x, y) in enumerate(np.random.default_rng(0).random((1500, 2)))
    )
    lab = services.begin(ME, {"target": {"table": "x,y,class\n" + rows}, "recipe": SMALL})
    assert (lab["given"], lab["components"], lab["classes"]) == (1500, 1000, ["a", "b"])


def test_quality_grows_point_by_point_and_can_be_stopped(services, moons):
    started = services.quality(ME, {"lab": moons, "samplers": ["ddim", "heun"], "n": 200, "repeats": 1})
    result = finished(services, started)["result"]
    assert len(result["rows"]) == 12
    assert {row["sampler"]: row["calls"] for row in result["rows"] if row["steps"] == 64} == {
        "ddim": 64,
        "heun": 127,
    }
    values = [row["w2"] for row in result["rows"] if (row["sampler"], row["steps"]) == ("ddim", 8)]
    assert result["summary"]["w2"]["ddim"][1] == [8, 8, values[0], 0.0]
    asked = {"job": started["job"], "measure": "w2", "axis": "calls", "scale": "linear", "dark": True}
    drawn = services.quality_figure(ME, asked)
    (line,) = [one for one in drawn["data"] if one["mode"] == "lines+markers" and "127" in str(one["x"])]
    np.testing.assert_allclose(line["y"], [row[2] for row in result["summary"]["w2"]["heun"]], rtol=1e-5)
    assert drawn["layouts"]["1"]["template"]["layout"]["paper_bgcolor"] == NIGHT.paper
    for wrong in ({"measure": "w3"}, {"axis": "time"}, {"scale": "root"}, {"job": "another"}):
        with pytest.raises(InvalidParams):
            services.quality_figure(ME, asked | wrong)
    with pytest.raises(InvalidParams):
        services.quality_figure("somebody else", asked)
    started = services.quality(ME, {"lab": moons, "samplers": ["ddim"], "n": 2000, "repeats": 10})
    services.stop_job(ME, started)
    assert len(finished(services, started)["result"]["rows"]) < 60


def test_budget_excess_density_and_memory(services, moons):
    job = services.budget(ME, {"lab": moons, "n": 50})
    budget = finished(services, job)["result"]
    assert budget["total"][0] > 10 * budget["model"] > 0
    below = [
        steps
        for steps, own in zip(budget["steps"], budget["integration"], strict=True)
        if own < budget["model"]
    ]
    assert budget["enough"] == (below[0] if below else None)
    for dark, ground in ((False, PAPER), (True, NIGHT)):
        figure = services.budget_figure(ME, {**job, "dark": dark})
        lines = {line["meta"]["measure"]: line["y"] for line in figure["data"]}
        for name in ("total", "integration", "exact_integration"):
            np.testing.assert_allclose(lines[name], budget[name], rtol=1e-5)
        assert figure["layouts"]["1"]["template"]["layout"]["paper_bgcolor"] == ground.paper
    excess = services.excess(ME, {"lab": moons})
    assert excess["class"]["relative"] < 0.01
    density = finished(services, services.model_density(ME, {"lab": moons, "classes": 0}))["result"]
    assert abs(density["mass"] - 1) < 0.1
    assert abs(density["divergence"]) < 0.1
    job = services.memory(ME, {"lab": moons, "sizes": [5, 9], "train_steps": 300})
    few, more = finished(services, job)["result"]["rows"]
    assert few["copies"]["empirical"] > 0.9
    drawn = services.memory_figure(ME, {**job, "count": 5})
    assert sorted(drawn["layouts"]) == ["1", "2", "3"]
    lines = {(one["meta"]["measure"], one["meta"].get("of")): one for one in drawn["data"]}
    learned = [few["copies"]["learned"], more["copies"]["learned"]]
    np.testing.assert_allclose(lines["copies", "learned"]["y"], learned, rtol=1e-5)
    assert "5 training points" in drawn["layouts"]["1"]["annotations"][1]["text"]
    with pytest.raises(InvalidParams, match="choose among 5, 9"):
        services.memory_figure(ME, {**job, "count": 6})


def test_paired_noise_is_refused_where_it_has_no_answer(services):
    recipe = {**SMALL, "objective": "flow", "schedule": "straight", "pairing": "ot"}
    lab = services.begin(ME, {"target": {"preset": "moons"}, "recipe": recipe})["lab"]
    trained(services, lab, 100)
    services.sample(ME, {"lab": lab, "n": 50, "sampler": "euler"})
    for ask in (
        lambda: services.sample(ME, {"lab": lab, "n": 50, "sampler": "ddpm"}),
        lambda: services.budget(ME, {"lab": lab}),
        lambda: services.excess(ME, {"lab": lab}),
    ):
        with pytest.raises(CapabilityError):
            ask()


def test_autoguidance_needs_a_weaker_model(services, moons):
    lab = services._labs.find(ME, moons)
    asked = {"classes": 0, "weight": 2.0, "kind": "auto"}
    bind(lab, field_of(FieldAsked(lab=moons, field="exact", **asked), lab))
    services.sample(ME, {"lab": moons, "n": 50, **asked})
    young = services.begin(ME, {"target": {"preset": "moons"}, "recipe": SMALL})["lab"]
    trained(services, young, 50)
    with pytest.raises(CapabilityError, match="step 300"):
        services.sample(ME, {"lab": young, "n": 50, **asked})


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"sampler": "rk4"}, "give 'ddpm', "),
        ({"steps": 1}, "2 to 1000 steps"),
        ({"n": 10**6}, "from 10 to 5,000"),
        ({"n": "many"}, "n is many: give a whole number"),
        ({"classes": 5}, "classes is between"),
        ({"weight": float("nan")}, "weight is nan: give a number"),
        ({"interval": True, "low": 2, "high": 1}, "begins below its end"),
        ({"field": "truth"}, "give 'learned', "),
    ],
)
def test_a_wrong_question_gets_a_sentence(services, moons, asked, says):
    with pytest.raises(InvalidParams, match=says):
        services.sample(ME, {"lab": moons, **asked})


def test_what_the_page_says_of_points_fields_and_losses_is_measured_here(services, moons):
    shown = services.sample(ME, {"lab": moons, "n": 200, "field": "exact", "steps": 8})
    points = np.frombuffer(base64.b64decode(shown["final"]), "<f4").reshape(-1, 2).astype(float)
    assert shown["middle"] == pytest.approx(points.mean(0), abs=1e-5)
    assert shown["spread"] == pytest.approx(np.sqrt(points.var(0).sum()), rel=1e-5)
    maps = services.field(ME, {"lab": moons, "t": 400})
    for which, text in maps["maps"].items():
        vectors = np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, 2).astype(float)
        assert maps["lengths"][which] == pytest.approx(np.sqrt((vectors**2).sum(1).mean()), rel=1e-5)
    apart = np.frombuffer(base64.b64decode(maps["apart"]), "<f4")
    assert maps["largest"] == pytest.approx(apart.max(), rel=1e-5)
    excess = services.excess(ME, {"lab": moons})
    ratio = excess["null"]["relative"] / excess["class"]["relative"]
    assert excess["times"] == pytest.approx(ratio, rel=1e-4)


def test_a_loss_is_told_as_the_mean_of_the_last_steps(services):
    lab = services.begin(ME, {"target": {"preset": "moons"}, "recipe": {**SMALL, "steps": 600}})["lab"]
    assert services.watch(ME, {"lab": lab})["recent"] is None
    seen = trained(services, lab, 600)
    losses = services._labs.find(ME, lab).trainer.losses
    assert seen["recent"] == pytest.approx(sum(losses[-500:]) / 500, rel=1e-5)


def test_turns_are_given_back(services):
    turns = Turns()
    lab = lab_sessions.fresh(ME, preset("moons"), states.Recipe(**SMALL))
    lab.train(50, turns)
    lab._thread.join(20)
    assert turns.ahead(turns.join()) == 0


def test_a_sampling_above_the_bound_is_refused_unless_asked_for_all_the_same(services, moons, monkeypatch):
    asked = {"lab": moons, "field": "empirical", "points": 2000, "n": 2000, "steps": 400}
    monkeypatch.setenv("DIFFATLAS_MOST_SECONDS", "0.05")
    with pytest.raises(OverBound, match="choose fewer points"):
        services.sample(ME, asked)
    small = {"lab": moons, "field": "exact", "n": 20, "steps": 4}
    assert services.sample(ME, {**asked, **small, "steps": 60, "anyway": True})["n"] == 20
    with pytest.raises(OverBound, match="choose fewer steps"):
        services.train(ME, {"lab": moons, "steps": 100_000})
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    with pytest.raises(OverBound):
        services.sample(ME, {**asked, "anyway": True})


def test_a_sampling_is_refused_for_its_memory(services, moons, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_MOST_MEMORY", "1e6")
    with pytest.raises(OverBound, match="MB"):
        services.sample(ME, {"lab": moons, "field": "empirical", "points": 500, "n": 1000, "steps": 4})


def test_a_sampling_ends_when_it_is_stopped_replaced_or_left(services, moons, monkeypatch):
    asked = {"lab": moons, "field": "exact", "n": 1000, "steps": 1000, "sampler": "midpoint", "anyway": True}
    ways = (
        lambda: services.stop(ME, {"lab": moons}),
        lambda: services.sample(ME, {"lab": moons, "field": "exact", "n": 20, "steps": 2}),
        lambda: monkeypatch.setattr(lab_sessions, "ABANDONED", -1.0),
    )
    for end in ways:
        said: list[str] = []

        def run(said: list[str] = said) -> None:
            with pytest.raises(InvalidParams) as raised:
                services.sample(ME, asked)
            said.append(raised.value.message)

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(0.5)
        end()
        thread.join(5)
        assert not thread.is_alive()
        assert said == ["This sampling was stopped."]


def test_a_sampling_that_outruns_its_estimate_is_ended_on_a_shared_server(services, moons, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    monkeypatch.setattr(bounds, "FAR", 0.0)
    monkeypatch.setattr(bounds, "LATE", -100.0)
    with pytest.raises(Overrun, match="far longer than was expected"):
        services.sample(ME, {"lab": moons, "field": "exact", "n": 1000, "steps": 100})


def test_what_a_sampling_is_expected_to_take_is_what_it_takes(services, moons):
    lab = services._labs.find(ME, moons)
    what = field_of(FieldAsked(lab=moons, field="empirical", points=1000, classes="none"), lab)
    plan = Plan("euler", 20)
    noise = np.random.default_rng(0).standard_normal((3000, 2))
    found = sampling_cost(bind(lab, what)(np.zeros(100, int)), plan, noise[:100], 3000, 1000)
    tracemalloc.start()
    bind(lab, what)(np.zeros(3000, int))(noise, 1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.5 < found.memory / peak < 2


@pytest.mark.parametrize(
    ("name", "asked"), [("budget", {"n": 2000, "steps": 1000, "sampler": "heun"}), ("model_density", {})]
)
def test_a_study_of_the_lab_ends_inside_what_it_computes(services, moons, name, asked):
    started = getattr(services, name)(ME, {"lab": moons, **asked})
    services.stop_job(ME, started)
    began = time.monotonic()
    state = finished(services, started)
    assert time.monotonic() - began < 5
    assert state["error"]["message"] == "This was stopped."


@pytest.mark.parametrize("across", [1, 2])
def test_the_figure_of_the_loss_is_that_of_what_was_measured(services, across):
    lab = services.begin(ME, {"target": {"preset": "moons"}, "recipe": SMALL})["lab"]
    asked = {"lab": lab, "dark": True, "across": across}
    assert "Not trained" in json.dumps(services.loss_figure(ME, asked))
    seen = trained(services, lab)
    drawn = services.loss_figure(ME, asked)
    traces = {trace["meta"]["measure"]: trace for trace in drawn["data"]}
    assert traces["floor"]["y"][0] == pytest.approx(seen["floor"], rel=1e-5)
    # The losses that are watched are means of ten steps.
    losses = decoded(traces["loss"]["y"])
    np.testing.assert_allclose(losses.reshape(-1, 10).mean(1), seen["losses"], rtol=1e-5)
    excess = services.excess(ME, {"lab": lab})
    told = traces["Excess, with class"]["y"]
    np.testing.assert_allclose(
        [v for v in told if v], [v for v in excess["class"]["excess"] if v > 0], rtol=1e-5
    )
    meta = drawn["layouts"][str(across)]["meta"]
    assert f"{100 * excess['class']['relative']:.3g} %" in meta["says"]
    assert drawn["layouts"][str(across)]["template"]["layout"]["paper_bgcolor"] == NIGHT.paper


def decoded(values: Any) -> np.ndarray:
    """Numbers of a figure's JSON, which Plotly may write as base64."""
    if isinstance(values, list):
        return np.array(values, float)
    return np.frombuffer(base64.b64decode(values["bdata"]), np.dtype(values["dtype"]))
