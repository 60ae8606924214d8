"""What the pages of one run and the lab know (their stores): what they ask, and what late or lost answers do to them.

The test plays the server: a question stays open until the test answers it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffatlas.formats.wire import floats, shorts
from tests.browser.played_server import page, run

__all__ = ["page", "run"]

pytestmark = pytest.mark.browser

ATTENTION = "attention/attention_store.js"
LOOKING = """
const store = m.createAttentionStore({ server, onChange: () => {} });
store.receive({ status: "idle", steps: [], run: null, request: null });
"""


def token(index: int, text: str, **more: Any) -> dict[str, Any]:
    return {"index": index, "text": text, "word": index, "word_text": text, "special": False, **more}


def described(*words: str, layers: tuple[str, ...] = ("down",), heads: bool = False) -> dict[str, Any]:
    return {
        "tokens": [token(k, word) for k, word in enumerate(words)],
        "steps": [{"index": 0}, {"index": 3}],
        "layers": [{"name": name, "block": f"{name} block"} for name in layers],
        "parts": {},
        "per_head": heads,
        "halves": False,
        "activation": None,
    }


def test_a_look_at_a_run_is_asked_for_once(run: Any) -> None:
    found = run(
        ATTENTION,
        """
        let changes = 0;
        const store = m.createAttentionStore({ server, onChange: () => { changes += 1; } });
        store.receive({ status: "idle", steps: [], run: null, request: null });
        store.refresh();
        open("attention_runs")[0].answer({ runs: [{ id: "b" }, { id: "a" }] });
        await settle();
        const before = [store.state(), store.state(), store.state()].map(({ data }) => data);
        open("attention")[0].answer(told);
        await settle();
        const { id, words, at, selected } = store.state();
        const asked = calls.map(({ name, asked }) => [name, asked.id ?? null]);
        return { before, id, words: words.map(({ text }) => text), at, selected, asked };
        """,
        told=described("a", "red", "circle"),
    )
    assert found["before"] == [None] * 3
    assert found["asked"] == [["attention_runs", None], ["attention", "b"]]
    # The last step, and the first word that is more than an article.
    assert (found["id"], found["at"], found["selected"]) == ("b", 1, [1])
    assert found["words"] == ["a", "red", "circle"]


def test_the_chosen_word_is_chosen_in_another_run_that_has_it(run: Any) -> None:
    chosen = run(
        ATTENTION,
        LOOKING
        + """
        const seen = [];
        for (const [id, answer] of Object.entries(runs)) {
          store.open(id);
          store.state();
          open("attention")[0].answer(answer);
          await settle();
          store.state();
          if (id === "one") store.choose([2]);
          seen.push(store.state().selected);
        }
        return seen;
        """,
        runs={
            "one": described("red", "a", "Circle"),
            "two": described("circle", "blue"),
            "three": described("blue", "star"),
            "four": described("a", "circle"),
        },
    )
    # In the third it is not there; the fourth has it again.
    assert chosen == [[2], [0], [0], [1]]


def test_layers_that_another_run_has_not_are_let_go(run: Any) -> None:
    seen = run(
        ATTENTION,
        LOOKING
        + """
        const look = async (id, changes = {}) => {
          if (id) store.open(id);
          store.set(changes);
          store.state();
          for (const call of open("attention")) call.answer(runs[call.asked.id]);
          await settle();
          store.state();
          store.state();
          const { layers, head } = store.state();
          return [layers, head];
        };
        const seen = [await look("one"), await look(null, { layers: ["mid"] })];
        return [...seen, await look(null, { head: 3 }), await look("two")];
        """,
        runs={
            "one": described("red", layers=("down", "mid"), heads=True),
            "two": described("red", layers=("up",)),
        },
    )
    assert seen == [[None, None], [["mid"], None], [["mid"], 3], [None, None]]


def test_what_is_drawn_stays_until_another_look_is_there(run: Any) -> None:
    seen = run(
        ATTENTION,
        LOOKING
        + """
        store.open("one");
        store.state();
        open("attention")[0].answer({ ...told, mark: "all layers" });
        await settle();
        store.state();
        store.set({ layers: ["down"] });
        const meanwhile = store.state().data.mark;
        open("attention")[0].answer({ ...told, mark: "one layer" });
        await settle();
        const after = store.state().data.mark;
        store.open("two");
        return [meanwhile, after, store.state().data];
        """,
        told=described("red"),
    )
    assert seen == ["all layers", "one layer", None]


def test_a_question_that_failed_is_said_and_asked_again_later(run: Any) -> None:
    seen = run(
        ATTENTION,
        LOOKING
        + """
        store.open("one");
        store.state();
        open("attention")[0].refuse("This run is gone.");
        await settle();
        const said = [store.state().problem, store.state().problem];
        const times = calls.length;
        pass();
        store.state();
        open("attention")[0].answer(told);
        await settle();
        const asked = calls.filter(({ name }) => name === "attention").length;
        return { said, times, problem: store.state().problem, asked };
        """,
        told=described("red"),
    )
    assert seen == {"said": ["This run is gone."] * 2, "times": 1, "problem": None, "asked": 2}


def test_a_run_that_ends_is_opened_once(run: Any) -> None:
    seen = run(
        ATTENTION,
        """
        const store = m.createAttentionStore({ server, onChange: () => {} });
        const value = (status) => ({ status, steps: [], run: { id: "new" }, request: "r1" });
        store.receive(value("running"));
        store.open("old");
        const ids = [store.state().id];
        store.receive(value("complete"));
        ids.push(store.state().id);
        store.open("old");
        store.receive(value("complete"));
        ids.push(store.state().id);
        return ids;
        """,
    )
    assert seen == ["old", "new", "old"]


def test_maps_are_cut_out_of_an_answer_in_its_order(run: Any) -> None:
    maps = np.random.default_rng(3).normal(size=(4, 2, 3)).astype("float32")
    found = run(
        ATTENTION,
        """
        const read = m.readMaps({ rows: 2, columns: 3, values });
        const [step, all] = ["step", "word"].map((scale) => m.limits(read, 2, scale));
        return { ...read, maps: read.maps.map((map) => [...map]), step, all };
        """,
        values=floats(maps),
    )
    np.testing.assert_array_equal(np.float32(found["maps"]), maps.reshape(4, 6))
    assert np.float32([found["low"], found["high"]]).tolist() == [maps.min(), maps.max()]
    assert np.float32([found["step"]["low"], found["step"]["high"]]).tolist() == [
        maps[2].min(),
        maps[2].max(),
    ]
    assert found["all"] == {"low": found["low"], "high": found["high"]}


TRAJECTORY = "trajectory/store.js"


def layer(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "label": None,
        "locked": False,
        "visible": True,
        "colour": None,
        "seed": 1,
        "prompt": name,
        "total_steps": 2,
        "latent_shape": [4, 8, 8],
        "status": "complete",
        **more,
    }


READY = """
const store = m.createStore({ server, onChange: () => {}, start });
const nothing = { request: null, run: null, layers: null, steps: [], metrics: [], batch: null };
store.receive({ ...nothing, status: "idle", prompt: "" });
const steps = [{ metrics: [] }, { metrics: [] }];
const asRun = (id) => ({ id, prompt: id, seed: 1, total_steps: 2, latent_shape: [4, 8, 8] });
const data = (id) => ({ run: asRun(id), status: "complete", steps, metrics: [] });
"""


def test_a_layer_is_fetched_once_and_again_when_it_is_wanted_after_a_failure(run: Any) -> None:
    seen = run(
        TRAJECTORY,
        READY
        + """
        store.refresh();
        open("layers")[0].answer({ layers });
        await settle();
        for (let k = 0; k < 3; k++) store.state();
        const first = open("run_data").map(({ asked }) => asked.id);
        open("run_data")[1].refuse("It cannot be read.");
        open("run_data")[0].answer(data("a"));
        await settle();
        const unread = store.state().rows.map(({ id, unread }) => [id, unread]);
        store.activate("b");
        const again = open("run_data").map(({ asked }) => asked.id);
        for (const call of open("run_data")) call.answer(data(call.asked.id));
        await settle();
        return { first, unread, again, here: store.state().layers.map(({ id }) => id) };
        """,
        start=None,
        layers=[layer("a"), layer("b"), layer("c", visible=False)],
    )
    assert seen["first"] == ["a", "b"]
    assert seen["unread"] == [["a", None], ["b", "It cannot be read."], ["c", None]]
    assert seen["again"] == ["b"]
    assert seen["here"] == ["a", "b"]


def test_an_example_that_comes_after_a_run_has_begun_is_not_shown(run: Any) -> None:
    seen = run(
        TRAJECTORY,
        READY
        + """
        store.refresh();
        open("layers")[0].answer({ layers: [] });
        await settle();
        const [asked] = open("run_data");
        store.receive({ ...data("live"), status: "running", request: "r1", layers: null, batch: null, prompt: "live" });
        asked.answer(data("example"));
        await settle();
        const { rows, example } = store.state();
        return [asked.asked.id, rows.map(({ id }) => id), example];
        """,
        start={"id": "example"},
    )
    assert seen == ["example", ["live"], False]


def test_a_change_of_layers_shows_at_once_and_gives_way_to_the_newest_answer(run: Any) -> None:
    seen = run(
        TRAJECTORY,
        READY
        + """
        const names = () => store.state().rows.map(({ own }) => own);
        store.refresh();
        open("layers")[0].answer({ layers });
        await settle();
        store.edit({ action: "rename", id: "a", name: "first" });
        const seen = [names()];
        store.edit({ action: "rename", id: "a", name: "second" });
        seen.push(names());
        const [first, second] = open("edit");
        second.answer({ layers: [{ ...layers[0], name: "second, kept" }] });
        await settle();
        first.answer({ layers: [{ ...layers[0], name: "first, kept" }] });
        await settle();
        seen.push(names());
        return seen;
        """,
        start=None,
        layers=[layer("a")],
    )
    assert seen == [["first"], ["second"], ["second, kept"]]


def test_a_step_that_a_run_has_not_cannot_stay_chosen(run: Any) -> None:
    seen = run(
        TRAJECTORY,
        READY
        + """
        store.refresh();
        open("layers")[0].answer({ layers });
        await settle();
        open("run_data")[0].answer(data("a"));
        await settle();
        const chosen = [];
        for (const index of [1, 2, 0]) { store.select("a", index); chosen.push(store.state().selected); }
        store.select("gone", 0);
        chosen.push(store.state().selected);
        return chosen;
        """,
        start=None,
        layers=[layer("a")],
    )
    assert seen == [{"id": "a", "index": 1}, None, {"id": "a", "index": 0}, None]


LAB = "lab/lab_store.js"


def lab(name: str, **more: Any) -> dict[str, Any]:
    return {
        "lab": name,
        "target": {"points": shorts(np.zeros((2, 2)), 8), "labels": [0, 0]},
        "far": 8,
        "sigmas": floats(np.float32([1.0, 0.0])),
        "step": 0,
        "origin": "new",
        "source": {"preset": "moons"},
        "recipe": {"steps": 10},
        "kept": None,
        "unkept": "",
        "aside": None,
        **more,
    }


LAB_BEGIN = """
const store = m.createLabStore({ server, onChange: () => {} });
const begun = store.begin({ target: { preset: "moons" } });
open("lab_begin")[0].answer(lab);
await begun;
"""


def test_a_lab_that_the_server_has_dropped_is_brought_back_once(run: Any) -> None:
    seen = run(
        LAB,
        LAB_BEGIN
        + """
        const both = [store.call("lab_density", { cells: 4 }), store.call("lab_paths", { start: [] })];
        for (const call of calls.filter(({ done }) => !done)) call.refuse("This lab is no longer there.", "lab");
        await settle();
        const revived = open("lab_begin").length;
        open("lab_begin")[0].answer({ ...lab, lab: "new" });
        await settle();
        const again = calls.filter(({ done }) => !done);
        const labs = again.map(({ name, asked }) => [name, asked.lab]);
        again.forEach((call) => call.answer({ ok: call.name }));
        return { revived, labs, answers: await Promise.all(both) };
        """,
        lab=lab("old"),
    )
    assert seen["revived"] == 1
    assert seen["labs"] == [["lab_density", "new"], ["lab_paths", "new"]]
    assert seen["answers"] == [{"ok": "lab_density"}, {"ok": "lab_paths"}]


def test_a_network_that_was_trained_and_not_kept_is_not_replaced_by_an_untrained_one(run: Any) -> None:
    seen = run(
        LAB,
        LAB_BEGIN
        + """
        store.set({ step: 40 });
        const asked = store.call("lab_density", {}).catch(({ message }) => message);
        open("lab_density")[0].refuse("This lab is no longer there.", "lab");
        return [await asked, open("lab_begin").length];
        """,
        lab=lab("old"),
    )
    assert seen == ["This lab is no longer there.", 0]


def test_of_two_samplings_the_newest_is_shown(run: Any) -> None:
    seen = run(
        LAB,
        LAB_BEGIN
        + """
        const both = [store.sample({ steps: 1 }), store.sample({ steps: 2 })];
        const [one, two] = open("lab_sample");
        two.answer({ frames: points, mesh: null, final });
        await settle();
        one.refuse("It broke.");
        const results = await Promise.all(both);
        const { frames, problem, busy } = store.get();
        return [results.map((each) => each?.asked.steps ?? null), frames.asked.steps, problem, busy];
        """,
        lab=lab("a"),
        points=shorts(np.zeros((1, 2)), 8),
        final=floats(np.zeros(2, "float32")),
    )
    assert seen == [[None, 2], 2, None, ""]


def test_losses_are_placed_at_their_steps_and_none_twice_after_a_lost_answer(run: Any) -> None:
    seen = run(
        LAB,
        LAB_BEGIN
        + """
        const unknown = { recent: null, floor: null, kept: null, samples: null, problem: null };
        const still = { ...unknown, step: 0, rate: 0, ahead: 0, wait: "", unkept: "", first: 100, block: 5 };
        const told = (status, losses, since) => (call) => call.answer({ ...still, status, losses, since });
        const lost = (call) => call.lose();
        const trained = store.train(50);
        open("lab_train")[0].answer({});
        const asked = [];
        const answers = [told("training", [3, 2], 0), lost, told("training", [1], 2), told("done", [], 3)];
        for (const say of answers) {
          await settle();
          const [call] = open("lab_watch");
          asked.push(call.asked.since);
          say(call);
          await settle();
          pass();
        }
        return [await trained, asked, store.get().losses];
        """,
        lab=lab("a"),
    )
    # A loss stands at the end of the block of steps that it is the mean of.
    assert seen == [True, [0, 2, 2, 3], [[105, 3], [110, 2], [115, 1]]]
