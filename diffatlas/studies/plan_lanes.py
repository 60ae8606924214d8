"""Lanes and cells: what the plans of all studies share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diffatlas.backends import model_info, schedulers
from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.guidance import METHODS, label_of
from diffatlas.library.study import Cell, Lane, Study, cell_key
from diffatlas.params import GenerationParams
from diffatlas.registry import ELSEWHERE, ELSEWHERE_NAMES, ModelEntry, RegistryError, find_model, list_models
from diffatlas.run import new_run_id, timestamp
from diffatlas.studies.plan_hosted import OWN as OWN_VALUES
from diffatlas.studies.plan_hosted import lane_words, own_values

MOST_LANES = 4
MOST_CELLS = 128
#: What a lane may set.
LANE_FIELDS = ("model", "scheduler", "guidance_method", "guidance_options", "backend", *OWN_VALUES)
#: How the plain form of guidance, and a model's own scheduler, are asked for by name.
PLAIN, OWN = "plain", "own"
_KEYS = "abcd"
_CLASS = re.compile(r"[A-Z][A-Za-z0-9]{0,60}Scheduler")


@dataclass(frozen=True)
class Column:
    """What one cell is, before it has a place. ``params`` are those of its lane and row, with the value set."""

    value: Any
    label: str
    caption: str
    params: GenerationParams


def lanes_of(
    base: GenerationParams,
    asked: Sequence[Mapping[str, Any]] = (),
    backend: str = "local",
    varied: Collection[str] = (),
) -> tuple[Lane, ...]:
    """Return the lanes of a study: "a" runs ``base`` as it is, and each of ``asked`` adds one that differs from it.

    asked: each a mapping of some of `LANE_FIELDS`. A scheduler "own" is the model's, a guidance method "plain" is
        none. A lane with another guidance method has that method's default options unless it gives some. A lane with
        another model takes that model's own size where ``base`` has the native size of its own. A lane on another
        backend has the first model of that backend unless it names one, and a hosted one has values of that model
        where it cannot follow ``base`` (`diffatlas.studies.plan_hosted.own_values`).
    backend: that of the lane "a", and of those that name none.
    varied: the fields that the study varies, which all lanes have in common.

    A lane is named by what tells it from the others.

    Raises `InvalidParams` for what ``base`` cannot be, and with the field "lanes" for more than `MOST_LANES` lanes,
    one that cannot be read, or one that equals another.
    """
    base.validate()
    if isinstance(asked, (str, Mapping)) or not all(isinstance(one, Mapping) for one in asked):
        raise _wrong("Each lane must say what it changes, such as a scheduler.")
    if len(asked) >= MOST_LANES:
        raise _wrong(f"A study has at most {MOST_LANES} lanes, the first included, not {len(asked) + 1}.")
    lanes = [Lane("a", "", backend)]
    for key, one in zip(_KEYS[1:], asked, strict=False):
        lanes.append(Lane(key, "", *_changes(base, one, backend, varied)))
    _check_different(base, lanes)
    return tuple(replace(lane, name=name) for lane, name in zip(lanes, _names(base, lanes), strict=True))


def params_of(base: GenerationParams, lane: Lane) -> GenerationParams:
    """Return ``base`` as a lane runs it. Cells are single images."""
    return base.replace(**{"num_images_per_prompt": 1, **lane.changes})


def lay_out(
    operation: str,
    title: str,
    spec: Mapping[str, Any],
    lanes: Sequence[Lane],
    rows: int,
    columns: int,
    make: Callable[[Lane, int, int], Column],
    field: str,
    most: int = MOST_CELLS,
) -> Study:
    """Return a study of ``rows`` x ``columns`` cells in each lane; ``make(lane, row, column)`` says what each is.

    spec: what was asked, with the request as "base". A caption also says what its lane has in place of it.

    Raises `InvalidParams` with ``field`` where that is more than ``most`` cells, and what ``make`` raises.
    """
    total, noun = len(lanes) * rows * columns, "bench" if operation == "bench" else "study"
    if total > most:
        raise InvalidParams(
            f"These are {total} cells ({_product(len(lanes), rows, columns)}): a {noun} has at most {most}.",
            field=field,
        )
    cells = []
    base = GenerationParams.from_dict(dict(spec["base"]))
    for lane in lanes:
        of_lane = lane_words(base, lane)
        for row in range(rows):
            for column in range(columns):
                made = make(lane, row, column)
                key = cell_key(lane.key, row, column)
                cells.append(
                    Cell(
                        key,
                        lane.key,
                        row,
                        column,
                        made.value,
                        made.label,
                        f"{made.caption} {of_lane}" if of_lane else made.caption,
                        made.params.validate(),
                    )
                )
    return Study(new_run_id(), operation, title, timestamp(), spec, tuple(lanes), tuple(cells))


def title_of(what: str, prompt: str, longest: int = 100) -> str:
    """Return a title: what is done, and to what."""
    words = f"{what}: {' '.join(prompt.split())}"
    return words if len(words) <= longest else words[: longest - 1].rstrip() + "…"


def hints(model: str, backend: str = "local") -> ModelEntry | None:
    """Return what the registry of a backend says of a model, else that of local models; None where neither has it.

    Of a backend that runs elsewhere only what it says itself: a model of this name may be another one here.
    """
    for provider in (backend,) if backend in ELSEWHERE else dict.fromkeys((backend, "local")):
        try:
            return find_model(model, provider)
        except DiffAtlasError:
            continue
    return None


def method_name(method: str | None, options: Mapping[str, float] | None = None) -> str:
    """Return a guidance method in a few words: "plain", "adaptive projected, eta 0.5"."""
    if method is None:
        return PLAIN
    label = label_of(method)
    # An acronym keeps its capitals.
    label = label if label[1:2].isupper() else label[0].lower() + label[1:]
    return ", ".join([label, *(f"{name} {number(value)}" for name, value in (options or {}).items())])


def method_named(name: Any, field: str) -> str | None:
    """Return the guidance method of this name, None for "plain". Raises `InvalidParams` with ``field``."""
    if name in (None, "", PLAIN):
        return None
    if not isinstance(name, str) or name not in METHODS:
        raise InvalidParams(
            f"There is no guidance method {name!r:.40}: choose from {', '.join([PLAIN, *METHODS])}.",
            field=field,
        )
    return name


def scheduler_named(name: Any, field: str) -> str | None:
    """Return the scheduler of this name, None for "own". Raises `InvalidParams` with ``field``.

    A class of diffusers may be named, too: some models have one as their own that has no shorter name.
    """
    if name in (None, "", OWN):
        return None
    if not isinstance(name, str) or not (name in schedulers.SCHEDULERS or _CLASS.fullmatch(name)):
        known = ", ".join([OWN, *schedulers.SCHEDULERS])
        raise InvalidParams(f"There is no scheduler {name!r:.40}: choose from {known}.", field=field)
    return name


def number(value: float) -> str:
    """Return a number without needless digits: "7.5", "12"."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def whole(field: str, label: str, value: Any, low: int, high: int) -> int:
    """Read a whole number from ``low`` to ``high``, 3.0 included. Raises `InvalidParams` with ``field``."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidParams(
            f"{label} is {value!r:.40}: give a whole number from {low} to {high}.", field=field
        )
    return value


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _changes(
    base: GenerationParams, asked: Mapping[str, Any], first: str, varied: Collection[str]
) -> tuple[str, dict[str, Any]]:
    """Return the backend of a lane, and the fields that it sets. first: the backend of ``base``."""
    unknown = [name for name in asked if name not in LANE_FIELDS]
    if unknown:
        raise _wrong(f"A lane cannot change {unknown[0]!r:.40}: it may set {', '.join(LANE_FIELDS)}.")
    changes = {name: value for name, value in asked.items() if name != "backend"}
    backend = asked.get("backend", first)
    if backend != first and isinstance(backend, str) and "model" not in changes:
        changes |= _first_model(backend)
    for name, value in (("backend", backend), ("model", changes.get("model", base.model))):
        if not isinstance(value, str) or not value.strip():
            raise _wrong(f"The {name} of a lane is {value!r:.40}: give its name.")
    if "scheduler" in changes:
        changes["scheduler"] = scheduler_named(changes["scheduler"], "lanes")
    if "guidance_method" in changes:
        changes["guidance_method"] = method_named(changes["guidance_method"], "lanes")
        same = changes["guidance_method"] == base.guidance_method
        changes.setdefault("guidance_options", base.guidance_options if same else None)
    if changes.get("guidance_options") == {}:
        changes["guidance_options"] = None
    if changes.get("model", base.model) != base.model:
        # What says which files of the base's model are meant, and what was trained for it.
        changes |= {name: None for name in ("variant", "revision", "subfolder") if getattr(base, name)}
        changes |= {"loras": ()} if base.loras else {}
        if _has_native_size(base, first):
            changes = {"width": None, "height": None, **changes}
    try:
        params = base.replace(**changes).validate()
        changes |= own_values(params, backend, {*varied, *asked})
        base.replace(**changes).validate()
    except InvalidParams as error:
        raise _wrong(f"One lane cannot run: {error.message}") from error
    return backend, changes


def _first_model(backend: str) -> dict[str, str]:
    """Return the model that a backend offers first, as a change; none for a backend without a registry."""
    try:
        return {"model": list_models(backend)[0].id}
    except (RegistryError, IndexError):
        return {}


def _has_native_size(base: GenerationParams, backend: str) -> bool:
    entry = hints(base.model, backend)
    return entry is not None and {base.width, base.height} <= {entry.size, None}


def _check_different(base: GenerationParams, lanes: Sequence[Lane]) -> None:
    seen: dict[str, Lane] = {}
    for lane in lanes:
        params = params_of(base, lane)
        own = params.scheduler or (_own_scheduler(params.model) if lane.backend == "local" else None)
        key = f"{lane.backend} {params.replace(scheduler=own).canonical_json()}"
        if key in seen:
            raise _wrong(
                f"Lanes {seen[key].key} and {lane.key} are the same: let each lane differ in its model, scheduler, "
                "guidance method or backend."
            )
        seen[key] = lane


def _names(base: GenerationParams, lanes: Sequence[Lane]) -> list[str]:
    params = [params_of(base, lane) for lane in lanes]
    parts = [
        [_model_name(p.model, lane.backend) for p, lane in zip(params, lanes, strict=True)],
        [_scheduler_name(p, lane) for p, lane in zip(params, lanes, strict=True)],
        [method_name(p.guidance_method, p.guidance_options) for p in params],
        ["1 step" if p.num_inference_steps == 1 else f"{p.num_inference_steps} steps" for p in params],
        [f"g {number(p.guidance_scale)}" for p in params],
        [ELSEWHERE_NAMES.get(lane.backend, lane.backend) for lane in lanes],
    ]
    # Two models' own schedulers are not what anybody asked to compare.
    if len({p.scheduler for p in params}) == 1:
        del parts[1]
    telling = [part for part in parts if len(set(part)) > 1] or parts[:1]
    names = [", ".join(words) for words in zip(*telling, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name} ({lane.key})" for name, lane in zip(names, lanes, strict=True)]
    return names


def _model_name(model: str, backend: str) -> str:
    entry = hints(model, backend)
    return entry.name if entry else model.rstrip("/").rpartition("/")[2] or model


def _scheduler_name(params: GenerationParams, lane: Lane) -> str:
    if params.scheduler:
        return params.scheduler
    return (_own_scheduler(params.model) if lane.backend == "local" else None) or "own scheduler"


def _own_scheduler(model: str) -> str | None:
    """The name of a local model's own scheduler; None for a model of the Hub, which may have to be fetched first."""
    try:
        folder = model_info.find_source(model).folder
        return schedulers.own_name(model_info.scheduler_config(folder)) if folder else None
    except (DiffAtlasError, OSError):
        return None


def _product(*factors: int) -> str:
    names = ("lanes", "seeds", "columns")
    return " x ".join(f"{n} {name}" for n, name in zip(factors, names, strict=True) if n > 1)


def _wrong(message: str) -> InvalidParams:
    return InvalidParams(message, field="lanes")
