"""The lines of Python that make a run or a study again, from what was asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from diffatlas.capture.spec import Capture
from diffatlas.errors import DiffAtlasError
from diffatlas.formats.named import plain
from diffatlas.formats.told import in_memory
from diffatlas.library.study import Lane, Study
from diffatlas.params import GenerationParams, Lora, Noise
from diffatlas.registry import ELSEWHERE, HOSTED
from diffatlas.studies.plan_lanes import LANE_FIELDS

#: Neither address nor token of another Atlas is in a run.
OF_REMOTE = "# The other Atlas is that of DIFFATLAS_REMOTE_URL, and its token that of DIFFATLAS_REMOTE_TOKEN."
#: Of a study's spec, what its plan takes by another name or works out by itself.
_PLANNED = ("base", "baseline", "field", "values", "mode", "lanes")
NO_SEED = (
    "# The noise of this run came from no known seed, so nothing that is asked for gives it again.\n"
    "# What was recorded is in the library.\n"
    "import diffatlas\n\n"
    "run = diffatlas.Library().load({id!r})\n"
)


def run_code(
    params: GenerationParams, capture: Mapping[str, Any], provenance: Mapping[str, Any], run_id: str = ""
) -> str:
    """Return the lines that make a run: imports, the request, what is captured, and the run.

    capture: as a run stores it. Pictures that the request was given are read from files named after them, which are
    in the run's folder. Of a run on a pipeline in memory the lines take it as ``pipe``.
    """
    if params.seed is None:
        return NO_SEED.format(id=run_id)
    watched, unread = _watched(capture)
    held = bool(in_memory(provenance))
    other = provenance.get("backend") in (*HOSTED, *ELSEWHERE)
    place = ", backend=backend" if held else f", backend={provenance['backend']!r}" if other else ""
    backend = ["", "# The pipeline that was in memory: yours."] if held else []
    backend += [OF_REMOTE] if provenance.get("backend") == "remote" else []
    if held:
        backend.append(f'backend = diffatlas.open_backend("local", pipe=pipe, name={params.model!r})')
    lines = [
        *_imports(params, ["Capture", "GenerationParams"]),
        "",
        f"params = {_request(params)}",
        *unread,
        f"capture = {_call('Capture', changed(watched))}",
        *backend,
        f"run = diffatlas.trace(params, capture{place})",
    ]
    return "\n".join(["import diffatlas", *lines]) + "\n"


def study_code(study: Study) -> str:
    """Return the lines that make a study: its plan, and its cells run into the library."""
    base = GenerationParams.from_dict(dict(study.spec["base"]))
    plan = f"plan_{study.operation}"
    spec = {name: value for name, value in study.spec.items() if name not in _PLANNED}
    backend = study.lanes[0].backend
    if backend != "local":
        spec["backend"] = backend
    lanes = [_lane(lane, backend) for lane in study.lanes[1:]]
    if lanes:
        spec["lanes"] = lanes
    first = [study.spec[name] for name in ("field", "values", "mode") if name in study.spec]
    given = [*(repr(value) for value in first), *(f"{name}={value!r}" for name, value in spec.items())]
    lines = [
        *_imports(base, ["Capture", "GenerationParams", "Library", "open_backend"]),
        f"from diffatlas.studies.{plan} import {plan}",
        "from diffatlas.studies.run import StudyChanged, run_study",
        "",
        *([OF_REMOTE] if any(lane.backend == "remote" for lane in study.lanes) else []),
        f"base = {_request(base)}",
        f"study = {plan}(base, {', '.join(given)})",
        "for event in run_study(study, open_backend, Library(), Capture()):",
        "    if isinstance(event, StudyChanged):",
        "        study = event.study",
    ]
    return "\n".join(lines) + "\n"


def _watched(capture: Mapping[str, Any]) -> tuple[Capture, list[str]]:
    """Return what was captured, and a line of comment where another version's run has what this one does not know."""
    try:
        return Capture.from_dict(dict(capture)), []
    except DiffAtlasError as error:
        return Capture(), [f"# What was captured cannot be asked of this version. {plain(error.message)}"]


def _lane(lane: Lane, first: str) -> dict[str, Any]:
    """Return what a lane is asked for with; what follows from that is left out. first: the backend of the first."""
    asked = {name: value for name, value in lane.changes.items() if name in LANE_FIELDS}
    return {**({} if lane.backend == first else {"backend": lane.backend}), **asked}


def _imports(params: GenerationParams, names: list[str]) -> list[str]:
    named = sorted([*names, *(["ImageInput"] if params.inputs else []), *(["Lora"] if params.loras else [])])
    lines = [f"from diffatlas import {', '.join(named)}"]
    if params.noise is not None:
        lines.append("from diffatlas.params import Noise")
    return [*(["from PIL import Image", ""] if params.inputs else []), *lines]


def _request(params: GenerationParams) -> str:
    given = changed(params)
    if params.loras:
        given["loras"] = f"({', '.join(_lora(lora) for lora in params.loras)},)"
    if params.noise is not None:
        given["noise"] = _noise(params.noise)
    if params.inputs:
        pictures = (
            f"ImageInput.of({one.name!r}, {_opened(index, one.mode)}{_place(one.place)})"
            for index, one in enumerate(params.inputs)
        )
        given["inputs"] = f"({', '.join(pictures)},)"
    if params.extra:
        given["extra"] = repr(dict(params.extra))
    if params.guidance_options:
        given["guidance_options"] = repr(dict(params.guidance_options))
    # What every reader looks for is said even where it is the default.
    said = {name: repr(getattr(params, name)) for name in ("model", "prompt", "seed")}
    return _call("GenerationParams", {**said, **given})


def _call(name: str, arguments: Mapping[str, str]) -> str:
    if not arguments:
        return f"{name}()"
    inside = "".join(f"    {key}={value},\n" for key, value in arguments.items())
    return f"{name}(\n{inside})"


def changed(thing: Any) -> dict[str, str]:
    """Return the fields of a frozen data class that are not at their defaults, as Python spells them."""
    return {
        field.name: repr(getattr(thing, field.name))
        for field in fields(thing)
        if getattr(thing, field.name) != field.default
    }


def _lora(lora: Lora) -> str:
    return f"Lora({lora.path!r}, {lora.weight!r})"


def _noise(noise: Noise) -> str:
    step = f", step={noise.step}" if noise.step else ""
    return f"Noise({noise.kind!r}, seed={noise.seed}, amount={noise.amount!r}{step})"


def _opened(index: int, mode: str) -> str:
    return f'Image.open("input_{index:02d}.png"){".convert(" + repr(mode) + ")" if mode == "1" else ""}'


def _place(place: Iterable[int]) -> str:
    where = tuple(place)
    return f", {where!r}" if where else ""
