"""Runs of every sort that a library can hold, drawn: for tests of formats that claim to keep them."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from diffatlas.events import Step
from diffatlas.inputs import ImageInput
from diffatlas.params import GenerationParams, Lora, Noise
from diffatlas.run import Run
from tests.attended_runs import table

#: Layers: name -> (rows, columns).
LAYERS = {"down_blocks.0.attn": (2, 3), "mid_block.attn": (1, 2), "up_blocks.1.attn": (4, 3)}
TEXTS = st.sampled_from(["", "a red circle", "é 日本 <b>x</b> | `y`", "two\nlines", " " * 3, "x" * 300])
NUMBERS = st.sampled_from([0.0, -0.0, 1 / 3, 1e-300, 1e300, math.inf, -math.inf, math.nan])
DTYPES = st.sampled_from([np.float16, np.float32, np.float64])
METHODS = st.sampled_from([None, ("apg", {"eta": 0.5}), ("cfg_zero_star", None), ("cfg++", {"x": 1.0})])


@st.composite
def runs(draw: st.DrawFn, run_id: str, attention: bool | None = None) -> Run:
    """A run. attention: whether it has any; None for either."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    batch, steps = draw(st.integers(1, 3)), draw(st.sampled_from([3, 1, 4, 2, 0]))
    with_some, with_none = ["cross", "all", "self"], ["off"]
    kinds = draw(
        st.sampled_from({True: with_some, False: with_none, None: [*with_some, *with_none]}[attention])
    )
    captured = {
        "latents": draw(st.booleans()),
        "attention": kinds,
        "attention_halves": draw(st.sampled_from(["cond", "both"])),
        "attention_heads": draw(st.sampled_from(["mean", "each"])),
        # Some pipelines change the size of their latents on the way.
        "grows": draw(st.booleans()),
    }
    size = draw(st.sampled_from([(4, 4, 4), (16, 8), (3, 2, 5)]))
    made = [_step(draw, rng, i, batch, size, captured) for i in range(steps)]
    status = draw(st.sampled_from(["complete", "stopped", "failed", "partial"]))
    error = {"code": "backend_failure", "message": draw(TEXTS) or "It broke.", "field": None}
    described = {"layers": _described(kinds), "text": [token.to_dict() for token in table(5)]}
    return Run(
        id=run_id,
        params=draw(params(batch)),
        status=status,
        created="2026-01-31T12:00:00.000+00:00",
        initial_latents=_array(draw, rng, (batch, *size)) if draw(st.booleans()) else None,
        initial_sigma=draw(st.none() | NUMBERS),
        total_steps=draw(st.none() | st.integers(steps, 9)),
        steps=tuple(made),
        images=tuple(_pixels(rng, 6, 5) for _ in range(batch if status == "complete" else 0)),
        seconds=draw(st.none() | st.floats(0, 1e6)),
        provenance={
            "dtype": "fp16",
            "versions": {"torch": "2.13.0"},
            "scheduler": {"class": "DDIMScheduler", "config": {"shift": 0.1, "x": [1, None, {"y": "z"}]}},
            "missing": draw(st.sampled_from([{}, {"cond_pred": "It cannot be told."}])),
            **({} if kinds == "off" else {"attention": described}),
        },
        capture=captured,
        error=error if status == "failed" else None,
    )


@st.composite
def params(draw: st.DrawFn, batch: int) -> GenerationParams:
    """What was asked, also by a call that was recorded: without a prompt, without a known seed."""
    method, options = draw(METHODS) or (None, None)
    steps = draw(st.sampled_from([1, 4, 1500]))
    noise = draw(
        st.sampled_from([None, Noise("perturb", 8, 0.3), Noise("perturb", 8, 0.5, 1), Noise("slerp", 9, 1.0)])
    )
    modes = draw(st.lists(st.sampled_from(["RGB", "RGBA", "L", "1"]), max_size=2))
    return GenerationParams(
        model=draw(st.sampled_from(["shapes", "somebody/something", "StableDiffusionPipeline"])),
        prompt=draw(TEXTS),
        negative_prompt=draw(TEXTS),
        seed=draw(st.none() | st.sampled_from([0, 7, 2**63 - 1, -1])),
        num_inference_steps=steps,
        guidance_scale=draw(st.sampled_from([0.0, 1.0, 7.5, 150.0, -2.0])),
        width=draw(st.sampled_from([None, 64, 8192])),
        height=draw(st.sampled_from([None, 64, 1000])),
        scheduler=draw(st.sampled_from([None, "ddim", "SomeScheduler"])),
        num_images_per_prompt=batch,
        loras=(Lora("somebody/style", 0.5),) if draw(st.booleans()) else (),
        guidance_method=method,
        guidance_options=options,
        noise=noise,
        extra=draw(st.sampled_from([None, {"eta": 0.5, "sizes": [1, [2, None]], "words": "é"}])),
        inputs=tuple(_input(place, mode) for place, mode in enumerate(modes)),
    )


