"""What tools run: a run, a sweep, a neighbourhood, a bench, to the end, in the visitors' turns and within the bounds.

Each is a generator of how far it has come, and returns what came of it as plain JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from diffatlas.bench.bench import HAND, Bench
from diffatlas.bench.counted import Counted
from diffatlas.bench.keep import capture_of
from diffatlas.bench.kept import Benches
from diffatlas.bench.plan import plan_bench
from diffatlas.bench.statistics import Rate
from diffatlas.capture.spec import Capture
from diffatlas.errors import BackendFailure, DiffAtlasError, UnknownModel
from diffatlas.formats.wire import rounded
from diffatlas.library import Library
from diffatlas.library.study import Study
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.registry import find_model, list_models
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.ui.bench_numbers import bench_judges, counted_lanes, results
from diffatlas.ui.bench_packs import pack_of
from diffatlas.ui.bench_runner import BenchRunner
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.bench_form import to_scorers
from diffatlas.ui.components.study_form import to_lanes
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.live_benches import LiveBenches
from diffatlas.ui.live_runs import Asked, LiveRuns, Shelf
from diffatlas.ui.programs.callers import Caller
from diffatlas.ui.programs.kept import Kept
from diffatlas.ui.study_runner import StudyRunner
from diffatlas.ui.study_services import Running
from diffatlas.ui.turns import Turns

#: What comes to its end is known by these.
DONE = ("complete", "stopped", "failed")


@dataclass(frozen=True)
class Progress:
    """How far a call has come: ``done`` of ``total``, None where that is not known yet, and what is going on."""

    done: float
    total: float | None
    message: str


Going = Generator[Progress, None, dict[str, Any]]


class Runs:
    """Runs what tools ask for."""

    def __init__(
        self,
        libraries: Libraries,
        turns: Turns,
        running: Running,
        live: LiveBenches,
        kept: Kept,
        names: dict[str, str],
    ) -> None:
        self.kept = kept
        self._libraries = libraries
        shelf = Shelf(libraries.of, room=libraries.check_room)
        self._live = LiveRuns(shared_local_backend(), names, turns, shelf)
        self._studies = StudyRunner(libraries, turns, running)
        self._benches = BenchRunner(libraries, turns, running, live)

    def stop(self, caller: Caller) -> None:
        """Stop what a call runs; no harm where nothing does."""
        for sessions in (self._live.sessions, self._studies.sessions, self._benches.sessions):
            sessions.stop(caller.session)

    def trace(self, caller: Caller, attention: str = "off", again: bool = False, **request: Any) -> Going:
        """Run a prompt once."""

        def asked() -> Asked:
            capture = Capture(previews="every", attention=attention)
            return Asked(_params(request), capture, 1, "keep", not again)

        who = _request_of(caller)
        prompt, model = request.get("prompt", ""), request.get("model", "")
        last: dict[str, Any] = {}
        with closing(self._live.stream(prompt, model, asked, who)) as values:
            for last in values:
                total = last["run"] and last["run"]["total_steps"]
                yield Progress(len(last["steps"]), total or None, _words(last))
        _raise_failure(last)
        if not last["run"]:
            raise BackendFailure("The run was stopped before it began.")
        return {
            **self.kept.run(caller.visitor, caller.root, last["run"]["id"]),
            "cached": bool(last.get("cached")),
        }

    def sweep(
        self,
        caller: Caller,
        field: str,
        values: str | None = None,
        seeds: int = 1,
        lanes: list[str] | None = None,
        again: bool = False,
        **request: Any,
    ) -> Going:
        """Run a prompt over a list of values."""

        def plan() -> Study:
            return plan_sweep(
                _params(request), field, values or None, seeds=seeds, lanes=to_lanes(lanes or [])
            )

        return (yield from self._study(caller, plan, again))

    def neighbourhood(
        self,
        caller: Caller,
        mode: str = "perturb",
        k: int = 8,
        radius: float = 0.4,
        to_seed: int | None = None,
        stops: int = 8,
        again: bool = False,
        **request: Any,
    ) -> Going:
        """Run a prompt from noise around that of one seed."""

        def plan() -> Study:
            return plan_neighbourhood(
                _params(request), mode, k=k, radius=radius, to_seed=to_seed, stops=stops
            )

        return (yield from self._study(caller, plan, again))

    def bench(
        self,
        caller: Caller,
        pack: str = "shapes",
        each: int | None = 1,
        seeds: int = 2,
        scorers: list[str] | None = None,
        lanes: list[str] | None = None,
        again: bool = False,
        **request: Any,
    ) -> Going:
        """Run the prompts of a pack, and have the images judged."""

        def plan(library: Library) -> tuple[Bench, Capture]:
            tasks = pack_of(library, pack, each, 0)
            params = _params({**request, "prompt": tasks.tasks[0].prompt})
            names = to_scorers(["shapes"] if scorers is None else scorers)
            bench = plan_bench(tasks, params, seeds=seeds, lanes=to_lanes(lanes or []), scorers=names)
            return bench, capture_of("paths")

        last: dict[str, Any] = {}
        running = self._benches.run_bench(caller.visitor, caller.session, plan, reuse=not again)
        with closing(running) as frames:
            for last in frames:
                counts = last["lanes"].values()
                done = sum(lane["complete"] + lane["failed"] for lane in counts)
                yield Progress(done, sum(lane["all"] for lane in counts) or None, _words(last))
        _raise_failure(last)
        return self._judged(caller, last["bench"]["id"])

    def _study(self, caller: Caller, plan: Callable[[], Study], again: bool) -> Going:
        def asked() -> tuple[Study, Capture]:
            return plan(), Capture(previews="every")

        last: dict[str, Any] = {}
        running = self._studies.run(caller.visitor, caller.session, asked, reuse=not again)
        with closing(running) as values:
            for last in values:
                cells = last["cells"].values()
                done = sum(cell["status"] in DONE for cell in cells)
                yield Progress(done, len(cells) or None, _words(last))
        _raise_failure(last)
        return _study_told(caller, last)

    def _judged(self, caller: Caller, bench_id: str) -> dict[str, Any]:
        """Return a bench in numbers."""
        bench = Benches(self._libraries.of(caller.visitor).folder).open(bench_id)
        names = {lane.key: lane.name for lane in bench.study.lanes}
        counted = {
            scorer: counted_lanes(bench, scorer, False) for scorer in bench_judges(bench) if scorer != HAND
        }
        return {
            "bench": bench.id,
            "status": bench.study.status,
            "title": bench.study.title,
            "results": [
                {"lane": names[key], "scorer": scorer, **_counted(found)}
                for scorer, lanes in counted.items()
                for key, found in lanes.items()
            ],
            "between_lanes": results(bench, False, names)["between"],
            "cells": [
                {
                    "prompt": cell.params.prompt,
                    "seed": cell.params.seed,
                    "lane": names[cell.lane],
                    "status": cell.status,
                    "run": cell.run_id,
                }
                for cell in bench.study.cells
            ],
            "app": f"{caller.root}/?{urlencode({'page': 'bench', 'bench': bench.id})}",
        }


def _study_told(caller: Caller, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what came of a study: its cells in their order, each with its run and image."""
    study = value["study"]
    names = {lane["key"]: lane["name"] for lane in study["lanes"]}
    cells = []
    for cell in study["cells"]:
        came = value["cells"][cell["key"]]
        cells.append(
            {
                "column": cell["label"],
                "seed": cell["params"]["seed"],
                "lane": names[cell["lane"]],
                "status": came["status"],
                "run": came["run"],
                "cached": came["cached"],
                "image": came["image"] and f"{caller.root}/{came['image']}",
                "error": came["error"] and came["error"]["message"],
            }
        )
    query = {"page": study["operation"], "study": study["id"]}
    return {
        "study": study["id"],
        "operation": study["operation"],
        "title": study["title"],
        "status": value["status"],
        "cells": cells,
        "notes": value["notes"],
        "app": f"{caller.root}/?{urlencode(query)}",
    }


