"""The commands of the 2D Lab: train in the plane, sample, and measure against the exact answer."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffatlas import files
from diffatlas.cli.output import print_table, showing_progress
from diffatlas.errors import InvalidParams, Unreadable

if TYPE_CHECKING:
    from diffatlas.lab2d.cost import Cost
    from diffatlas.lab2d.mixtures import Target
    from diffatlas.lab2d.samplers import Plan
    from diffatlas.lab2d.training import Trainer

#: Bytes of a table.
MOST_TABLE = 100_000_000
#: A target has a variance of 1 in each direction of the plane.
PLANE = "units of the plane"
UNITS = {"w2": PLANE, "excess_nll": "nats"}
commands = typer.Typer(help="Diffusion in the plane, against the exact answer.", no_args_is_help=True)

LAB = typer.Argument(
    metavar="LAB", help="A file of the 2D Lab, or the name of a target for its pretrained network."
)
ANYWAY = typer.Option("--anyway", help="Work even on what is expected to take longer than the bound.")
SAMPLER = typer.Option(help="ddpm, ddim, heun, dpmpp_2m, euler or midpoint.")


@commands.command()
def train(
    target: Annotated[
        str,
        typer.Argument(
            help="A target that ships, or a .csv, .tsv or .txt file with x, y and, if wanted, a class."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where the lab is written, as .json.")],
    steps: Annotated[int, typer.Option(help="Training steps.")] = 8000,
    objective: Annotated[str, typer.Option(help="What is predicted: eps, x0, v or flow.")] = "v",
    schedule: Annotated[str, typer.Option(help="cosine, linear, scaled_linear or straight.")] = "cosine",
    width: Annotated[int, typer.Option(help="Width of the layers.")] = 128,
    depth: Annotated[int, typer.Option(help="Number of layers.")] = 3,
    batch: Annotated[int, typer.Option(help="Points in a batch.")] = 256,
    learning_rate: Annotated[float, typer.Option(help="Where the learning rate begins.")] = 3e-3,
    label_drop: Annotated[float, typer.Option(help="Share of points whose class is hidden.")] = 0.2,
    train_points: Annotated[
        int, typer.Option(help="Size of a fixed training set; 0 draws fresh points.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Decides all that is random.")] = 0,
    anyway: Annotated[bool, ANYWAY] = False,
) -> None:
    """Train a network on a target, and write the lab, which the app opens and `diffatlas lab sample` reads."""
    from diffatlas.lab2d import states
    from diffatlas.lab2d.floors import excess, loss_floor
    from diffatlas.lab2d.training import Recipe, Trainer

    recipe = Recipe(
        objective=objective, schedule=schedule, width=width, depth=depth, batch=batch, learning_rate=learning_rate,
        label_drop=label_drop, steps=steps, seed=seed, train_points=train_points,
    ).validate()  # fmt: skip
    aim = _target(target)
    if not anyway:
        from diffatlas.lab2d.cost import training_cost

        _within_bounds(training_cost(aim, recipe, steps), "choose fewer steps, or a smaller network or batch")
    trainer = Trainer(aim, recipe)
    with showing_progress() as show:
        while trainer.step < steps:
            trainer.run(min(100, steps - trainer.step))
            recent = trainer.losses[-500:]
            show(trainer.step / steps, f"loss {sum(recent) / len(recent):.4f}")
    states.write(out, trainer)
    floor = loss_floor(trainer.source, trainer.schedule, objective, label_drop)
    recent = trainer.losses[-500:]
    print_table(
        ("Loss", "Floor", "Excess with class", "Without"),
        [
            (
                f"{sum(recent) / len(recent):.4f}",
                f"{floor:.4f}",
                *(
                    f"{excess(trainer.learned(), trainer.target, trainer.schedule, c).relative:.2%}"
                    for c in (True, False)
                ),
            )
        ],
    )


@commands.command()
def sample(
    lab: Annotated[str, LAB],
    to: Annotated[
        Path,
        typer.Option(
            help="Where the points are written, as .csv: x, y, class, then the network, what was asked, and units."
        ),
    ],
    n: Annotated[int, typer.Option(help="How many points.")] = 1000,
    sampler: Annotated[str, SAMPLER] = "heun",
    steps: Annotated[int, typer.Option(help="Steps of the sampler.")] = 18,
    eta: Annotated[float, typer.Option(help="Fresh noise of ddim, 0 to 1.")] = 0.0,
    churn: Annotated[float, typer.Option(help="Fresh noise of heun.")] = 0.0,
    guidance: Annotated[
        float, typer.Option(help="w of (1 + w) times the field with class, less w times that without.")
    ] = 0,
    field: Annotated[str, typer.Option(help="learned or exact.")] = "learned",
    seed: Annotated[int, typer.Option(help="Decides noise and classes.")] = 0,
    anyway: Annotated[bool, ANYWAY] = False,
) -> None:
    """Sample from a lab, each point with a class drawn as the target has them."""
    from diffatlas import lab2d

    trainer = _open(lab)
    plan = _plan(trainer, sampler, steps, eta, churn)
    _at_least(n, 1, "n")
    denoiser = lab2d.exact(trainer.target) if _exact(field) else trainer.learned()
    if not anyway:
        import numpy as np

        from diffatlas.lab2d.cost import TRIAL_POINTS, sampling_cost

        some = np.random.default_rng(0)
        trial, classes = (
            some.standard_normal((TRIAL_POINTS, 2)),
            lab2d.draw_labels(trainer.target, TRIAL_POINTS, some),
        )
        guided = lab2d.guided(denoiser, classes, guidance)
        components = len(trainer.target.weights) if _exact(field) else 0
        cost = sampling_cost(guided, plan, trial, n, components)
        _within_bounds(cost, "choose fewer points or fewer steps")
    points, labels = lab2d.generate(denoiser, trainer.target, plan, trainer.schedule, n, guidance, seed)
    file = io.StringIO()
    rows = csv.writer(file)
    asked = {
        "field": field,
        "sampler": sampler,
        "steps": steps,
        "eta": eta,
        "churn": churn,
        "guidance": guidance,
    }
    beside = (
        _network(trainer) | {f"asked_{name}": value for name, value in asked.items()} | {"asked_seed": seed}
    )
    numbers = "; ".join(f"{name}=none" for name, value in beside.items() if type(value) in (int, float))
    beside["units"] = f"x={PLANE}; y={PLANE}; {numbers}"
    rows.writerow(("x", "y", "class", *beside))
    rows.writerows(
        (f"{x:.7g}", f"{y:.7g}", trainer.target.classes[k], *beside.values())
        for (x, y), k in zip(points, labels, strict=True)
    )
    temporary = to.with_name(to.name + ".tmp")
    temporary.write_text(file.getvalue(), encoding="utf-8")
    temporary.replace(to)
    typer.echo(f"{n} points in {to}")


@commands.command()
def measure(
    lab: Annotated[str, LAB],
    sampler: Annotated[str, SAMPLER] = "heun",
    steps: Annotated[list[int] | None, typer.Option(help="Steps of the sampler; repeatable.")] = None,
    n: Annotated[int, typer.Option(help="Points of each sampling.")] = 2000,
    repeats: Annotated[int, typer.Option(help="Samplings of each number of steps.")] = 3,
    field: Annotated[str, typer.Option(help="learned or exact.")] = "learned",
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print every measurement as JSON, with what was asked, and the units."),
    ] = False,
) -> None:
    """Measure samples against the target, beside the target against itself."""
    import statistics
    from dataclasses import asdict

    from diffatlas import lab2d
    from diffatlas.lab2d.studies import STEP_COUNTS, noise_floor, quality, yardstick

    trainer = _open(lab)
    _at_least(n, 50, "n")
    _at_least(repeats, 1, "repeats")
    plans = [_plan(trainer, sampler, count, 0.0, 0.0) for count in steps or STEP_COUNTS]
    denoiser = lab2d.exact(trainer.target) if _exact(field) else trainer.learned()
    stick = yardstick(trainer.target)
    found = [
        *noise_floor(trainer.target, n, max(repeats, 3), stick),
        *quality(
            lambda labels: lab2d.bound(denoiser, labels),
            trainer.target,
            trainer.schedule,
            plans,
            n,
            repeats,
            stick,
        ),
    ]
    if as_json:
        asked = {"asked_field": field, "asked_n": n, "asked_repeats": repeats}
        rows = []
        for point in found:
            numbers = {name: value for name, value in asdict(point).items() if name != "measures"}
            numbers |= asdict(point.measures)
            units = {name: UNITS.get(name, "none") for name in numbers if name != "sampler"}
            rows.append({**numbers, **_network(trainer), **asked, "units": units})
        typer.echo(json.dumps(rows))
        return
    table = []
    for count in [0, *dict.fromkeys(plan.steps for plan in plans)]:
        points = [point for point in found if point.steps == count]

        def mean(name: str, points: list = points) -> str:
            return f"{statistics.mean(getattr(point.measures, name) for point in points):.4g}"

        label = str(count) if count else "target itself"
        calls = str(points[0].calls) if count else ""
        table.append((label, calls, *map(mean, ("mmd2", "mmd2_fine", "w2", "excess_nll", "tv", "covered"))))
    print_table(("Steps", "Calls", "MMD2", "fine", "Sliced W2", "Surprise", "Mode TV", "Covered"), table)


def _network(trainer: Trainer) -> dict[str, Any]:
    """Return what a network is, by the names that tables have."""
    from dataclasses import asdict

    recipe = {f"training_{name}": value for name, value in asdict(trainer.recipe).items()}
    return {"lab_target": trainer.target.name, "trained_steps": trainer.step, **recipe}


def _target(name: str) -> Target:
    from diffatlas.lab2d.targets import drawn, preset, read_table, table_text

    if not name.endswith((".csv", ".tsv", ".txt")):
        return preset(name)
    try:
        text = table_text(files.read_bytes(Path(name), MOST_TABLE))
    except (OSError, Unreadable) as error:
        reason = error.reason if isinstance(error, Unreadable) else files.reason_of(error)
        raise InvalidParams(f"{name} cannot be read as a table: {reason}.", field="target") from error
    points, labels, classes = read_table(text)
    return drawn(points, labels, name="table", classes=classes)


def _open(lab: str) -> Trainer:
    from diffatlas.lab2d import states
    from diffatlas.lab2d.targets import PRESETS

    return states.pretrained(lab) if lab in PRESETS else states.read(lab)[0]


def _plan(trainer: Trainer, sampler: str, steps: int, eta: float, churn: float) -> Plan:
    from diffatlas.lab2d.samplers import Plan

    plan = replace(Plan(), sampler=sampler, steps=steps, eta=eta, churn=churn).validate()
    if plan.stochastic and trainer.recipe.pairing == "ot":
        raise InvalidParams(
            "A model trained with paired noise knows the flow only: choose a deterministic sampler."
        )
    return plan


def _exact(field: str) -> bool:
    if field not in ("learned", "exact"):
        raise InvalidParams("The field is learned or exact.", field="field")
    return field == "exact"


def _within_bounds(cost: Cost, instead: str) -> None:
    """Raise `OverBound` for what is expected to take more than the settings allow."""
    from diffatlas.backends.bounds import bounds_here

    bounds_here(shared=False).check_amounts(cost.seconds, cost.memory, f"{instead}, or add --anyway", None)


def _at_least(value: int, least: int, name: str) -> None:
    if value < least:
        raise InvalidParams(f"{name} is at least {least}.", field=name)
