"""What the page of the 2D Lab asks: a target, training, samples, fields, files. Studies are in lab_studies.py."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.formats.movie.plane import plane_gif
from diffatlas.formats.wire import floats, rounded, shorts
from diffatlas.lab2d import states
from diffatlas.lab2d.denoisers import exact
from diffatlas.lab2d.fields import SIDE, Error, density, error, field, grid, on_distribution
from diffatlas.lab2d.metrics import cloud
from diffatlas.lab2d.mixtures import draw, draw_labels
from diffatlas.lab2d.samplers import Frames, Plan, final, record, sample, scale
from diffatlas.lab2d.schedules import T
from diffatlas.lab2d.targets import EXTENT, JITTER, PRESETS, drawn, read_table
from diffatlas.lab2d.training import Recipe
from diffatlas.look import LAYERS
from diffatlas.ui.answers import answered
from diffatlas.ui.jobs import Jobs
from diffatlas.ui.lab_asked import (
    Field,
    bind,
    check_paired,
    denoiser_of,
    field_of,
    plan_of,
)
from diffatlas.ui.lab_bounds import check_sampling, check_training, until, within
from diffatlas.ui.lab_kept import LabKept, title
from diffatlas.ui.lab_lines import file_name, lines_of
from diffatlas.ui.lab_sessions import Lab, Labs, Shown, fresh
from diffatlas.ui.lab_studies import LabStudies, measured
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.private_files import private_url
from diffatlas.ui.wire import lab as wire
from diffatlas.ui.wire.kinds import Empty, File, Nothing
from diffatlas.ui.wire.lab import MOST_FRAMES, LabAsked

#: What is sent of points: within so much of the centre, in 65,535 steps.
FAR = 8.0
#: Points of the target that are shown, of the cloud while a network trains, and of a preset's picture.
SHOWN, LIVE, THUMB = 600, 400, 180
#: The sampler of the cloud while a network trains.
LIVE_PLAN = Plan("heun", 12)
MESH = 15
#: Cells a side of the density under the points.
CELLS = 48
MOST_TEXT = 2_000_000


class LabServices:
    """The server's side of the 2D Lab. ``functions`` are what the browser may call.

    libraries: where a visitor's networks and drawings are kept; None to keep nothing.
    """

    def __init__(self, libraries: Libraries | None = None) -> None:
        self._labs = Labs(shared := libraries is not None and libraries.shared)
        self._kept = LabKept(libraries)
        self._studies = LabStudies(self._labs, shared)

    @property
    def jobs(self) -> Jobs:
        """The studies of labs that are under way."""
        return self._studies.jobs

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {
            "lab_presets": self.presets,
            "lab_begin": self.begin,
            "lab_open": self.open,
            "lab_return": self.back,
            "lab_keep": self.keep,
            "lab_train": self.train,
            "lab_stop": self.stop,
            "lab_alive": self.alive,
            "lab_watch": self.watch,
            "lab_sample": self.sample,
            "lab_measure": self.measure,
            "lab_paths": self.paths,
            "lab_density": self.density,
            "lab_field": self.field,
            "lab_save": self.save,
            "lab_gif": self.gif,
            **self._kept.calls,
            **self._studies.calls,
        }

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """`calls` as the functions of a component."""
        return [answered(name, call) for name, call in self.calls.items()]

    def presets(self, visitor: str, asked: Nothing) -> wire.Presets:
        """Return the targets that ship, each with some points to be known by, and the defaults of a recipe."""
        found = []
        for name, make in PRESETS.items():
            points, labels = draw(make(), THUMB, np.random.default_rng(0))
            found.append(
                {"name": name, "title": title(name), "points": shorts(points, FAR), "labels": labels.tolist()}
            )
        return {"presets": found, "recipe": asdict(Recipe()), "far": FAR, "extent": EXTENT}

    def begin(self, visitor: str, asked: wire.Begin) -> wire.LabTold:
        """Begin a lab with a target and a recipe, or a pretrained start."""
        given = asked.target
        if asked.pretrained:
            started = states.pretrained(str(given.get("preset", "")))
            return self._added(Lab(visitor, started, "pretrained"), asked.instead)
        if "kept" in given:
            target, count = self._kept.target(visitor, given["kept"])
        elif isinstance(given.get("table"), str):
            if len(given["table"]) > MOST_TEXT:
                raise InvalidParams("A table is at most 2 MB.", field="target")
            points, labels, classes = read_table(given["table"])
            count = len(points)
            target = drawn(points, labels, jitter=JITTER, name="table", classes=classes)
        else:
            target = states.target_of(given)
            count = len(given["points"]) if isinstance(given.get("points"), list) else 0
        lab = fresh(visitor, target, Recipe.of(asked.recipe or {}))
        lab.given = count
        return self._added(lab, asked.instead)

    def open(self, visitor: str, asked: wire.Open) -> wire.LabOpened:
        """Open a lab from the text of its file."""
        trainer, view = states.parse(asked.text)
        return {**self._added(Lab(visitor, trainer, "file"), asked.instead), "view": view}

    def back(self, visitor: str, asked: wire.Return) -> wire.LabTold:
        """Go back to a network that was ``kept``, or to a lab that is still in memory, by its id."""
        if asked.kept:
            return self._added(self._kept.open(visitor, asked.kept), asked.instead)
        return self._added(self._labs.find(visitor, asked.again), asked.instead)

    def keep(self, visitor: str, asked: LabAsked) -> wire.KeepingTold:
        """Keep a lab that could not be kept before, and tell how that went."""
        lab = self._labs.find(visitor, asked.lab)
        self._kept.keep(lab)
        return self._kept.told(lab)

    def _added(self, lab: Lab, instead: str | None) -> wire.LabTold:
        """Add a lab in place of another, and describe it; ``aside`` in the answer is what became of the other."""
        old = self._labs.take(lab.visitor, instead)
        if old is not None:
            self._kept.keep(old)
            if old.unkept:
                self._labs.add(old)
        lab.keeper = self._kept.keep
        self._labs.add(lab)
        self._kept.keep(lab)
        return {**_described(lab), **self._kept.told(lab), "aside": self._kept.aside(old, lab)}

    def train(self, visitor: str, asked: wire.Train) -> wire.Trained:
        """Train a lab on for so many steps, in the background; `watch` tells how it goes.

        What is expected to take more than the bounds is refused, unless it is asked for ``anyway``.
        """
        lab = self._labs.find(visitor, asked.lab)
        steps = asked.steps if asked.steps is not None else lab.trainer.recipe.steps
        if lab.status not in ("waiting", "training"):
            check_training(lab, steps, asked.anyway)
        lab.train(steps, self._labs.turns)
        return {"step": lab.trainer.step}

    def stop(self, visitor: str, asked: LabAsked) -> wire.Stopped:
        """Stop training within a few steps and sampling within one, and wait until it has."""
        lab = self._labs.find(visitor, asked.lab)
        lab.stop(wait=True)
        return {"status": lab.status}

    def alive(self, visitor: str, asked: LabAsked) -> Empty:
        """Take note that the page still waits for a sampling, which ends where nobody does."""
        self._labs.find(visitor, asked.lab).look()
        return {}

    def watch(self, visitor: str, asked: wire.Watch) -> wire.Watched:
        """Return where a training stands; with ``samples`` also a cloud from the same noise every time."""
        lab = self._labs.find(visitor, asked.lab)
        answer = lab.watch(asked.since)
        if asked.samples and answer["step"]:
            rng = np.random.default_rng(7)
            labels, noise = draw_labels(lab.target, LIVE, rng), rng.standard_normal((LIVE, 2))
            bound = bind(lab, Field("learned", "all", 0.0, "cfg", None, 5))(labels)
            points = final(sample(bound, LIVE_PLAN, lab.trainer.schedule, noise, rng))
            answer["samples"] = {"points": shorts(points, FAR), "labels": labels.tolist()}
        answer["floor"] = rounded(answer["floor"])
        return {**answer, **self._kept.told(lab)}

    def sample(self, visitor: str, asked: wire.Sample) -> wire.Sampled:
        """Sample, and return the frames from noise to points; with ``mesh`` those of a mesh as well.

        What is expected to take more than the bounds is refused, unless it is asked for ``anyway``. It waits for a
        place among the trainings, and ends within a step of its sampler where it is stopped, another one is asked for,
        or nobody has asked about it for a while (`alive`).
        """
        lab = self._labs.find(visitor, asked.lab)
        what, plan = field_of(asked, lab), plan_of(asked)
        check_paired(lab, plan, what)
        n, seed = asked.n, asked.seed
        rng = np.random.default_rng(seed)
        drawn_labels, noise = draw_labels(lab.target, n, rng), rng.standard_normal((n, 2))
        ended = lab.sampling()
        with self._labs.turns.turn(visitor, ended=ended):
            ended = within(check_sampling(lab, what, plan, drawn_labels, noise, asked.anyway), ended)
            began = time.perf_counter()
            frames = _frames(lab, what, plan, drawn_labels, noise, rng, ended=ended)
            seconds = time.perf_counter() - began
        labels = what.labels(drawn_labels)
        lab.shown = Shown(frames, labels, what.label)
        where = cloud(frames.points[-1])
        answer = {
            "frames": shorts(frames.points, FAR),
            "count": len(frames.points),
            "n": n,
            "labels": None if labels is None else labels.tolist(),
            "sigmas": [rounded(float(sigma)) for sigma in frames.sigmas],
            "alphas": [rounded(scale(float(sigma), frames.straight)) for sigma in frames.sigmas],
            "steps": frames.steps.tolist(),
            "calls": frames.calls,
            "seconds": rounded(seconds),
            "straight": frames.straight,
            "final": floats(frames.points[-1]),
            "middle": [rounded(float(value)) for value in where.middle],
            "spread": rounded(where.spread),
            "mesh": None,
            "python": lines_of(lab, what, plan, n, seed),
        }
        if asked.mesh and not plan.stochastic:
            places = grid(MESH, 2.4)
            one, alike = _one_field(what), np.zeros(len(places), int)
            mesh = _frames(lab, one, plan, alike, places, rng, ended=ended)
            answer["mesh"] = shorts(mesh.points, FAR)
        return answer

    def measure(self, visitor: str, asked: LabAsked) -> wire.SampleMeasures:
        """Measure the last sampling against the target, and the target against itself with as many points."""
        lab = self._labs.find(visitor, asked.lab)
        if lab.shown is None:
            raise InvalidParams("Sample first: there is nothing to measure.")
        return measured(lab, lab.shown)

    def paths(self, visitor: str, asked: wire.Paths) -> wire.PathsTold:
        """Return the path from one start through the learned and through the exact field."""
        lab = self._labs.find(visitor, asked.lab)
        what, plan = _one_field(field_of(asked, lab)), plan_of(asked)
        check_paired(lab, plan, what)
        start = np.array([asked.start])
        answer = {}
        for which in ("learned", "exact"):
            rng = np.random.default_rng(asked.seed)
            frames = _frames(lab, what, plan, np.zeros(1, int), start, rng, which)
            answer[which] = shorts(frames.points[:, 0], FAR)
        return answer

    def density(self, visitor: str, asked: wire.Density) -> wire.DensityTold:
        """Return the exact density under the frames of a sampling: for each of ``sigmas``, `CELLS` x `CELLS` values.

        They are sent as shares of their largest, as 16-bit numbers.
        """
        lab = self._labs.find(visitor, asked.lab)
        label = field_of(asked, lab).label
        maps = [
            density(lab.target, sigma, scale(sigma, asked.straight), label, CELLS) for sigma in asked.sigmas
        ]
        return {"cells": CELLS, "maps": shorts(np.array([values / values.max() for values in maps]), 1.0)}

    def field(self, visitor: str, asked: wire.FieldMap) -> wire.FieldMaps:
        """Return the field on the grid at level ``t``: learned, exact and empirical, and how far they are apart."""
        lab = self._labs.find(visitor, asked.lab)
        what, quantity = field_of(asked, lab), asked.quantity
        schedule = lab.trainer.schedule
        sigma, places = float(schedule.sigmas[asked.t]), grid()
        one = _one_field(what)
        maps = {
            which: field(bind(lab, one, which)(np.zeros(len(places), int)), quantity, places, sigma, schedule)
            for which in ("learned", "exact", "empirical")
        }
        apart = np.linalg.norm(maps["learned"] - maps["exact"], axis=1)
        truth, learned = exact(lab.target), denoiser_of(lab, "learned", what.empirical)
        on = {
            name: _told(on_distribution(learned, truth, lab.target, quantity, sigma, schedule, label))
            for name, label in (("class", one.label if one.label is not None else 0), ("null", None))
        }
        return {
            "side": SIDE,
            "extent": EXTENT,
            "sigma": rounded(sigma),
            "alpha": rounded(float(schedule.alpha(sigma))),
            "maps": {which: floats(values) for which, values in maps.items()},
            "lengths": {which: _length(values) for which, values in maps.items()},
            "apart": floats(apart),
            "largest": rounded(float(apart.max())),
            "empirical_points": len(lab.empirical(what.empirical).weights),
            "grid": {which: _told(error(maps[which], maps["exact"])) for which in ("learned", "empirical")},
            "on": on,
            "paired": lab.trainer.recipe.pairing == "ot",
        }

    def save(self, visitor: str, asked: wire.Save) -> File:
        """Return where the lab's file can be fetched."""
        lab = self._labs.find(visitor, asked.lab)
        with lab.locked():
            value = states.to_json(lab.trainer, asked.view or {})
        text = json.dumps(value)
        if len(text) > states.MOST_BYTES:
            raise InvalidParams("This lab has grown too large for a file: train it from scratch.")
        name = file_name(lab)
        return {"url": private_url(visitor, text.encode(), name), "name": name}

    def gif(self, visitor: str, asked: LabAsked) -> File:
        """Return where the film of the last sampling can be fetched."""
        lab = self._labs.find(visitor, asked.lab)
        if lab.shown is None:
            raise InvalidParams("Sample first: there is nothing to make a film of.")
        data = plane_gif(lab.shown.frames, lab.shown.labels, LAYERS, EXTENT)
        return {"url": private_url(visitor, data, "lab.gif"), "name": "lab.gif"}


