"""What a run's manifest, the lines of its steps and its marks may hold: one description, whoever wrote them."""

from __future__ import annotations

import re
from typing import Any

from diffatlas.described import (
    MOST_WHOLE,
    Wrong,
    by_name,
    either,
    fields,
    finite,
    flag,
    listed,
    maybe,
    number,
    one_of,
    text,
    whole,
)
from diffatlas.library import format as layout
from diffatlas.params import GenerationParams
from diffatlas.request import FIELDS, MAX_IMAGES, MAX_STEPS, METHOD, NAME, NUMBER, SIZE, TEXT, WHOLE

STATUSES = ("complete", "stopped", "failed", "running", "partial")
#: Bytes of a manifest, of a line of steps.jsonl and of all of them.
MOST_MANIFEST, MOST_LINE, MOST_STEPS = 16_000_000, 1_000_000, 256_000_000
#: Some schedulers take a few steps for each that was asked.
MAX_LINES = 4 * MAX_STEPS
#: Pictures of a step, one for each image of the batch: recorded calls may make more than a request may ask.
MOST_IMAGES = 16 * MAX_IMAGES
#: Layers of a model, tokens of a prompt, pixels along a side, heads.
_LAYERS, _TOKENS, _SIDE, _HEADS = 10_000, 200_000, 1_000_000, 100_000
#: What may be missing of a run, and the characters of the sentence that says why, with its name.
MAX_MISSING, MAX_SENTENCE = 100, 2000

_LAYER_KEY = re.compile(r"(?:cross|self):.{1,400}", re.DOTALL)

_plain = text()
_side = whole(1, _SIDE)
_grid = listed(_side, 2, 2)


def _block(value: Any) -> None:
    if type(value) is not str and type(value) is not int:
        raise Wrong("is no part of a model")


_TOKEN = fields(
    {
        "index": whole(0, _TOKENS),
        "encoder": maybe(_plain),
        "text": maybe(_plain),
        "word": maybe(whole(0, _TOKENS)),
        "special": maybe(flag),
        "word_text": maybe(_plain),
        "id": maybe(whole()),
        "raw": maybe(_plain),
    },
    ("index",),
)
_NUMBERS, _WORDS = (int, type(None)), (str, type(None))


def token(value: Any) -> None:
    """A token. Long manifests are mostly these: what is plainly right is passed at once, the rest told apart."""
    if type(value) is dict:
        get = value.get
        index, word, known, spelled = get("index"), get("word"), get("id"), get("text")
        if (
            type(index) is int
            and 0 <= index <= _TOKENS
            and type(spelled) is str
            and type(get("encoder")) is str
            and type(get("special")) is bool
            and type(word) in _NUMBERS
            and (word is None or 0 <= word <= _TOKENS)
            and type(known) in _NUMBERS
            and (known is None or 0 <= known <= MOST_WHOLE)
            and type(get("word_text")) in _WORDS
            and type(get("raw")) in _WORDS
        ):
            return
    _TOKEN(value)


