"""The options by which a command of the shell asks a model for images, and the request that they make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffatlas.errors import InvalidParams, UnknownModel

if TYPE_CHECKING:
    import threading

    from diffatlas.capture.spec import Capture
    from diffatlas.library import Library
    from diffatlas.library.study import Study
    from diffatlas.params import GenerationParams, Lora

Prompt = Annotated[str, typer.Argument(help="What the image should show.")]
Model = Annotated[
    str, typer.Option(help="An id of `diffatlas models` or of the Hub (user/name), or a pipeline folder.")
]
Variant = Annotated[
    str | None,
    typer.Option(help="Which of several sets of weight files, such as fp16. Default: the model's."),
]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of a model of the Hub. Default: the newest.")
]
Subfolder = Annotated[
    str | None, typer.Option(help="Where the pipeline is in its repository or folder. Default: the top.")
]
Loras = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="PATH[:WEIGHT]",
        help="A LoRA: a .safetensors file, or user/name[:file] of the Hub; may be repeated. Weight: 1.",
    ),
]
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
NegativePrompt = Annotated[str, typer.Option(help="What it should not show.")]
Seed = Annotated[int, typer.Option(help="Seed of the initial noise.")]
Steps = Annotated[
    int | None,
    typer.Option("--steps", "--num-inference-steps", help="Denoising steps. Default: the model's."),
]
Guidance = Annotated[
    float | None,
    typer.Option("--guidance", "--guidance-scale", help="Guidance scale. Default: the model's."),
]
Side = Annotated[int | None, typer.Option(help="Pixels. Default: the model's native size.")]
Scheduler = Annotated[
    str | None, typer.Option(help="ddim, euler, euler_a, dpm++_2m, ... Default: the model's own.")
]
GuidanceMethod = Annotated[
    str | None,
    typer.Option(
        help="rescale, interval, apg, cfg_zero_star, tangential, pag or slg. Default: the plain one."
    ),
]
GuidanceOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--guidance-option", metavar="NAME=VALUE", help="An option of the guidance method; may be repeated."
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
        bounds.check(expected(backend, [params], capture, library, stop), _OR_ANYWAY)


def study_within_bounds(
    backend: Any, study: Study, capture: Capture, library: Library | None, stop: threading.Event
) -> None:
    """Raise `OverBound` as `within_bounds` does, for the cells of a study that are to run."""
    from diffatlas.backends.bounds import bounds_here
    from diffatlas.operations.expected import expected_of_study

    bounds = bounds_here(shared=False).in_parts()
    if bounds.any:
        bounds.check(expected_of_study(backend, study, capture, library, stop), _OR_ANYWAY)


def request(
    prompt: str,
    model: str,
    negative_prompt: str,
    seed: int,
    steps: int | None,
    guidance: float | None,
    width: int | None,
    height: int | None,
    scheduler: str | None,
    guidance_method: str | None,
    guidance_options: Sequence[str] | None,
    variant: str | None = None,
    revision: str | None = None,
    subfolder: str | None = None,
    loras: Sequence[str] | None = None,
) -> GenerationParams:
    """Return what the options ask for. Raises `InvalidParams` for what no model could do."""
    from diffatlas.params import GenerationParams

    return GenerationParams(
        model=model,
        prompt=prompt,
        negative_prompt=negative_prompt,
        seed=seed,
        **first_values(model, steps, guidance),
        width=width,
        height=height,
        scheduler=scheduler,
        guidance_method=guidance_method,
        guidance_options=method_options(guidance_options or ()),
        variant=variant,
        revision=revision,
        subfolder=subfolder,
        loras=tuple(lora_named(text) for text in loras or ()),
    ).validate()


def pictures(
    params: GenerationParams, image: Path | None, mask: Path | None, strength: float | None
) -> GenerationParams:
    """Return a request with the pictures that files hold. Raises `InvalidParams` for files that hold none.

    And as `diffatlas.backends.tasks.with_picture` does.
    """
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

    takes = shared_local_backend().takes_picture(params.model)
    return tasks.with_picture(params, picture, painted, strength, takes)


def _opened(path: Path, mode: str) -> Any:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.convert(mode)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidParams(f"{path} is not a picture that can be read.", field="inputs") from error


def first_values(model: str, steps: int | None, guidance: float | None) -> dict[str, int | float]:
    """Return steps and guidance: as asked, else the registry's, else those of `GenerationParams`."""
    from diffatlas.registry import find_model

    try:
        entry = find_model(model)
    except UnknownModel:
        entry = None
    asked = {"num_inference_steps": steps, "guidance_scale": guidance}
    hints = {"num_inference_steps": entry and entry.steps, "guidance_scale": entry and entry.guidance}
    values = {name: hints[name] if value is None else value for name, value in asked.items()}
    return {name: value for name, value in values.items() if value is not None}


def lora_named(text: str) -> Lora:
    """Return the LoRA that "path" or "path:weight" names; other colons belong to the path."""
    from diffatlas.params import Lora

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