def _frames(
    lab: Lab, what: Field, plan: Plan, labels: np.ndarray, noise: np.ndarray, rng: np.random.Generator,
    which: str | None = None, ended: Callable[[], bool] = lambda: False,
) -> Frames:  # fmt: skip
    total = T if plan.sampler == "ddpm" else plan.steps
    steps = sample(bind(lab, what, which)(labels), plan, lab.trainer.schedule, noise, rng)
    return record(until(steps, ended), plan.straight, total, MOST_FRAMES)


def _one_field(what: Field) -> Field:
    """A mesh and a path go through one field: that of the class chosen, or the one without class."""
    if what.label is not None or what.classes == "none":
        return what
    return Field(what.which, "none", 0.0, what.kind, None, what.empirical)


def _length(vectors: np.ndarray) -> float | None:
    """Root mean square length of vectors (N, 2)."""
    return rounded(float(np.sqrt((vectors**2).sum(axis=1).mean())))


def _told(found: Error) -> dict[str, Any]:
    return {"relative": rounded(found.relative), "cosine": rounded(found.cosine)}


def _described(lab: Lab) -> dict[str, Any]:
    """What the page has to know of a lab."""
    trainer, target = lab.trainer, lab.target
    points, labels = draw(target, SHOWN, np.random.default_rng(11))
    return {
        "lab": lab.id,
        "origin": lab.origin,
        "name": target.name,
        "title": title(target.name),
        "classes": list(target.classes),
        "components": len(target.weights),
        "given": lab.given,
        "recipe": asdict(trainer.recipe),
        "parameters": trainer.shape.parameters,
        "step": trainer.step,
        "target": {"points": shorts(points, FAR), "labels": labels.tolist()},
        "sigmas": floats(trainer.schedule.sigmas),
        "source": states.target_json(target),
        "far": FAR,
        "extent": EXTENT,
    }
