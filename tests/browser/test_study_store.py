"""What the pages of studies know (their store): what they ask, and what late or lost answers do to it.

The test plays the server: a question stays open until the test answers it.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.played_server import page, run

__all__ = ["page", "run"]

pytestmark = pytest.mark.browser

STUDY = "study/study_store.js"


def study(name: str, status: str = "complete", runs: tuple[str | None, ...] = ("r1",)) -> dict[str, Any]:
    """A study's value with a cell for each of ``runs``, complete where it has one."""
    cells = [
        {"key": f"c{k}", "lane": "a", "row": 0, "column": k, "label": f"g {k}"} for k in range(len(runs))
    ]
    ran = {
        cell["key"]: {"status": "complete" if run else "waiting", "run": run, "cached": False}
        for cell, run in zip(cells, runs, strict=True)
    }
    return {
        "status": status,
        "request": name,
        "study": {
            "id": name,
            "operation": "sweep",
            "title": name,
            "cells": cells,
            "lanes": [{"key": "a", "name": "shapes"}],
            "rows": [{"row": 0, "seed": 1}],
            "columns": [{"column": k} for k in range(len(runs))],
        },
        "cells": ran,
        "lanes": {},
    }


IDLE = {"status": "idle", "request": None, "study": None, "cells": {}, "lanes": {}}
BEGIN = """
const views = ["grid", "film", "drift"];
const store = m.createStudyStore({ server, operation: "sweep", views, onChange: () => {} });
store.receive(idle);
const bring = async (id) => {
  const opened = store.open(id);
  await settle();
  open("study")[0].answer(studies[id]);
  await opened;
  await settle();
};
const times = (asked) => calls.filter(({ name }) => name === asked).length;
"""


def test_of_two_studies_the_one_asked_for_last_is_shown(run: Any) -> None:
    seen = run(
        STUDY,
        BEGIN
        + """
        const answers = [store.open("one"), store.open("two")];
        const [one, two] = open("study");
        two.answer(studies.two);
        await settle();
        one.answer(studies.one);
        return [await Promise.all(answers), store.state().study.id, store.state().opening];
        """,
        idle=IDLE,
        studies={"one": study("one"), "two": study("two")},
    )
    assert seen == [[False, True], "two", None]


def test_a_study_that_is_gone_leaves_the_other_in_sight(run: Any) -> None:
    seen = run(
        STUDY,
        BEGIN
        + """
        await bring("one");
        const opened = store.open("two");
        open("study")[0].refuse("This study is no longer there.");
        const came = await opened;
        const { study, problem, opening } = store.state();
        return [came, study.id, problem, opening];
        """,
        idle=IDLE,
        studies={"one": study("one")},
    )
    assert seen == [False, "one", "This study is no longer there.", None]


def test_three_runs_are_fetched_at_a_time_and_one_that_fails_is_not_asked_again(run: Any) -> None:
    seen = run(
        STUDY,
        BEGIN
        + """
        store.show("film");
        await bring("one");
        store.state();
        const at_once = open("run_data").map(({ asked }) => asked.id);
        open("run_data")[0].refuse("It cannot be read.");
        await settle();
        const then = open("run_data").map(({ asked }) => asked.id);
        while (open("run_data").length) {
          for (const call of open("run_data")) call.answer({ steps: [], metrics: [], id: call.asked.id });
          await settle();
          store.state();
        }
        const { loading, unread, layers } = store.state();
        return { at_once, then, loading, unread, layers: layers.map(({ id }) => id), asked: times("run_data") };
        """,
        idle=IDLE,
        studies={"one": study("one", runs=("r1", "r2", "r3", "r4", "r5"))},
    )
    assert seen == {
        "at_once": ["r1", "r2", "r3"],
        "then": ["r2", "r3", "r4"],
        "loading": 0,
        "unread": "It cannot be read.",
        "layers": ["r2", "r3", "r4", "r5"],
        "asked": 5,
    }


def test_cells_that_are_one_run_are_one_path_with_both_names(run: Any) -> None:
    seen = run(
        STUDY,
        BEGIN
        + """
        store.show("film");
        await bring("one");
        store.state();
        open("run_data")[0].answer({ steps: [], metrics: [] });
        await settle();
        return [store.state().layers.map(({ id, name }) => [id, name]), times("run_data")];
        """,
        idle=IDLE,
        studies={"one": study("one", runs=("r1", "r1"))},
    )
    assert seen == [[["r1", "g 0, g 1"]], 1]


def test_what_was_chosen_in_a_study_is_not_taken_to_another(run: Any) -> None:
    seen = run(
        STUDY,
        BEGIN
        + """
        const chosen = () => {
          const { lane, row, cell, selected, fit, pathLane } = store.state();
          return [lane, row, cell, selected, fit, pathLane];
        };
        await bring("one");
        store.inLane(null);
        store.inRow(0);
        store.choose("c0");
        const before = chosen();
        await bring("two");
        return [before, chosen()];
        """,
        idle=IDLE,
        studies={"one": study("one"), "two": study("two")},
    )
    assert seen == [[None, 0, "c0", None, "all", None], [None, None, None, None, "all", "a"]]


def test_a_request_that_is_refused_takes_nothing_out_of_sight(run: Any) -> None:
    seen = run(
        STUDY,
        BEGIN
        + """
        store.receive(studies.one);
        store.state();
        store.receive({ ...idle, status: "failed", request: "r2", error: { message: "Values: give numbers." } });
        const refused = store.state();
        store.receive(studies.two);
        const next = store.state();
        return [[refused.study.id, refused.problem], [next.study.id, next.problem]];
        """,
        idle=IDLE,
        studies={"one": study("one"), "two": study("two")},
    )
    assert seen == [["one", "Values: give numbers."], ["two", None]]


def test_a_study_is_measured_once_for_each_set_of_cells_and_keeps_what_it_had(run: Any) -> None:
    seen = run(
        STUDY,
        BEGIN
        + """
        const measures = () => {
          const { measures, unmeasured } = store.state();
          return [measures?.mark ?? null, unmeasured];
        };
        await bring("one");
        const steps = [measures()];
        measures();
        open("measures")[0].answer({ mark: "first" });
        await settle();
        steps.push(measures());
        // Another cell is complete, and cannot be measured.
        await bring("two");
        await bring("one");
        const { cells } = studies.one;
        studies.more = { ...studies.one, cells: { ...cells, c1: { ...cells.c0, run: "r2" } } };
        store.receive(studies.more);
        store.back();
        steps.push(measures());
        open("measures").at(-1).refuse("A run of it cannot be read.");
        await settle();
        steps.push(measures());
        return [steps, calls.filter(({ name, asked }) => name === "measures" && asked.id === "one").length];
        """,
        idle=IDLE,
        studies={"one": study("one", runs=("r1", None)), "two": study("two", runs=(None,))},
    )
    steps, asked = seen
    assert steps[:3] == [[None, None], ["first", None], ["first", None]]
    assert steps[3] == ["first", "A run of it cannot be read."]
    assert asked == 2


def test_a_study_that_runs_elsewhere_is_followed_to_its_end(run: Any) -> None:
    seen = run(
        STUDY,
        BEGIN
        + """
        await bring("one");
        const stands = [store.state().value.status];
        pass();
        open("study")[0].lose();
        await settle();
        stands.push(store.state().value.status);
        pass();
        open("study")[0].answer({ ...studies.one, status: "complete" });
        await settle();
        stands.push(store.state().value.status);
        pass();
        return [stands, open("study").length];
        """,
        idle=IDLE,
        studies={"one": study("one", "running")},
    )
    assert seen == [["running", "running", "complete"], 0]
