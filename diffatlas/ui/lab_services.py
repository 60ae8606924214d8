"""What the page of the 2D Lab asks: a target, training, samples, fields, files. Studies are in lab_studies.py."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.export.plane_movie import plane_gif
from diffatlas.export.wire import floats, rounded, shorts
from diffatlas.lab2d import states
from diffatlas.lab2d.denoisers import exact
from diffatlas.lab2d.fields import SIDE, Error, density, error, field, grid, on_distribution
from diffatlas.lab2d.mixtures import draw, draw_labels
from diffatlas.lab2d.samplers import Frames, Plan, final, record, sample, scale
from diffatlas.lab2d.schedules import T
from diffatlas.lab2d.targets import EXTENT, JITTER, PRESETS, drawn, read_table
from diffatlas.lab2d.training import Recipe
from diffatlas.ui.answers import answered
from diffatlas.ui.lab_asked import (
    MOST_SAMPLES,
    Field,
    bind,
    check_paired,
    denoiser_of,
    field_of,
    number,
    plan_of,
    point,
    quantity_of,
    whole,
)
from diffatlas.ui.lab_sessions import Lab, Labs, Shown, fresh
from diffatlas.ui.lab_studies import LabStudies, measured
from diffatlas.ui.palette import PALETTE
from diffatlas.ui.private_files import private_url

#: What is sent of points: within so much of the centre, in 65,535 steps.
FAR = 8.0
#: Points of the target that are shown, of the cloud while a network trains, and of a preset's picture.
SHOWN, LIVE, THUMB = 600, 400, 180
#: The sampler of the cloud while a network trains.
LIVE_PLAN = Plan("heun", 12)
MESH = 15
MOST_FRAMES = 49
#: Cells a side of the density under the points.
CELLS = 48
MOST_TEXT = 2_000_000


class LabServices:
    """The server's side of the 2D Lab. ``functions`` are what the browser may call."""

    def __init__(self) -> None:
        self._labs = Labs()
        self._studies = LabStudies(self._labs)

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The functions, under the names by which the browser calls them."""
        calls = {
            "lab_presets": self.presets,
            "lab_begin": self.begin,
            "lab_open": self.open,
            "lab_train": self.train,
            "lab_stop": self.stop,
            "lab_watch": self.watch,
            "lab_sample": self.sample,
            "lab_measure": self.measure,
            "lab_paths": self.paths,
            "lab_density": self.density,
            "lab_field": self.field,
            "lab_save": self.save,
            "lab_gif": self.gif,
            **self._studies.calls,
        }
        return [answered(name, call) for name, call in calls.items()]

    def presets(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the targets that ship, each with some points to be known by, and the defaults of a recipe."""
        found = []
        for name, make in PRESETS.items():
            points, labels = draw(make(), THUMB, np.random.default_rng(0))
            found.append({"name": name, "points": shorts(points, FAR), "labels": labels.tolist()})
        return {"presets": found, "recipe": asdict(Recipe()), "far": FAR, "extent": EXTENT}

    def begin(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Begin a lab with a target {preset, points with labels, or table} and a recipe, or with a pretrained start.

        ``instead`` names the lab that it replaces.
        """
        given = asked.get("target")
        if not isinstance(given, dict):
            raise InvalidParams("Choose a target.", field="target")
        if asked.get("pretrained"):
            lab = Lab(visitor, states.pretrained(str(given.get("preset", ""))), "pretrained")
        else:
            if isinstance(given.get("table"), str):
                if len(given["table"]) > MOST_TEXT:
                    raise InvalidParams("A table is at most 2 MB.", field="target")
                points, labels, classes = read_table(given["table"])
                count = len(points)
                target = drawn(points, labels, jitter=JITTER, name="table", classes=classes)
            else:
                target = states.target_of(given)
                count = len(given["points"]) if isinstance(given.get("points"), list) else 0
            lab = fresh(visitor, target, Recipe.of(asked.get("recipe") or {}))
            lab.given = count
        self._labs.add(lab, asked.get("instead"))
        return _described(lab)

    def open(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Open a lab from the text of its file."""
        text = asked.get("text")
        if not isinstance(text, str):
            raise InvalidParams("Choose a .json file that the 2D Lab has saved.", field="state")
        trainer, view = states.parse(text)
        lab = self._labs.add(Lab(visitor, trainer, "file"), asked.get("instead"))
        return {**_described(lab), "view": view}

    def train(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Train a lab on for so many steps, in the background; `watch` tells how it goes."""
        lab = self._labs.find(visitor, asked.get("lab"))
        lab.train(whole(asked, "steps", lab.trainer.recipe.steps, 1, 100_000), self._labs.turns)
        return {"step": lab.trainer.step}

    def stop(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Stop training within a few steps, and wait until it has."""
        lab = self._labs.find(visitor, asked.get("lab"))
        lab.stop(wait=True)
        return {"status": lab.status}

    def watch(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return where a training stands; with ``samples`` also a cloud from the same noise every time."""
        lab = self._labs.find(visitor, asked.get("lab"))
        answer = lab.watch(whole(asked, "since", 0, 0, 10**7))
        if asked.get("samples") and answer["step"]:
            rng = np.random.default_rng(7)
            labels, noise = draw_labels(lab.target, LIVE, rng), rng.standard_normal((LIVE, 2))
            bound = bind(lab, Field("learned", "all", 0.0, "cfg", None, 5))(labels)
            points = final(sample(bound, LIVE_PLAN, lab.trainer.schedule, noise, rng))
            answer["samples"] = {"points": shorts(points, FAR), "labels": labels.tolist()}
        answer["floor"] = rounded(answer["floor"])
        return answer

    def sample(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Sample, and return the frames from noise to points; with ``mesh`` those of a mesh as well."""
        lab = self._labs.find(visitor, asked.get("lab"))
        what, plan = field_of(asked, lab), plan_of(asked)
        check_paired(lab, plan, what)
        n, seed = whole(asked, "n", 1000, 10, MOST_SAMPLES), whole(asked, "seed", 0, 0, 2**31 - 1)
        rng = np.random.default_rng(seed)
        drawn_labels, noise = draw_labels(lab.target, n, rng), rng.standard_normal((n, 2))
        began = time.perf_counter()
        frames = _frames(lab, what, plan, drawn_labels, noise, rng)
        seconds = time.perf_counter() - began
        labels = what.labels(drawn_labels)
        lab.shown = Shown(frames, labels, what.label)
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
            "mesh": None,
        }
        if asked.get("mesh") and not plan.stochastic:
            places = grid(MESH, 2.4)
            mesh = _frames(lab, _one_field(what), plan, np.zeros(len(places), int), places, rng)
            answer["mesh"] = shorts(mesh.points, FAR)
        return answer

    def measure(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Measure the last sampling against the target, and the target against itself with as many points."""
        lab = self._labs.find(visitor, asked.get("lab"))
        if lab.shown is None:
            raise InvalidParams("Sample first: there is nothing to measure.")
        return measured(lab, lab.shown)

    def paths(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the path from one start through the learned and through the exact field."""
        lab = self._labs.find(visitor, asked.get("lab"))
        what, plan = _one_field(field_of(asked, lab)), plan_of(asked)
        check_paired(lab, plan, what)
        start = point(asked, "start")
        answer = {}
        for which in ("learned", "exact"):
            rng = np.random.default_rng(whole(asked, "seed", 0, 0, 2**31 - 1))
            frames = _frames(lab, what, plan, np.zeros(1, int), start, rng, which)
            answer[which] = shorts(frames.points[:, 0], FAR)
        return answer

    def density(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the exact density under the frames of a sampling: for each of ``sigmas``, `CELLS` x `CELLS` values.

        They are sent as shares of their largest, as 16-bit numbers.
        """
        lab = self._labs.find(visitor, asked.get("lab"))
        sigmas = asked.get("sigmas")
        if not isinstance(sigmas, list) or not 1 <= len(sigmas) <= MOST_FRAMES + 1:
            raise InvalidParams("sigmas is a list of noise levels.")
        levels = [number({"sigma": sigma}, "sigma", 0, 0, 1e9) for sigma in sigmas]
        label = field_of(asked, lab).label
        maps = [
            density(lab.target, sigma, scale(sigma, bool(asked.get("straight"))), label, CELLS)
            for sigma in levels
        ]
        return {"cells": CELLS, "maps": shorts(np.array([values / values.max() for values in maps]), 1.0)}

    def field(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the field on the grid at level ``t``: learned, exact and empirical, and how far they are apart."""
        lab = self._labs.find(visitor, asked.get("lab"))
        what, quantity = field_of(asked, lab), quantity_of(asked)
        level = whole(asked, "t", 200, 0, T - 1)
        schedule = lab.trainer.schedule
        sigma, places = float(schedule.sigmas[level]), grid()
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
            "apart": floats(apart),
            "empirical_points": len(lab.empirical(what.empirical).weights),
            "grid": {which: _told(error(maps[which], maps["exact"])) for which in ("learned", "empirical")},
            "on": on,
            "paired": lab.trainer.recipe.pairing == "ot",
        }

    def save(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return where the lab's file can be fetched."""
        lab = self._labs.find(visitor, asked.get("lab"))
        view = asked.get("view")
        with lab.locked():
            value = states.to_json(lab.trainer, view if isinstance(view, dict) else {})
        text = json.dumps(value)
        if len(text) > states.MOST_BYTES:
            raise InvalidParams("This lab has grown too large for a file: train it from scratch.")
        name = f"lab-{lab.target.name.replace('_', '-')}-{lab.trainer.step}.json"
        return {"url": private_url(visitor, text.encode(), _safe(name)), "name": _safe(name)}

    def gif(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return where the film of the last sampling can be fetched."""
        lab = self._labs.find(visitor, asked.get("lab"))
        if lab.shown is None:
            raise InvalidParams("Sample first: there is nothing to make a film of.")
        data = plane_gif(lab.shown.frames, lab.shown.labels, PALETTE, EXTENT)
        return {"url": private_url(visitor, data, "lab.gif"), "name": "lab.gif"}


def _frames(
    lab: Lab, what: Field, plan: Plan, labels: np.ndarray, noise: np.ndarray, rng: np.random.Generator,
    which: str | None = None,
) -> Frames:  # fmt: skip
    total = T if plan.sampler == "ddpm" else plan.steps
    steps = sample(bind(lab, what, which)(labels), plan, lab.trainer.schedule, noise, rng)
    return record(steps, plan.straight, total, MOST_FRAMES)


def _one_field(what: Field) -> Field:
    """A mesh and a path go through one field: that of the class chosen, or the one without class."""
    if what.label is not None or what.classes == "none":
        return what
    return Field(what.which, "none", 0.0, what.kind, None, what.empirical)


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


def _safe(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name)
