"""A guidance sweep, and sweeps of other fields: the same request over a list of values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from diffatlas.errors import InvalidParams
from diffatlas.guidance import METHODS
from diffatlas.library.study import FIELDS, Lane, Study
from diffatlas.params import GenerationParams
from diffatlas.registry import HOSTED
from diffatlas.request import MAX_GUIDANCE, MAX_SEED, MAX_STEPS
from diffatlas.studies.plan_hosted import INPUTS, not_sent
from diffatlas.studies.plan_lanes import (
    OWN,
    PLAIN,
    Column,
    hints,
    is_number,
    lanes_of,
    lay_out,
    method_name,
    method_named,
    number,
    params_of,
    scheduler_named,
    title_of,
    whole,
)

MOST_VALUES = 32
MOST_SEEDS = 8
#: The guidance that most models are used with, where the registry does not say.
USUAL_GUIDANCE = 7.5
USUAL_STEPS = 30
#: What is swept where no values are given. Those of "seed" follow the seed that was asked for.
DEFAULT_VALUES: dict[str, tuple[Any, ...]] = {
    "guidance_scale": (1.0, 4.0, 7.5, 12.0, 18.0),
    "guidance_method": (None, *METHODS),
    "num_inference_steps": (5, 10, 20, 30, 50),
    "scheduler": ("ddim", "euler", "dpm++_2m", "unipc"),
}
FIELD_NAMES = {
    "guidance_scale": "Guidance scale",
    "guidance_method": "Guidance method",
    "num_inference_steps": "Steps",
    "scheduler": "Scheduler",
    "seed": "Seed",
}
GUIDANCE_OFF = (
    "Guidance is off: diffusers applies it only above 1, so this is the conditional prediction alone."
)
SCHEDULER_CAPTIONS = {
    "ddim": "a first-order step that adds no noise (DDIM).",
    "ddpm": "the reverse of the training's own noise process, with fresh noise at every step (DDPM).",
    "pndm": "a linear multistep method of fourth order that adds no noise (PNDM).",
    "lms": "a linear multistep method that adds no noise (LMS).",
    "euler": "Euler's first-order steps along the probability-flow ODE, without added noise.",
    "euler_a": "Euler's steps with fresh noise after each (ancestral).",
    "heun": "Heun's second-order steps: two denoiser calls for most of them, without added noise.",
    "dpm++_2m": "a second-order multistep solver of the ODE, without added noise (DPM-Solver++ 2M).",
    "dpm++_2m_sde": "a second-order multistep solver of the SDE, with fresh noise at every step (DPM-Solver++ 2M SDE).",
    "unipc": "a predictor and corrector of second order, without added noise (UniPC).",
    "lcm": "the sampler of latent consistency models: it predicts the end and adds noise again at every step.",
    "flow_euler": "Euler's first-order steps along the flow.",
    "flow_heun": "Heun's second-order steps along the flow: two denoiser calls for most of them.",
    "flow_dpm++_2m": "a second-order multistep solver on the flow's noise levels (DPM-Solver++ 2M).",
    "flow_unipc": "a predictor and corrector of second order on the flow's noise levels (UniPC).",
}
_APART = re.compile(r"[,;\s]+")


def plan_sweep(
    base: GenerationParams,
    field: str,
    values: Sequence[Any] | str | None = None,
    *,
    seeds: int = 1,
    lanes: Sequence[Any] = (),
    exact: bool = False,
    backend: str = "local",
) -> Study:
    """Return a study with a column for each value of ``field``, a row for each seed, and a lane for each of ``lanes``.

    base: the request; ``field`` takes each of the values in turn, all else stays. Cells are single images.
    field: one of `diffatlas.library.study.FIELDS`.
    values: see `parse_values`; None for `DEFAULT_VALUES`.
    seeds: rows 0, 1, ... run with seed, seed + 1, ...; 1 to `MOST_SEEDS`, and 1 where the seed is swept.
    lanes: what further lanes change (`diffatlas.studies.plan_lanes.lanes_of`); not what is swept.
    exact: whether every cell runs alone, bit-equal to a single run, rather than in a batch.
    backend: where ``base`` runs.

    ``spec`` has field, values, seeds, exact, and baseline: the column that others are compared with. For guidance
    scales it is the one nearest the model's own guidance (the registry's hint, else `USUAL_GUIDANCE`), else the first.

    Raises `InvalidParams` with the field "field", "values", "seeds" or "lanes", or that of ``base`` that is wrong.
    """
    base.validate()
    if field not in FIELDS:
        raise InvalidParams(
            f"{field!r:.40} cannot be swept: choose one of {', '.join(FIELDS)}.", field="field"
        )
    chosen = _default_values(base, field) if values is None else parse_values(field, values)
    rows = whole("seeds", "The number of seeds", seeds, 1, MOST_SEEDS)
    if field == "seed" and rows > 1:
        raise InvalidParams("The seed is what is swept, so there is one row: set seeds to 1.", field="seeds")
    if base.seed + rows - 1 > MAX_SEED:
        raise InvalidParams(f"The last seed would be above {MAX_SEED}: give a smaller one.", field="seed")
    all_lanes = lanes_of(base, lanes, backend, {field})
    for lane in all_lanes:
        if field in lane.changes and lane.changes[field] != getattr(base, field):
            raise InvalidParams(
                f"The {FIELD_NAMES[field].lower()} is what is swept, so a lane cannot set it.", field="lanes"
            )

    def make(lane: Lane, row: int, column: int) -> Column:
        value = chosen[column]
        params = params_of(base, lane)
        params = params.replace(seed=params.seed + row)
        params = _with_value(params, field, value)
        return Column(value, label_of(field, value), caption_of(field, value, params, lane.backend), params)

    spec = {
        "field": field,
        "values": list(chosen),
        "seeds": rows,
        "exact": bool(exact),
        "baseline": _baseline(base, field, chosen, backend),
        "base": base.to_dict(),
    }
    title = title_of(f"{FIELD_NAMES[field]} {_range(field, chosen)}", base.prompt)
    return lay_out("sweep", title, spec, all_lanes, rows, len(chosen), make, "seeds")


def parse_values(field: str, given: Sequence[Any] | str) -> tuple[Any, ...]:
    """Read the values of a sweep: a list, or text with commas, semicolons or spaces between them.

    Guidance scales are numbers from 0 to 100, steps and seeds whole numbers, schedulers and guidance methods names;
    None (or "own", "plain") stands for the model's own scheduler and for plain guidance. The order is kept.

    Raises `InvalidParams` with the field "values" for one that cannot be read, two that are the same, none, or more
    than `MOST_VALUES`.
    """
    if isinstance(given, str):
        items: list[Any] = [word for word in _APART.split(given) if word]
    elif isinstance(given, Sequence):
        items = list(given)
    else:
        raise _wrong("The values must be a list, or text with commas between them.")
    if not 1 <= len(items) <= MOST_VALUES:
        what = f"{len(items)} were given" if items else "there are none"
        raise _wrong(f"Give 1 to {MOST_VALUES} values with commas between them: {what}.")
    values = tuple(_READ[field](item) for item in items)
    for at, value in enumerate(values):
        if value in values[:at]:
            raise _wrong(f"The value {_plain(field, value)} is given twice: give each one once.")
    return values


def label_of(field: str, value: Any) -> str:
    """Return a value in a few characters: "g 7.5", "20 steps", "euler", "seed 9", "adaptive projected"."""
    if field == "guidance_scale":
        return f"g {number(value)}"
    if field == "num_inference_steps":
        return _steps(value)
    if field == "seed":
        return f"seed {value}"
    if field == "guidance_method":
        return method_name(value)
    return "own scheduler" if value is None else value


def caption_of(field: str, value: Any, params: GenerationParams, backend: str = "local") -> str:
    """Return what a value means, and what is usual of it, in plain English. ``params`` are those of the cell.

    It is what can be said before anything ran: `diffatlas.studies.words_measured` says what came of it.
    """
    return " ".join(filter(None, _caption(field, value, params, backend)))


def asked_of(field: str, value: Any, params: GenerationParams, backend: str = "local") -> str:
    """Return what a value means alone, without what is usual of it: see `caption_of`."""
    return _caption(field, value, params, backend)[0]


def _caption(field: str, value: Any, params: GenerationParams, backend: str) -> tuple[str, str | None]:
    entry = hints(params.model, backend)
    if field in not_sent(params.model, backend):
        return f"It is not sent: {entry.name if entry else params.model} takes no {INPUTS[field][1]}.", None
    if field == "seed" and backend in HOSTED:
        return f"Seed {value}, from which the provider draws its noise; all else is the same.", None
    if field == "guidance_scale" and backend in HOSTED:
        usual = f" The model's usual value is {number(entry.guidance)}." if entry and entry.guidance else ""
        return (
            f"A guidance scale of {number(value)} is sent; what it does is the provider's own.{usual}",
            None,
        )
    if field == "guidance_scale":
        return _about_guidance(value, entry.guidance if entry else None, params.guidance_method)
    if field == "num_inference_steps":
        return _about_steps(value, (entry.steps if entry else None) or USUAL_STEPS)
    if field == "seed":
        return f"Other noise: x_T is drawn from seed {value}, all else is the same.", None
    if field == "guidance_method":
        if not params.guided and not _perturbs(value):
            return GUIDANCE_OFF, None
        about = "Plain guidance: uncond + g (cond - uncond), the same at every step."
        return about if value is None else METHODS[value].about, None
    if value is None:
        return "The scheduler that the model comes with.", None
    known = SCHEDULER_CAPTIONS.get(value)
    return f"{known[0].upper()}{known[1:]}" if known else f"The scheduler {value} of diffusers.", None


def _about_guidance(g: float, own: float | None, method: str | None) -> tuple[str, str | None]:
    if g <= 1 and _perturbs(method):
        return (
            "Guidance by the prompt is off: diffusers applies it only above 1. The method "
            f"{METHODS[method].label!r} acts all the same.",
            None,
        )
    if g <= 1:
        return GUIDANCE_OFF, None
    times = f"The prompt's pull, cond - uncond, is taken {number(g)} times"
    if method is not None:
        times = f"Guidance by the method {METHODS[method].label!r} at scale {number(g)}"
    if own is not None and own <= 1:
        return f"{times}; this model is made to run without guidance.", None
    usual = own or USUAL_GUIDANCE
    ratio = g / usual
    if ratio < 0.6:
        return (
            f"{times}, less than the usual {number(usual)}.",
            "At such a scale the prompt usually binds loosely.",
        )
    if ratio <= 1.5:
        near = "the usual value" if g == usual else f"near the usual {number(usual)}"
        return f"{times}, {near} for this model.", None
    if ratio <= 2.5:
        return (
            f"{times}, more than the usual {number(usual)}.",
            "At such a scale colours and contrast usually rise.",
        )
    return (
        f"{times}, far more than the usual {number(usual)}.",
        "At such a scale saturation usually rises, and colours may clip.",
    )


def _about_steps(steps: int, usual: int) -> tuple[str, str | None]:
    taken = f"The path from noise to image is taken in {_steps(steps)}"
    if steps < 0.6 * usual:
        return (
            f"{taken}, fewer than the usual {usual}: each is longer.",
            "The error of each is usually larger.",
        )
    if steps <= 1.5 * usual:
        near = "the usual number" if steps == usual else f"near the usual {usual}"
        return f"{taken}, {near} for this model.", None
    return f"{taken}, more than the usual {usual}: each is shorter and costs the same.", None


def _perturbs(method: str | None) -> bool:
    """Whether a method acts without guidance by the prompt, too."""
    return method is not None and METHODS[method].perturbs


def _with_value(params: GenerationParams, field: str, value: Any) -> GenerationParams:
    if field == "guidance_method" and value != params.guidance_method:
        # Options belong to the method that they were given for.
        return params.replace(guidance_method=value, guidance_options=None)
    return params.replace(**{field: value})


def _baseline(base: GenerationParams, field: str, values: Sequence[Any], backend: str) -> int:
    if field != "guidance_scale":
        return 0
    entry = hints(base.model, backend)
    own = USUAL_GUIDANCE if entry is None or entry.guidance is None else entry.guidance
    return min(range(len(values)), key=lambda column: (abs(values[column] - own), values[column]))


def _default_values(base: GenerationParams, field: str) -> tuple[Any, ...]:
    if field == "seed":
        first = min(base.seed, MAX_SEED - 4)
        return tuple(range(first, first + 5))
    return DEFAULT_VALUES[field]


def _range(field: str, values: Sequence[Any]) -> str:
    words = [_plain(field, value) for value in values]
    if field in ("scheduler", "guidance_method") or len(words) <= 5:
        return ", ".join(words) if len(words) <= 5 else f"{words[0]} and {len(words) - 1} others"
    return f"{_plain(field, min(values))} to {_plain(field, max(values))}"


def _plain(field: str, value: Any) -> str:
    if value is None:
        return OWN if field == "scheduler" else PLAIN
    return number(value) if is_number(value) else str(value)


def _steps(n: int) -> str:
    return "1 step" if n == 1 else f"{n} steps"


def _scale(item: Any) -> float:
    try:
        value = float(item) if not isinstance(item, bool) else None
    except (TypeError, ValueError, OverflowError):
        value = None
    if value is None:
        raise _wrong(f"{item!r:.40} is not a number: give guidance scales such as 1, 4, 7.5.")
    if not is_number(value) or not 0 <= value <= MAX_GUIDANCE:
        raise _wrong(
            f"The guidance scale {str(item)[:40]} is out of range: give numbers from 0 to {MAX_GUIDANCE:g}."
        )
    return value + 0.0


def _count(name: str, low: int, high: int) -> Any:
    def read(item: Any) -> int:
        if isinstance(item, str):
            if not re.fullmatch(r"[+-]?[0-9]{1,30}", item):
                raise _wrong(f"{item!r:.40} is not a whole number: give {name} such as 10, 20, 30.")
            item = int(item)
        return whole("values", f"One of the {name}", item, low, high)

    return read


_READ = {
    "guidance_scale": _scale,
    "num_inference_steps": _count("numbers of steps", 1, MAX_STEPS),
    "seed": _count("seeds", 0, MAX_SEED),
    "scheduler": lambda item: scheduler_named(item, "values"),
    "guidance_method": lambda item: method_named(item, "values"),
}


def _wrong(message: str) -> InvalidParams:
    return InvalidParams(message, field="values")
