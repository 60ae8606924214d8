"""The lines of Python that make what the 2D Lab shows: target, network, samples, and their measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffatlas.formats.code import changed
from diffatlas.lab2d.mixtures import Target
from diffatlas.lab2d.samplers import Plan
from diffatlas.lab2d.states import target_json
from diffatlas.lab2d.training import Recipe

#: Points of a drawing on one line.
A_LINE = 4


@dataclass(frozen=True)
class LabLines:
    """What is in view.

    origin: where the weights began ("scratch", "pretrained", or "file"), at step ``begun``; step: how far they have
    been trained; file: what the lab's own file is called. field: "learned", "exact", or "empirical" of so many
    ``points``. classes: "all", "none", or a class's number. weight, kind, interval, widened: of the guidance.
    """

    target: Target
    recipe: Recipe
    origin: str
    begun: int
    step: int
    file: str
    field: str
    points: int
    classes: str | int
    weight: float
    kind: str
    interval: tuple[float, float] | None
    widened: float
    plan: Plan
    n: int
    seed: int


def lab_code(shown: LabLines) -> str:
    """Return the lines: they end with ``points``, ``labels`` and ``measures``."""
    imports = [
        "import numpy as np",
        "",
        "from diffatlas import lab2d",
        *(["from diffatlas.lab2d import states"] if _stored(shown) else []),
        *(["from diffatlas.lab2d.denoisers import widened"] if _weakened(shown) else []),
        "from diffatlas.lab2d.metrics import measure",
        *(["from diffatlas.lab2d.mixtures import points_target"] if _drawn(shown) else []),
        "from diffatlas.lab2d.studies import yardstick",
    ]
    one = isinstance(shown.classes, int)
    aim = "aim" if one else "target"
    measures = [
        *([f"aim = target.only({shown.classes})"] if one else []),
        f"stick = yardstick({aim})",
        f"fresh, _ = lab2d.draw({aim}, {shown.n}, np.random.default_rng(23))",
        f"measures = measure({aim}, points, fresh, stick.entropy, stick.median)",
    ]
    parts = [imports, _target(shown), _network(shown), _field(shown), _sampling(shown), measures]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _drawn(shown: LabLines) -> bool:
    return shown.field == "empirical" and not shown.recipe.train_points


def _stored(shown: LabLines) -> bool:
    return shown.step > 0 and shown.origin in ("pretrained", "file")


def _weakened(shown: LabLines) -> bool:
    return shown.kind == "auto" and shown.weight != 0 and shown.classes != "none" and shown.field != "learned"


def _target(shown: LabLines) -> list[str]:
    value = target_json(shown.target)
    if "preset" in value:
        return [f"target = lab2d.preset({value['preset']!r})"]
    points = [f"({x!r}, {y!r})," for x, y in value["points"]]
    rows = ["    " + " ".join(points[k : k + A_LINE]) for k in range(0, len(points), A_LINE)]
    labels = [
        "    " + " ".join(f"{label}," for label in value["labels"][k : k + 30])
        for k in range(0, len(value["labels"]), 30)
    ]
    given = f"jitter={value['jitter']!r}, name={value['name']!r}, classes={tuple(value['classes'])!r}"
    return [
        "drawing = [",
        *rows,
        "]",
        "labels = [",
        *labels,
        "]",
        f"target = lab2d.drawn(drawing, labels, {given})",
    ]


def _network(shown: LabLines) -> list[str]:
    steps = shown.step - shown.begun
    if shown.step and shown.origin == "pretrained":
        lines = [f"trainer = states.pretrained({shown.target.name!r})"]
    elif shown.step and shown.origin == "file":
        # What was in the file is known to nobody else: the lab's own file has it as it is now.
        return [
            "# Its weights came from a file: save this lab, and read it.",
            f"trainer, _ = states.read({shown.file!r})",
        ]
    else:
        said = {name: repr(getattr(shown.recipe, name)) for name in ("steps", "seed")}
        inside = ", ".join(f"{name}={value}" for name, value in {**said, **changed(shown.recipe)}.items())
        lines = [f"trainer = lab2d.Trainer(target, lab2d.Recipe({inside}))"]
    return [*lines, f"trainer.run({steps})"] if steps else lines


def _field(shown: LabLines) -> list[str]:
    if shown.field == "learned":
        lines = ["model = trainer.learned()"]
    elif shown.field == "exact":
        lines = ["model = lab2d.exact(target)"]
    elif not _drawn(shown):
        lines = ["known = trainer.source", "model = lab2d.exact(known)"]
    else:
        rng = f"np.random.default_rng([{shown.recipe.seed}, 2])"
        lines = [
            f"known = points_target(target.name, *lab2d.draw(target, {shown.points}, {rng}), target.classes)",
            "model = lab2d.exact(known)",
        ]
    if shown.kind == "auto" and shown.weight and shown.classes != "none":
        of = {"exact": "target", "empirical": "known"}.get(shown.field)
        weak = f"lab2d.exact(widened({of}, {shown.widened!r}))" if of else "trainer.learned(trainer.early)"
        lines.append(f"weak = {weak}")
    return lines


def _sampling(shown: LabLines) -> list[str]:
    more: dict[str, Any] = {"n": shown.n, "seed": shown.seed}
    if shown.classes != "all":
        more["classes"] = repr(shown.classes)
    if shown.weight and shown.classes != "none":
        more["weight"] = shown.weight
        if shown.interval:
            more["interval"] = shown.interval
        if shown.kind == "auto":
            more["weak"] = "weak"
    # What every reader looks for is said even where it is the default.
    said = {"sampler": repr(shown.plan.sampler), "steps": repr(shown.plan.steps), **changed(shown.plan)}
    plan = ", ".join(f"{name}={value}" for name, value in said.items())
    given = ", ".join(f"{name}={value}" for name, value in more.items())
    return [
        f"plan = lab2d.Plan({plan})",
        f"points, labels = lab2d.generate(model, target, plan, trainer.schedule, {given})",
    ]
