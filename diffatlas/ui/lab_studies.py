"""The longer questions of the 2D Lab, each a job whose state grows as it is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.figures import budget as budget_figure
from diffatlas.figures import memory as memory_figure
from diffatlas.figures import quality as quality_figure
from diffatlas.figures.lab_words import MEASURES
from diffatlas.figures.loss import draw_loss
from diffatlas.figures.page_figure import page_figure
from diffatlas.formats.wire import rounded, shorts
from diffatlas.lab2d.densities import CELLS, kl_divergence, mass, model_density
from diffatlas.lab2d.fields import density
from diffatlas.lab2d.likelihood import LOW
from diffatlas.lab2d.metrics import measure
from diffatlas.lab2d.mixtures import Target, draw
from diffatlas.lab2d.samplers import Plan
from diffatlas.lab2d.studies import (
    STEP_COUNTS,
    Memory,
    Point,
    error_budget,
    memorisation,
    memory_recipe,
    quality,
)
from diffatlas.lab2d.summaries import by_steps, shares, spread
from diffatlas.lab2d.training import Trainer
from diffatlas.ui.jobs import Job, Jobs, Progress
from diffatlas.ui.lab_asked import bind, check_paired, field_of, plan_of
from diffatlas.ui.lab_bounds import stoppable, stoppable_of
from diffatlas.ui.lab_sessions import Lab, Labs, Shown, give_way
from diffatlas.ui.turns import Place
from diffatlas.ui.wire import lab_studies as wire
from diffatlas.ui.wire.kinds import Empty, Started
from diffatlas.ui.wire.kinds import Figure as FigureTold
from diffatlas.ui.wire.lab import FieldAsked, LabAsked

#: Pixels of the chart of one measure, and of one of a training.
QUALITY_ROW, LOSS_ROW = 260, 230


@dataclass
class Memories:
    """What a job of memory has measured so far."""

    rows: tuple[Memory, ...] = ()


@dataclass(frozen=True)
class Qualities:
    """What a job of quality has measured, the target against itself among it."""

    points: tuple[Point, ...]
    target: Target


class LabStudies:
    """``calls`` are what the browser may call."""

    def __init__(self, labs: Labs, shared: bool = False) -> None:
        self._labs = labs
        self.jobs = self._jobs = Jobs(shared)

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """The functions, under the names by which the browser calls them."""
        return {
            "lab_quality": self.quality,
            "lab_quality_figure": self.quality_figure,
            "lab_budget": self.budget,
            "lab_budget_figure": self.budget_figure,
            "lab_memory": self.memory,
            "lab_memory_figure": self.memory_figure,
            "lab_excess": self.excess,
            "lab_loss_figure": self.loss_figure,
            "lab_model_density": self.model_density,
            "lab_job": self.job,
            "lab_job_stop": self.stop_job,
        }

    def _start(self, visitor: str, work: Callable[[Job, Progress], Any]) -> str:
        """Start a job that works once it has a place among the trainings."""

        def placed(job: Job, progress: Progress) -> Any:
            def tell(place: Place) -> None:
                progress(message=f"Waiting for a place: {place.words}")

            give_way()
            with self._labs.turns.turn(visitor, ended=job.stop.is_set, tell=tell):
                progress(message="")
                return work(job, progress)

        return self._jobs.start(visitor, placed)

    def job(self, visitor: str, asked: wire.LabJob) -> wire.LabJobState:
        """Return where a job stands."""
        state = self._jobs.find(visitor, asked.job).state
        return {k: v for k, v in state.items() if v is not None or k == "progress"}

    def stop_job(self, visitor: str, asked: wire.LabJob) -> Empty:
        """End a job; what it has measured stays."""
        self._jobs.find(visitor, asked.job).stop.set()
        return {}

    def quality(self, visitor: str, asked: wire.Quality) -> Started:
        """Start measuring samplers at 4, 8, 16, 32, 64 and 128 steps, and the noise floor."""
        lab = self._labs.find(visitor, asked.lab)
        what = field_of(asked, lab)
        base = plan_of(asked)
        plans = [
            replace(base, sampler=name, steps=steps).validate()
            for steps in STEP_COUNTS
            for name in dict.fromkeys(asked.samplers)
        ]
        for plan in plans:
            check_paired(lab, plan, what)
        n, repeats = asked.n, asked.repeats

        def work(job: Job, progress: Progress) -> dict[str, Any]:
            stick = lab.stick(what.label)
            floors = lab.floors(what.label, n)
            points: list[Point] = []
            total = len(plans) * repeats
            progress(progress=0.0, partial=_quality_fields(floors, points))
            found = quality(
                bind(lab, what), lab.target, lab.trainer.schedule, plans, n, repeats, stick, what.label
            )
            for point in found:
                points = [*points, point]
                job.kept = Qualities((*floors, *points), lab.target)
                progress(progress=len(points) / total, partial=_quality_fields(floors, points))
                if job.stop.is_set():
                    break
            return {**_quality_fields(floors, points), "n": n}

        return {"job": self._start(visitor, work)}

    def quality_figure(self, visitor: str, asked: wire.QualityFigure) -> FigureTold:
        """Return the figure of one measure of a job of `quality`, as far as that has come."""
        found = self._jobs.find(visitor, asked.job).kept
        if not isinstance(found, Qualities):
            raise InvalidParams("Nothing was measured yet: press Measure.", field="job")
        drawn = quality_figure(
            found.points,
            by=asked.axis,
            measures=(asked.measure,),
            scale=asked.scale,
            target=found.target,
            dark=asked.dark,
            across=1,
            row=QUALITY_ROW,
        )
        return page_figure({1: drawn})

    def budget(self, visitor: str, asked: wire.Budget) -> Started:
        """Start splitting a sampler's error into that of its steps and that of its field."""
        lab = self._labs.find(visitor, asked.lab)
        what, plan = replace(field_of(asked, lab), which="learned"), plan_of(asked)
        if lab.trainer.recipe.pairing == "ot":
            raise CapabilityError(
                "With paired noise the learned flow is another than the exact one of unpaired noise, though both end "
                "at the target: their ends cannot be compared point by point."
            )
        n = asked.n

        def work(job: Job, progress: Progress) -> dict[str, Any]:
            learned, truth = (
                stoppable_of(bind(lab, what, which), job.stop.is_set) for which in ("learned", "exact")
            )
            found = error_budget(learned, truth, lab.target, lab.trainer.schedule, plan, n)
            lists = {
                name: [rounded(float(v)) for v in values]
                for name, values in asdict(found).items()
                if name != "model"
            }
            job.kept = {plan.sampler: found}
            return {
                **lists,
                "model": rounded(found.model),
                "enough": found.enough,
                "sampler": plan.sampler,
                "n": n,
            }

        return {"job": self._start(visitor, work)}

    def budget_figure(self, visitor: str, asked: wire.JobFigure) -> FigureTold:
        """Return the figure of a job of `budget`."""
        found = self._jobs.find(visitor, asked.job).kept
        if not isinstance(found, dict):
            raise InvalidParams("Nothing was measured yet: press Split the error.", field="job")
        return page_figure({1: budget_figure(found, dark=asked.dark)})

    def memory(self, visitor: str, asked: wire.Memory) -> Started:
        """Start training networks on 5 to 5,000 points each, and counting the copies that they make."""
        lab = self._labs.find(visitor, asked.lab)
        steps, sizes = asked.train_steps, asked.sizes

        def work(job: Job, progress: Progress) -> dict[str, Any]:
            rows: list[dict[str, Any]] = []
            job.kept = found = Memories()
            for number, size in enumerate(sizes):
                trainer = Trainer(lab.target, memory_recipe(lab.trainer.recipe, size, steps))
                while trainer.step < steps and not job.stop.is_set():
                    trainer.run(min(50, steps - trainer.step))
                    share = (number + trainer.step / steps) / len(sizes)
                    progress(progress=share, message=f"Training on {size:,} points…", partial={"rows": rows})
                if job.stop.is_set():
                    break
                found.rows = (*found.rows, memorisation(trainer, Plan("heun", 24)))
                rows = [*rows, _memory_row(found.rows[-1])]
                progress(progress=(number + 1) / len(sizes), partial={"rows": rows})
            return {"rows": rows, "train_steps": steps}

        return {"job": self._start(visitor, work)}

    def memory_figure(self, visitor: str, asked: wire.MemoryFigure) -> FigureTold:
        """Return the figure of a job of `memory`, as far as that has come, in the widths of a page."""
        found = self._jobs.find(visitor, asked.job).kept
        if not isinstance(found, Memories) or not found.rows:
            raise InvalidParams("Nothing was measured yet: train first.", field="job")
        rows, dark = found.rows, asked.dark
        return page_figure({across: memory_figure(rows, asked.count, dark, across) for across in (1, 2, 3)})

    def excess(self, visitor: str, asked: LabAsked) -> wire.Excess:
        """Return the loss's floor and what lies above it by noise level, with the class and without."""
        lab = self._labs.find(visitor, asked.lab)
        if lab.trainer.recipe.pairing == "ot":
            raise CapabilityError(
                "With paired noise the loss has another floor, without a closed form: train with independent pairing."
            )
        errors = lab.errors()
        if not errors:
            raise CapabilityError(
                "This network has not been trained yet, so it has no errors: train it first."
            )
        answer: dict[str, Any] = {
            "loss_floor": rounded(lab.find_floor()),
            "drop": lab.trainer.recipe.label_drop,
        }
        relative = {}
        for name, found in zip(("class", "null"), errors.values(), strict=True):
            answer[name] = {
                "floor": [rounded(float(v)) for v in found.floor],
                "excess": [rounded(float(v)) for v in found.excess],
                "relative": rounded(found.relative),
            }
            relative[name] = found.relative
            answer["levels"] = found.levels.tolist()
            answer["sigmas"] = [rounded(float(v)) for v in found.sigmas]
        answer["times"] = rounded(relative["null"] / relative["class"]) if relative["class"] else None
        return answer

    def loss_figure(self, visitor: str, asked: wire.LossFigure) -> FigureTold:
        """Return `diffatlas.figures.loss` of a network, as far as its training has come."""
        told = self._labs.find(visitor, asked.lab).losses()
        return page_figure({asked.across: draw_loss(told, asked.dark, asked.across, LOSS_ROW)})

    def model_density(self, visitor: str, asked: FieldAsked) -> Started:
        """Start computing the density of the learned model, and its divergence from the target's."""
        lab = self._labs.find(visitor, asked.lab)
        what = field_of(asked, lab)
        model = lab.learned()

        def work(job: Job, progress: Progress) -> dict[str, Any]:
            ask, diverge = (stoppable(call, job.stop.is_set) for call in (model, model.divergence))
            values = model_density(ask, diverge, what.label)
            progress(progress=0.6, message="Comparing with the target…")
            divergence, error = kl_divergence(ask, diverge, lab.target, what.label)
            truth = density(lab.target, LOW, 1.0, what.label, CELLS)
            top = float(truth.max())
            return {
                "cells": CELLS,
                "top": rounded(top),
                "model": shorts(values.ravel() / (2 * top), 1.0),
                "exact": shorts(truth.ravel() / (2 * top), 1.0),
                "mass": rounded(mass(values)),
                "divergence": rounded(divergence),
                "spread": rounded(error),
            }

        return {"job": self._start(visitor, work)}