def _counted(found: Counted) -> dict[str, Any]:
    """Return the rates of a lane by one scorer: of all of it, and by category."""
    lines = [{"of": line.tag, **_rate(line.rate), "not_judged": line.unjudged} for line in found.lines]
    return {**_rate(found.overall), "by_category": lines}


def _rate(rate: Rate | None) -> dict[str, Any]:
    """Return a share of correct images with its 95% interval; null where no image was judged."""
    if rate is None:
        return {"correct": None, "interval": None, "images": 0, "prompts": 0}
    low, high = rounded(rate.low), rounded(rate.high)
    return {
        "correct": rounded(rate.value),
        "interval": [low, high],
        "images": rate.images,
        "prompts": rate.prompts,
    }


def _params(request: Mapping[str, Any]) -> GenerationParams:
    """Return what a tool asks of a run; what it does not name is the model's own. Raises `InvalidParams`."""
    model = request.get("model") or list_models("local")[0].id
    try:
        entry = find_model(model)
        own = {"steps": entry.steps, "guidance": entry.guidance}
    except UnknownModel:
        own = {}
    given = {name: value for name, value in request.items() if value is not None}
    return forms.to_params({**{name: value for name, value in own.items() if value}, **given, "model": model})


def _request_of(caller: Caller) -> Any:
    """Return what `LiveRuns` reads of a request."""
    return SimpleNamespace(session_hash=caller.session, cookies=caller.cookies, request=None)


def _words(value: Mapping[str, Any]) -> str:
    """Return what is going on, in words."""
    if value["status"] == "running" and value.get("steps"):
        return f"step {len(value['steps'])}"
    if value["status"] == "waiting":
        wait = f", {value['wait']}" if value.get("wait") else ""
        return f"{value['ahead']} ahead{wait}"
    return value.get("message") or value["status"]


def _raise_failure(value: Mapping[str, Any]) -> None:
    """Raise what a value says went wrong before there was anything to tell of."""
    error = value.get("error")
    if not value or (value["status"] == "failed" and error):
        raise (
            DiffAtlasError(error["message"], field=error.get("field"))
            if error
            else BackendFailure("The app could not run this; its log says why.")
        )
