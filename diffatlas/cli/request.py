"""The options by which a command of the shell asks a model for images, and the request that they make."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffatlas.cli.opened import opened
from diffatlas.errors import InvalidParams, UnknownModel
from diffatlas.params import GenerationParams, Lora
from diffatlas.request import FIELDS, LORAS, NUMBER, OPTIONS, SIZE, WHOLE, Field, named

if TYPE_CHECKING:
    import threading

    from diffatlas.capture.spec import Capture
    from diffatlas.library import Library
    from diffatlas.library.study import Study
    from diffatlas.registry import ModelEntry

#: What a command is asked of a request, by the names of `GenerationParams`.
Request = Mapping[str, Any]
#: As the registry has it for the model, where the shell does not say.
_OF_MODEL = ("num_inference_steps", "guidance_scale")
#: As the backend has it, where the shell does not say.
_OPEN = ("model", *_OF_MODEL)
_TYPES: dict[str, Any] = {WHOLE: int, SIZE: int, NUMBER: float, OPTIONS: list[str], LORAS: list[str]}


def takes_request(
    single: bool = False, prompted: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that gives a command the prompt and the options of a request for its argument ``asked``.

    ``asked`` is a mapping of them by the names of `GenerationParams`, as `request` takes it. single: whether the
    command makes single runs. prompted: whether it takes a prompt.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        options = {
            part: each
            for field in FIELDS
            if prompted or field.name != "prompt"
            for part, each in _options(field, single)
        }
        signature = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for own in signature.parameters.values():
            parameters += options.values() if own.name == "asked" else [own]

        @functools.wraps(command)
        def run(**values: Any) -> Any:
            asked = {part: values.pop(option.name) for part, option in options.items()}
            return command(asked=asked, **values)

        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def _options(field: Field, single: bool) -> Iterator[tuple[str, inspect.Parameter]]:
    """Yield the parameters of a command that ask for a field, each with the name of what it sets."""
    if field.name == "prompt":
        yield "prompt", _parameter("prompt", Annotated[str, typer.Argument(help=field.help)])
    if not field.flags or (field.single and not single):
        return
    defaults = {each.name: each.default for each in dataclasses.fields(GenerationParams)}
    for index, part in enumerate(field.parts):
        flags = field.flags[index : index + 1] if len(field.parts) > 1 else field.flags
        default = None if field.kind == LORAS or part in _OPEN else defaults[part]
        name = flags[0].removeprefix("--").replace("-", "_")
        yield part, _parameter(name, option(field, flags, default is None), default)


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def option(field: Field, flags: Sequence[str] = (), optional: bool = True) -> Any:
    """Return the type by which a command takes a field. flags: those of the field where empty."""
    kind = _TYPES.get(field.kind, str)
    told = typer.Option(*(flags or field.flags), help=field.help, metavar=field.metavar)
    return Annotated[kind | None, told] if optional else Annotated[kind, told]


Backend = Annotated[
    str, typer.Option("--backend", help="Where it runs: local, or another of `diffatlas backends`.")
]
Yes = Annotated[
    bool, typer.Option("--yes", help="Pay for many images of hosted models without being asked again.")
]
Variant, Revision, Subfolder = (option(named(name)) for name in ("variant", "revision", "subfolder"))
StartImage = Annotated[
    Path | None,
    typer.Option(
        "--image",
        metavar="FILE",
        help="A picture to begin from, or that the model's ControlNet holds to; cropped to --width and --height.",
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="With --image: paint anew where this is white (inpainting)."),
]
Strength = Annotated[
    float | None,
    typer.Option(
        help="With --image: how much noise it gets, above 0 to 1, or how firmly it is held to. Default: the model's."
    ),
]
Previews = Annotated[str, typer.Option(help="off, every, or N for every Nth step.")]
Attention = Annotated[
    str, typer.Option(help="off, cross (what each word looks at), self (places at each other) or all.")
]
AttentionLayers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GLOB", help="Layers of it, such as mid or 'up_blocks.1.*'; may be repeated. Default: all."
    ),
]
AttentionMaxLayers = Annotated[
    int | None, typer.Option(help="At most so many layers of each kind, spread over the depth. Default: all.")
]
AttentionEvery = Annotated[int | None, typer.Option(help="Every Nth step of it. Default: every step.")]
AttentionHeads = Annotated[str | None, typer.Option(help="mean over the heads, or each. Default: mean.")]
AttentionHalves = Annotated[
    str | None, typer.Option(help="cond (the pass for the prompt), or both of guidance. Default: cond.")
]
AttentionResolution = Annotated[
    int | None, typer.Option(help="Longest side of the grid of self-attention. Default: 32.")
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str | None, typer.Option(help="auto, fp32, fp16 or bf16.")]
IgnoreMemory = Annotated[bool, typer.Option(help="Load the model even where it is expected not to fit.")]
Anyway = Annotated[
    bool, typer.Option("--anyway", help="Run even what is expected to take longer than the bound.")
]
_OR_ANYWAY = ", or add --anyway"


def within_bounds(
    backend: Any, params: GenerationParams, capture: Capture, library: Library | None, stop: threading.Event
) -> None:
    """Raise `OverBound` where a run is expected to take more than the settings allow (`diffatlas.settings`).

    library: which would serve the run where it has it; None where it runs in any case.
    """
    from diffatlas.backends.bounds import bounds_here
    from diffatlas.operations.expected import expected

    bounds = bounds_here(shared=False)
    # To know what a run takes, its model is tried out.
    if bounds.any:
        bounds.check(expected(backend, [params], capture, library, stop, bounds), _OR_ANYWAY)


def study_within_bounds(
    backend: Any, study: Study, capture: Capture, library: Library | None, stop: threading.Event
) -> None:
    """Raise `OverBound` as `within_bounds` does, for the cells of a study that are to run."""
    from diffatlas.backends.bounds import bounds_here
    from diffatlas.operations.expected import expected_of_study

    bounds = bounds_here(shared=False).in_parts()
    if bounds.any:
        found = expected_of_study(backend, study, capture, library, stop, bounds=bounds)
        bounds.check(found, _OR_ANYWAY)


def request(asked: Request, backend: str = "local") -> GenerationParams:
    """Return what the options of `takes_request` ask for. Raises `InvalidParams` for what no model could do.

    backend: whose first model it is where none is named, and whose registry has the model's steps and guidance.
    """
    values = {name: value for name, value in asked.items() if name not in _OPEN}
    for field in FIELDS:
        if field.kind == OPTIONS and field.name in values:
            values[field.name] = method_options(values[field.name] or ())
        elif field.kind == LORAS and field.name in values:
            values[field.name] = tuple(lora_named(text) for text in values[field.name] or ())
    check_backend(backend)
    model = first_model(backend) if asked["model"] is None else asked["model"]
    first = first_values(model, *(asked[name] for name in _OF_MODEL), backend)
    return GenerationParams(model=model, **values, **first).validate()


def check_backend(name: str) -> None:
    """Raise `InvalidParams` for a backend that there is not."""
    from diffatlas.registry import ELSEWHERE, HOSTED

    if name not in ("local", *ELSEWHERE, *HOSTED):
        known = ", ".join(("local", *ELSEWHERE, *HOSTED))
        raise InvalidParams(f"There is no backend {name!r:.40}: choose from {known}.", field="backend")


def first_model(backend: str) -> str:
    """Return the id of the model that a backend has where none is named."""
    if backend == "local":
        return GenerationParams.model
    models = models_of(backend)
    if not models:
        raise InvalidParams(f"The backend {backend!r} lists no model: name one with --model.", field="model")
    return models[0].id


def models_of(backend: str) -> list[ModelEntry]:
    """Return the models of a backend, its first one first; one that runs elsewhere is asked.

    Raises `diffatlas.errors.CapabilityError` where it cannot be used here, and what it raises.
    """
    from diffatlas.registry import ELSEWHERE, list_models, note_models

    known = list_models(backend)
    if known or backend not in ELSEWHERE:
        return known
    return note_models(backend, opened(backend).models())


def pictures(
    params: GenerationParams,
    image: Path | None,
    mask: Path | None,
    strength: float | None,
    backend: str = "local",
) -> GenerationParams:
    """Return a request with the pictures that files hold. Raises `InvalidParams` for files that hold none.

    And as `diffatlas.backends.tasks.with_picture` does. A hosted backend takes none; one that runs elsewhere says
    itself what its model takes, as it runs.
    """
    from diffatlas.registry import HOSTED

    if backend in HOSTED and (image, mask, strength) != (None, None, None):
        raise InvalidParams(
            "--image, --mask and --strength are not for these: hosted models are given a prompt alone.",
            field="inputs",
        )
    if image is None:
        if mask is not None or strength is not None:
            raise InvalidParams(
                "--mask and --strength are for a picture: give --image as well.", field="inputs"
            )
        return params
    picture = _opened(image, "RGB")
    painted = None if mask is None else _opened(mask, "L")
    from diffatlas.backends import tasks
    from diffatlas.operations.trace import shared_local_backend

    takes = shared_local_backend().takes_picture(params.model) if backend == "local" else tasks.USUAL
    return tasks.with_picture(params, picture, painted, strength, takes)


def _opened(path: Path, mode: str) -> Any:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.convert(mode)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidParams(f"{path} is not a picture that can be read.", field="inputs") from error


def first_values(
    model: str, steps: int | None, guidance: float | None, backend: str = "local"
) -> dict[str, int | float]:
    """Return steps and guidance: as asked, else the registry's, else those of `GenerationParams`."""
    from diffatlas.registry import find_model

    models_of(backend)
    try:
        entry = find_model(model, backend)
    except UnknownModel:
        entry = None
    asked = {"num_inference_steps": steps, "guidance_scale": guidance}
    hints = {"num_inference_steps": entry and entry.steps, "guidance_scale": entry and entry.guidance}
    values = {name: hints[name] if value is None else value for name, value in asked.items()}
    return {name: value for name, value in values.items() if value is not None}


