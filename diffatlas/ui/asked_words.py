"""What a request asks beyond the plain fields of a form, in words and in links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffatlas.errors import InvalidParams
from diffatlas.formats import told
from diffatlas.formats.told import loras_text, noise_words
from diffatlas.params import GenerationParams, Noise
from diffatlas.registry import list_models
from diffatlas.request import ARGUMENTS, FIELDS, LORAS, METHOD, NOISE, PICTURES, Field, in_order
from diffatlas.spelled import number
from diffatlas.studies.plan_lanes import method_name
from diffatlas.ui.components.picture_field import AMOUNTS

#: Of a link, what no form has a field for: files and versions are named in Python and in the shell.
UNFILLABLE = {field.link: field.beyond for field in FIELDS if field.beyond}
#: What a link says of a run whose noise came from no seed that is known.
NO_SEED = "unknown"
_MOST = 100
#: What every list of settings shows, or what belongs to another field or is told of with a call.
_USUAL = (
    "model", "prompt", "negative_prompt", "seed", "num_inference_steps", "guidance_scale", "size", "scheduler",
    "guidance_options", "extra", "inputs",
)  # fmt: skip
#: The order in which the others are told.
_ALSO = ("guidance_method", "noise", "num_images_per_prompt", "loras")


def options_text(options: Mapping[str, float] | None) -> str | None:
    """Return a method's options as `diffatlas.ui.components.form.to_options` reads them; None where there are none."""
    return ", ".join(f"{name}={number(value)}" for name, value in options.items()) if options else None


def noise_text(noise: Noise | None) -> str | None:
    """Return noise as `to_noise` reads it: "perturb, seed=8, amount=0.3, step=2"; None where there is none."""
    if noise is None:
        return None
    step = f", step={noise.step}" if noise.step else ""
    return f"{noise.kind}, seed={noise.seed}, amount={number(noise.amount)}{step}"


def to_noise(text: str | None) -> Noise | None:
    """Read what `noise_text` writes; None where there is nothing to read. Raises `InvalidParams`."""
    kind, *pairs = (part.strip() for part in (text or "").replace(";", ",").split(","))
    if not kind and not any(pairs):
        return None
    given: dict[str, Any] = {}
    try:
        for pair in filter(None, pairs):
            name, _, value = (piece.strip() for piece in pair.partition("="))
            if name in given:
                raise ValueError(name)
            given[name] = {"seed": int, "amount": float, "step": int}[name](value)
        return Noise(kind, seed=given["seed"], amount=given["amount"], step=given.get("step", 0))
    except (ValueError, KeyError):
        raise InvalidParams(
            f"The noise {text!r:.100} cannot be read: write perturb, seed=8, amount=0.3, or empty the field.",
            field="noise",
        ) from None


def extra_text(params: GenerationParams) -> str | None:
    """Return the further arguments of a request as a link names them; None where there are none."""
    return told.extra_text(params.extra)[:_MOST] or None


def inputs_text(params: GenerationParams) -> str | None:
    """Return the names of the pictures of a request as a link names them; None where there are none."""
    return ", ".join(dict.fromkeys(one.name for one in params.inputs))[:_MOST] or None


def also_told(params: GenerationParams, provenance: Mapping[str, Any] | None = None) -> list[list[str]]:
    """Return what a list of settings shows besides the usual ones: [name, words, entry of the glossary or ""].

    provenance: what the run ran on, where there is one.
    """
    rows = [
        *(_also(field, params) for field in in_order(*_ALSO) if field.name not in _USUAL),
        *((name, words, "") for name, words in told.made_with(params, provenance or {})),
    ]
    return [[name, words, term] for name, words, term in rows if words]


def _also(field: Field, params: GenerationParams) -> tuple[str, str | None, str]:
    """Return the row of a field: name, words and entry; no words where it is as usual."""
    value = getattr(params, field.name)
    if field.kind == METHOD:
        return "method", value and method_name(value, params.guidance_options), field.name
    if field.kind == NOISE:
        return (
            field.called,
            value and noise_words(value),
            "slerp" if value and value.kind == "slerp" else "",
        )
    if field.kind == LORAS:
        return field.called, loras_text(value), ""
    usual = value is None or (field.name == "num_images_per_prompt" and value == 1)
    return field.called, None if usual else _plain(value), ""


def _plain(value: Any) -> str:
    """Return a number or a text as a link has it."""
    return number(value) if isinstance(value, float) else str(value)


def check_fillable(query: Mapping[str, str]) -> None:
    """Raise `InvalidParams` for a link of a run that a form cannot ask for."""
    if query.get("seed") == NO_SEED:
        raise InvalidParams(
            "the noise of its run came from no known seed, so nothing that is asked for gives it again.",
            field="seed",
        )
    if query.get("inputs"):
        raise InvalidParams(
            f"its run was given pictures ({query['inputs'][:_MOST]}), which no link carries: fill in the form by hand, "
            "and choose the pictures under “From a picture”.",
            field="inputs",
        )
    for name, words in UNFILLABLE.items():
        if query.get(name):
            raise InvalidParams(
                f"its run has {words.format(repr(query[name][:_MOST]))}, for which the form has no field: run it in "
                "Python or in the shell.",
                field=name,
            )


def beyond_form(params: GenerationParams, provenance: Mapping[str, Any]) -> list[str]:
    """Return what a run was made with that no form can ask, in words; pictures have to be chosen anew."""
    found = ["noise that came from no known seed"] if params.seed is None else []
    listed = {entry.id for entry in list_models("local")}
    if told.in_memory(provenance) and params.model not in listed:
        found.append("a pipeline that was in memory")
    for field in FIELDS:
        if field.beyond and field.kind not in (LORAS, ARGUMENTS, PICTURES) and getattr(params, field.name):
            found.append(field.beyond.format(getattr(params, field.name)))
    if params.loras:
        found.append(UNFILLABLE["loras"].format(loras_text(params.loras)))
    if params.inputs:
        found.append(f"pictures ({inputs_text(params)}), which are chosen under “From a picture”")
    rest = {name: value for name, value in (params.extra or {}).items() if name not in AMOUNTS}
    if rest:
        found.append(UNFILLABLE["extra"].format(told.extra_text(rest)))
    return found