def _input(place: int, mode: str) -> ImageInput:
    noise = np.random.default_rng(place).integers(0, 256, (7, 5, 3), np.uint8)
    return ImageInput.of("image", Image.fromarray(noise).convert(mode), (place,))


def _step(
    draw: st.DrawFn, rng: np.random.Generator, index: int, batch: int, size: tuple[int, ...], captured: Any
) -> Step:
    grown = captured["grows"] and index > 1
    shape = (batch, *size[:-1], size[-1] + grown)

    def maybe(name: str) -> np.ndarray | None:
        return _array(draw, rng, shape) if draw(st.booleans()) else None

    names = draw(st.sets(st.sampled_from(["norm", "mean", "a metric", "cosine"])))
    preview = np.stack([_pixels(rng, 4, 4) for _ in range(batch)]) if draw(st.booleans()) else None
    return Step(
        index=index,
        timestep=draw(st.sampled_from([999.0, 0.0, 1 / 3])),
        sigma=draw(st.none() | NUMBERS),
        latents=_array(draw, rng, shape) if captured["latents"] else None,
        noise_pred=maybe("noise_pred"),
        cond_pred=maybe("cond_pred"),
        uncond_pred=maybe("uncond_pred"),
        x0_pred=maybe("x0_pred"),
        start_latents=maybe("start_latents"),
        other_preds={"perturbed": _array(draw, rng, shape)} if draw(st.booleans()) else {},
        metrics={name: draw(NUMBERS) for name in sorted(names)},
        preview=preview,
        x0_gain=draw(st.none() | st.floats(-1, 1)),
        attention=_maps(draw, rng, batch, captured) or None,
    )


def _maps(draw: st.DrawFn, rng: np.random.Generator, batch: int, captured: Any) -> dict[str, np.ndarray]:
    """The maps of a step: layers and whole steps may lack them."""
    wanted = {"cross": ["cross"], "self": ["self"], "all": ["cross", "self"], "off": []}[
        captured["attention"]
    ]
    if draw(st.integers(0, 3)) == 0:
        return {}
    found = {}
    for kind in wanted:
        for name, grid in LAYERS.items():
            if draw(st.integers(0, 4)) == 0:
                continue
            halves = (2,) if captured["attention_halves"] == "both" else ()
            heads = (2,) if captured["attention_heads"] == "each" else ()
            shape = (*halves, batch, *heads, *((5, *grid) if kind == "cross" else (*grid, *grid)))
            found[f"{kind}:{name}"] = _array(draw, rng, shape)
    return found


def _described(kinds: str) -> list[dict[str, Any]]:
    both = ("cross", "self") if kinds == "all" else (kinds,)
    return [
        {"name": n, "kind": kind, "heads": 2, "grid": list(grid), "tokens": 5 if kind == "cross" else None}
        | {"block": n.split("_")[0], **({"cells": list(grid)} if kind == "self" else {})}
        for kind in both
        for n, grid in LAYERS.items()
    ]


def _array(draw: st.DrawFn, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of any precision, at times with what is no number among them."""
    array = rng.random(shape).astype(draw(DTYPES))
    if draw(st.integers(0, 5)) == 0:
        array.flat[0] = draw(st.sampled_from([np.nan, np.inf, -np.inf, -0.0]))
    return array


def _pixels(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def differences(a: Any, b: Any, where: str = "run") -> list[str]:
    """Say in what two runs, or parts of them, differ: arrays by type, shape and bytes, numbers by their spelling."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        same = (
            isinstance(a, np.ndarray)
            and isinstance(b, np.ndarray)
            and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        )
        return [] if same else [where]
    if type(a) is not type(b):
        return [f"{where}: {a!r:.80} and {b!r:.80}"]
    if is_dataclass(a):
        return [
            words
            for field in fields(a)
            for words in differences(getattr(a, field.name), getattr(b, field.name), f"{where}.{field.name}")
        ]
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [f"{where}: {sorted(a)} and {sorted(b)}"]
        return [words for name in a for words in differences(a[name], b[name], f"{where}[{name!r}]")]
    if isinstance(a, (list, tuple)):
        if len(a) != len(b):
            return [f"{where}: {len(a)} and {len(b)}"]
        both = zip(a, b, strict=True)
        return [words for i, (x, y) in enumerate(both) for words in differences(x, y, f"{where}[{i}]")]
    return [] if repr(a) == repr(b) else [f"{where}: {a!r:.80} and {b!r:.80}"]