def lora_named(text: str) -> Lora:
    """Return the LoRA that "path" or "path:weight" names; other colons belong to the path."""
    path, colon, weight = text.rpartition(":")
    try:
        return Lora(path, float(weight)) if colon else Lora(text)
    except ValueError:
        return Lora(text)


def method_options(pairs: Sequence[str]) -> dict[str, float] | None:
    """Return the options of a guidance method from "name=value" texts, or None for none."""
    found = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        try:
            if not sign or name.strip() in found:
                raise ValueError
            found[name.strip()] = float(value)
        except ValueError:
            raise InvalidParams(
                f"The guidance option {pair!r} cannot be read: give each once, as name=number.",
                field="guidance_options",
            ) from None
    return found or None


def attention(
    kind: str,
    layers: Sequence[str] | None,
    max_layers: int | None,
    every: int | None,
    heads: str | None,
    halves: str | None,
    resolution: int | None,
) -> dict[str, Any]:
    """Return the fields of `Capture` that the options for attention ask for.

    Raises `InvalidParams` where they say how to capture attention that is off.
    """
    asked = {
        "attention_layers": tuple(layers) if layers else None,
        "attention_max_layers": max_layers,
        "attention_every": every,
        "attention_heads": heads,
        "attention_halves": halves,
        "attention_resolution": resolution,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if kind == "off" and given:
        name = next(iter(given))
        raise InvalidParams(
            f"--{name.replace('_', '-')} is given, but attention is off: add --attention cross, self or all.",
            field=name,
        )
    return {"attention": kind, **given}


def capture(previews: str) -> Capture:
    """Return what to record, by the option for previews."""
    from diffatlas.capture.spec import Capture

    return Capture(previews=int(previews) if previews.isdecimal() else previews)