def measured(lab: Lab, shown: Shown) -> dict[str, Any]:
    """Return the measures of a sampling, and what chance explains: mean + 2 sd of the target against itself."""
    n = shown.frames.points.shape[1]
    floors, stick = lab.floors(shown.label, n), lab.stick(shown.label)
    fresh, _ = draw(lab.aim(shown.label), n, np.random.default_rng(23))
    found = asdict(measure(lab.aim(shown.label), shown.frames.points[-1], fresh, stick.entropy, stick.median))
    explained = {name: spread(getattr(point.measures, name) for point in floors) for name in found}
    return {
        "measures": {name: rounded(value) for name, value in found.items()},
        "chance": {name: rounded(told.high) for name, told in explained.items() if told is not None},
    }


def _quality_fields(floors: Sequence[Point], points: Sequence[Point]) -> dict[str, Any]:
    """What was measured point by point, and what that comes to: [steps, calls, mean, deviation] by measure, sampler."""
    return {
        "floor": [_row(point) for point in floors],
        "rows": [_row(point) for point in points],
        "summary": {
            name: {
                sampler: [
                    [row.steps, row.calls, rounded(row.spread.mean), rounded(row.spread.sd)] for row in rows
                ]
                for sampler, rows in by_steps(points, name).items()
            }
            for name in MEASURES
        },
    }


def _row(point: Point) -> dict[str, Any]:
    return {
        "sampler": point.sampler,
        "steps": point.steps,
        "calls": point.calls,
        "repeat": point.repeat,
        **{name: rounded(value) for name, value in asdict(point.measures).items()},
    }


def _memory_row(found: Memory) -> dict[str, Any]:
    """What one size of the training set shows, with the histograms of `summaries.shares`."""
    return {
        "n": found.n,
        "copies": {name: rounded(value) for name, value in found.copies.items()},
        "median": {name: rounded(float(np.median(d))) for name, d in found.nearest.items()},
        "histograms": {
            "middles": [rounded(float(v)) for v in shares(found.nearest["learned"])[0]],
            **{name: shares(d)[1].round(4).tolist() for name, d in found.nearest.items()},
        },
        "excess": rounded(found.excess),
        "heart": rounded(found.heart),
    }