_table = listed(token, _TOKENS)
_LAYER = fields(
    {
        "name": text(400),
        "kind": one_of("cross", "self"),
        "heads": maybe(whole(0, _HEADS)),
        "grid": _grid,
        "tokens": maybe(whole(0, _TOKENS)),
        "block": maybe(_block),
        "cells": maybe(_grid),
        "joint": maybe(flag),
        "resampled": maybe(flag),
    },
    ("name", "kind"),
)
_numbers = listed(maybe(finite), _SIDE)
#: Measures that were kept of maps that were resampled: `diffatlas.attention.kept.KeptMeasures`.
_MEASURED = fields(
    {
        "steps": listed(whole(0, _SIDE), _SIDE),
        "layers": listed(
            fields(
                {
                    "name": text(400),
                    "kind": one_of("cross", "self"),
                    "entropy": _numbers,
                    "kl": maybe(_numbers),
                    "activation": maybe(listed(maybe(listed(finite, _TOKENS)), _SIDE)),
                },
                ("name", "kind", "entropy"),
            ),
            _LAYERS,
        ),
    },
    ("steps", "layers"),
)
_ATTENTION = fields(
    {
        "layers": listed(_LAYER, _LAYERS),
        "text": maybe(_table),
        "negative_text": maybe(_table),
        "texts": maybe(listed(_table, 10_000)),
        "negative_texts": maybe(listed(_table, 10_000)),
        "measured": maybe(_MEASURED),
    },
    ("layers",),
)
_LINEAR = fields(
    {"weight": listed(listed(finite, 3, 3), 4096, 1), "bias": listed(finite, 3, 3)}, ("weight", "bias")
)
_PACKED = fields(
    {"patch": whole(1, 64), "mean": listed(finite, 65_536), "std": listed(finite, 65_536)}, ("patch",)
)
_sentences = by_name(text(MAX_SENTENCE), MAX_MISSING)
_PROVENANCE = fields(
    {
        **dict.fromkeys(
            ("model", "source", "pipeline", "dtype", "device", "device_name", "started", "subfolder", "key"),
            maybe(_plain),
        ),
        "threads": maybe(whole(0, 1_000_000)),
        "versions": either(by_name(maybe(_plain)), maybe(_plain)),
        "revision": either(by_name(maybe(_plain)), maybe(_plain)),
        "scheduler": fields({"class": maybe(_plain), "config": fields({})}),
        "identity": fields({}),
        "components": by_name(None),
        "adapters": by_name(None),
        "loras": listed(fields({}), 1000),
        "batch": fields({"size": whole(1, 100_000), "index": whole(0, 100_000)}),
        "missing": maybe(_sentences),
        "latent_rgb": maybe(_LINEAR),
        "latent_grid": maybe(_grid),
        "latent_layout": maybe(_PACKED),
        "attention": _ATTENTION,
        "static": maybe(fields({})),
    }
)
_CAPTURE = fields(
    {
        "attention": one_of("off", *layout.ATTENTION),
        **dict.fromkeys(("latents", "predictions", "x0", "metrics"), maybe(flag)),
        "previews": either(_plain, whole(1)),
        "preview_decoder": maybe(_plain),
        "preview_size": maybe(whole(1, _SIDE)),
        "attention_layers": maybe(listed(_plain, _LAYERS)),
        "attention_max_layers": maybe(whole(1, _LAYERS)),
        "attention_every": maybe(whole(1, _SIDE)),
        "attention_heads": maybe(_plain),
        "attention_halves": maybe(_plain),
        "attention_resolution": maybe(whole(1, _SIDE)),
    }
)
#: What stored values of a request's fields may be, of the kinds that have no class of their own.
_OF_KIND = {
    **dict.fromkeys((TEXT, NAME, METHOD), _plain),
    WHOLE: whole(),
    NUMBER: finite,
    SIZE: whole(0, _SIDE),
}
_PARAMS = fields(
    {
        **{
            part: maybe(_OF_KIND[field.kind]) if field.optional else _OF_KIND[field.kind]
            for field in FIELDS
            for part in field.parts
            if field.kind in _OF_KIND
        },
        # Recorded calls may be of what no request may ask.
        "seed": maybe(whole(-MOST_WHOLE - 1)),
        "num_inference_steps": whole(0, 1_000_000),
        "num_images_per_prompt": whole(0, 100_000),
        "guidance_options": maybe(by_name(finite, 100)),
        "loras": maybe(listed(fields({"path": _plain, "weight": finite}, ("path",), closed=True), 100)),
        "noise": maybe(
            fields(
                {
                    "kind": one_of("perturb", "slerp"),
                    "seed": whole(),
                    "amount": finite,
                    "step": whole(0, _SIDE),
                },
                ("kind", "seed", "amount"),
                closed=True,
            )
        ),
    },
    ("model", "prompt", "seed"),
)


def check_params(value: Any) -> GenerationParams:
    """Return the request that ``params`` of a manifest, or of another file, hold. Raises `Wrong` for what is none."""
    _PARAMS(value)
    # What is built of it must be possible: the names of its fields, pictures, further arguments.
    try:
        return GenerationParams.from_dict(value)
    except ValueError as error:
        raise Wrong(f"is no request: {str(error).rstrip('.')}") from error
    except (TypeError, OverflowError) as error:
        raise Wrong("is no request") from error


_ERROR = fields({"code": _plain, "message": _plain, "field": maybe(_plain)}, ("code", "message"))
_MANIFEST = fields(
    {
        "id": _plain,
        "status": one_of(*STATUSES),
        "created": text(100),
        "params": check_params,
        "initial_sigma": maybe(number),
        "total_steps": maybe(whole(0, _SIDE)),
        "steps": maybe(whole(0, _SIDE)),
        "seconds": maybe(number),
        "cosine_to_end": maybe(listed(number, _SIDE)),
        "provenance": _PROVENANCE,
        "capture": _CAPTURE,
        "error": maybe(_ERROR),
        "kind": text(100),
        "key": maybe(text(1000)),
        "imported": maybe(flag),
        "writer": maybe(fields({"pid": whole(-MOST_WHOLE), "started": number, "token": maybe(_plain)})),
    },
    ("id", "status", "created", "params"),
)


def _arrays(value: Any) -> None:
    listed(_array, len(layout.STEP_ARRAYS) + layout.MOST_OTHER_PREDS)(value)
    _in_order(value)


def _array(name: Any) -> None:
    if type(name) is not str or not layout.is_step_array(name):
        raise Wrong("is no array of a step")


def _maps(value: Any) -> None:
    listed(_map, _LAYERS)(value)
    _in_order(value)


def _map(name: Any) -> None:
    if type(name) is not str or not _LAYER_KEY.fullmatch(name):
        raise Wrong("is no map of attention")


def _in_order(names: list[str]) -> None:
    if names != sorted(set(names)):
        raise Wrong("is not in order")


_LINE = fields(
    {
        "index": whole(0, _SIDE),
        "timestep": number,
        "sigma": maybe(number),
        "metrics": by_name(number, 1000),
        "x0_gain": maybe(number),
        "arrays": _arrays,
        "previews": whole(0, MOST_IMAGES),
        "attention": _maps,
    },
    ("index", "timestep", "sigma", "metrics", "arrays", "previews"),
)


def check_manifest(manifest: Any) -> dict[str, Any]:
    """Return a manifest whose every known field is of its kind. Raises `Wrong` with what is not."""
    _MANIFEST(manifest)
    return manifest


def check_line(line: Any) -> dict[str, Any]:
    """Return the line of a step whose every known field is of its kind. Raises `Wrong`."""
    _LINE(line)
    return line
