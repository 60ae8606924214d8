"""The metadata of a static folder: what the contract asks for, and what is ours beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from diffatlas.attention.info import LayerInfo
from diffatlas.attention.resampled import measured_on
from diffatlas.attention.trace import AttentionTrace
from diffatlas.formats.static import contract
from diffatlas.formats.static.carried import Carried
from diffatlas.formats.static.options import Options
from diffatlas.geometry.attention import scaled_grid
from diffatlas.measured import finite
from diffatlas.run import Run


def metadata(
    run: Run,
    options: Options,
    trace: AttentionTrace | None,
    layers: Sequence[LayerInfo],
    ids: Mapping[str, str],
    attention: Sequence[Mapping[str, Any]],
    *,
    final: bool,
    npz: bool,
) -> dict[str, Any]:
    """Return ``metadata.json`` of a run.

    layers: those that are written, and ``ids`` what they are called in the folder, by key. attention: the entries of
    the files of maps. final, npz: whether the finished picture and the latents are written.
    """
    params, provenance = run.params, run.provenance
    tokens = trace.tokens if trace else ()
    kinds = {layer.kind for layer in layers}
    crossed = next((entry["shape"] for entry in attention if entry["attention_type"] == "cross"), None)
    own = next((entry["shape"] for entry in attention if entry["attention_type"] == "self"), None)
    pipeline = str(provenance.get("pipeline", ""))
    carried = Carried.of(run, options.image)
    before = carried.data if carried else {}
    special = sum(not token.special for token in tokens)
    return {
        "schema_version": contract.SCHEMA_VERSION,
        "generator": {
            "model_id": params.model,
            "pipeline_type": before.get("pipeline_type") or ("sdxl" if "XL" in pipeline else "sd"),
            "seed": params.seed,
            "cfg_scale": float(params.guidance_scale),
            "num_steps": params.num_inference_steps,
            "height": params.height,
            "width": params.width,
            "layers": list(options.layers or before.get("layers") or ("*",)),
            "max_layers": options.max_layers or before.get("max_layers") or len(layers),
            "include_cross_attention": "cross" in kinds,
            "include_self_attention": "self" in kinds,
            "attention_resolution": max(crossed[1:]) if crossed else 0,
            "self_attention_resolution": own[0] if own else 0,
            "dtype": {"fp16": "float16", "fp32": "float32", "bf16": "bfloat16"}.get(
                str(provenance.get("dtype")), str(provenance.get("dtype"))
            ),
            "device": str(provenance.get("device", "unknown")),
        },
        "prompt": {
            "text": params.prompt,
            "negative": params.negative_prompt,
            "tokens": [token.raw or token.text for token in tokens],
            "token_ids": [token.id for token in tokens] if all(t.id is not None for t in tokens) else [],
            "meaningful_token_count": before.get("meaningful_token_count") or special,
        },
        "steps": len(run.steps),
        "timesteps": [_whole(step.timestep) for step in run.steps],
        "images": [contract.image_path(at) for at in range(len(run.steps))],
        "layers": [
            {"id": ids[x.key], "processor_key": f"{x.name}.processor", "attention_type": x.kind}
            for x in layers
        ],
        "attention_files": list(attention),
        "artifacts": {
            "metrics": contract.METRICS,
            "latent_pca": contract.PCA,
            "latents_noise": contract.LATENTS if npz else None,
        },
        "diffatlas": {
            **_about(run, options, before, final),
            "tokens": [token.to_dict() for token in tokens],
            "layers": [_layer(x, crossed, options) for x in layers],
            "measured_on": measured_on(trace) if trace and trace.cross_layers else None,
            "self_attention_bins": "cells of the picture, row by row; a value is the mean probability of one key",
        },
    }


def _about(run: Run, options: Options, before: Mapping[str, Any], final: bool) -> dict[str, Any]:
    """What the contract has no place for, but for attention. ``before``: of the folder that the run came from."""
    versions, missing = (run.provenance.get(name) for name in ("versions", "missing"))
    image, images = before.get("image"), before.get("images")
    return {
        "version": versions.get("diffatlas") if isinstance(versions, dict) else None,
        "run": before.get("run") or run.id,
        "params": _params(run),
        "status": run.status,
        "error": {name: run.error[name] for name in ("code", "message")} if run.error else None,
        "missing": dict(missing) if isinstance(missing, dict) else None,
        "seconds": finite(run.seconds),
        "total_steps": run.total_steps,
        "pipeline": run.provenance.get("pipeline"),
        "scheduler": run.params.scheduler,
        "image": options.image if image is None else image,
        "images": run.params.num_images_per_prompt if images is None else images,
        "image_content": "x0: what the model expects the finished image to be",
        "final_image": contract.FINAL if final else None,
        "sigmas": [finite(step.sigma) for step in run.steps],
        "sigmas_before": [finite(sigma) for sigma in run.sigmas_before],
        "step_indices": [step.index for step in run.steps],
        "initial_sigma": finite(run.initial_sigma),
    }


def _params(run: Run) -> dict[str, Any]:
    """What was asked, of the one image that is written: without its pictures, and without the folders of LoRAs."""
    params = run.params.replace(num_images_per_prompt=1, inputs=())
    return params.replace(loras=tuple(replace(lora, path=lora.name) for lora in params.loras)).to_dict()


def _layer(layer: LayerInfo, crossed: Sequence[int] | None, options: Options) -> dict[str, Any]:
    """What the contract does not tell of a layer. ``crossed``: the shape of maps of cross-attention."""
    cells = cells_of(layer, options) if layer.kind == "self" else None
    of_maps = cells or (tuple(crossed[1:]) if crossed else layer.grid)
    captured = (layer.cells or layer.grid) if layer.kind == "self" else layer.grid
    return {
        "name": layer.name,
        "kind": layer.kind,
        "heads": layer.heads,
        "grid": list(layer.grid),
        "block": layer.block,
        "cells": None if cells is None else list(cells),
        "joint": layer.joint,
        "resampled": layer.resampled or of_maps != captured,
    }


def cells_of(layer: LayerInfo, options: Options) -> tuple[int, int]:
    """Return the (rows, columns) that a layer's self-attention is written with."""
    captured = layer.cells or layer.grid
    if options.self_resolution is None or options.self_resolution >= max(captured):
        return captured
    return scaled_grid(captured, options.self_resolution)


def _whole(timestep: float) -> int | float | None:
    if not math.isfinite(timestep):
        return None
    return int(timestep) if float(timestep).is_integer() else float(timestep)
