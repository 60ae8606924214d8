"""One run as plain JSON, in the pieces that the page shows: the same for a live run and for a stored one."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.events import Started, Step
from diffatlas.formats import told
from diffatlas.formats.broken import broken
from diffatlas.formats.code import run_code
from diffatlas.formats.hosted import backend_of, hosted_run, made_at
from diffatlas.formats.wire import rounded
from diffatlas.geometry import path as measures
from diffatlas.geometry.broken import first_broken
from diffatlas.geometry.image_stats import histogram
from diffatlas.geometry.projection import dimensions_for
from diffatlas.measured import SHOWN, STEP_METRICS
from diffatlas.ui.asked_words import also_told, beyond_form
from diffatlas.ui.components.form import query_of
from diffatlas.ui.components.pictures import given_pictures, image_url, preview_uri

if TYPE_CHECKING:
    from diffatlas.library.stored import StoredRun

#: Bins of the small histogram beside a frame, for each of red, green and blue.
BINS = 16


def run_fields(started: Started, model_name: str) -> dict[str, Any]:
    """Return what was asked and what it runs on."""
    initial = started.initial_latents
    return {
        **started.params.to_dict(),
        "query": query_of(started.params, backend_of(started.provenance)),
        "also": also_told(started.params, started.provenance),
        "beyond": beyond_form(started.params, started.provenance),
        "python": run_code(started.params, started.capture, started.provenance, started.run_id),
        "known": told.known_words(started.provenance),
        "id": started.run_id,
        "model_name": model_name,
        "device": _place(started.provenance),
        "initial_sigma": rounded(started.initial_sigma),
        "total_steps": started.total_steps or 0,
        "latent_shape": [] if initial is None else list(initial.shape[1:]),
        # The norm of x_T: known from the start, it fixes the scale of the 3D view.
        "scale": None if initial is None else rounded(measures.norm(initial[:1])[0]),
        "hosted": hosted_fields(started.provenance),
    }


def hosted_fields(provenance: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a hosted run shows in place of its latents (`diffatlas.formats.hosted`); None of any other run."""
    found = hosted_run(provenance)
    if found is None:
        return None
    return {
        "provider": found.provider,
        "why": found.why,
        "sent": [list(pair) for pair in found.sent],
        "ignored": list(found.ignored),
        "told": [list(pair) for pair in found.told],
    }


def _place(provenance: Mapping[str, Any]) -> str:
    """Return where a run was made: its device, with the place where that is not this machine; or its provider."""
    found, place = hosted_run(provenance), made_at(provenance)
    device = str(provenance.get("device", "unknown"))
    if found is not None:
        return found.provider
    return f"{device}, at {place}" if place else device


def step_fields(
    index: int,
    timestep: float,
    sigmas: tuple[float | None, float | None],
    metrics: Mapping[str, float],
    preview: np.ndarray | None,
) -> dict[str, Any]:
    """Return one step.

    sigmas: the noise level at which the model was asked, and that of the state after the step.
    preview: (H, W, 3) uint8 or None.
    """
    before, after = sigmas
    return {
        "index": index,
        "timestep": rounded(timestep),
        "sigma_before": rounded(before),
        "sigma": rounded(after),
        "metrics": [rounded(metrics.get(metric.name)) for metric in STEP_METRICS],
        "preview": None if preview is None else preview_uri(preview),
        "histogram": None if preview is None else small_histogram(preview),
    }


def small_histogram(pixels: np.ndarray) -> str:
    """Return `BINS` bins each of R, G and B of (H, W, 3) pixels as base64 bytes; the fullest bin is 255."""
    counts = histogram(pixels, BINS)[:3]
    return base64.b64encode(np.rint(counts * (255 / counts.max())).astype(np.uint8).tobytes()).decode()


def final_fields(path: np.ndarray, starts: measures.Starts | None = None) -> dict[str, Any]:
    """Return what only the end can tell of a path (T + 1, 1, ...): series by step, and totals.

    starts: the states that its steps started from, (1, ...), where they were changed (`diffatlas.geometry.path`).
    """
    if len(path) < 2:
        return {"final": None, "totals": None}
    return {
        "final": {
            "cosine_to_end": [rounded(c) for c in measures.cosines_to_end(path)[1:, 0]],
            "distance_to_end": [rounded(d) for d in measures.distances_to_end(path)[1:, 0]],
        },
        "totals": {
            "path_length": rounded(measures.path_length(path, starts)[0]),
            "chord": rounded(measures.chord(path)[0]),
            "straightness": rounded(measures.straightness(path, starts)[0]),
            "mean_curvature": rounded(measures.mean_curvature(path, starts)[0]) if len(path) > 2 else None,
            "dimensions_95": dimensions_for(path[:, 0], 0.95),
            "seconds": None,
        },
    }


def stored_fields(stored: StoredRun, model_name: str, visitor: str) -> dict[str, Any]:
    """Return a stored run as the live view would show it at its end. The path is projected elsewhere."""
    manifest = stored.manifest
    lines = stored.step_lines()
    hosted = hosted_run(stored.provenance) is not None
    started = Started(
        run_id=stored.id,
        params=stored.params,
        initial_latents=None if hosted else stored.initial_latents(),
        initial_sigma=stored.initial_sigma,
        # The views of a panorama are steps that nobody planned.
        total_steps=max(manifest["total_steps"] or 0, len(lines)),
        provenance=stored.provenance,
        capture=stored.capture,
    )
    steps = []
    for line, before in zip(lines, stored.sigmas_before(), strict=True):
        preview = stored.preview(line["index"])
        picture = None if preview is None else preview[0]
        sigmas = before, line["sigma"]
        steps.append(step_fields(line["index"], line["timestep"], sigmas, line["metrics"], picture))
    starts = [None if start is None else start[:1] for start in stored.starts()]
    latents = None if hosted else stored.latents()
    hurt = None if latents is None else first_broken(latents)
    ends = (
        {"final": None, "totals": None}
        if latents is None or hurt is not None
        else final_fields(latents[:, :1], starts)
    )
    moved = [
        line["index"] + 1
        for line in lines
        if "start_latents" in line["arrays"] or "between_length" in line["metrics"]
    ]
    if ends["totals"]:
        ends["totals"]["seconds"] = rounded(stored.seconds)
    images = stored.images()
    error = manifest.get("error")
    return {
        "request": stored.id,
        "status": stored.status,
        "prompt": stored.params.prompt,
        "metrics": [metric.to_dict() for metric in SHOWN],
        "run": run_fields(started, model_name),
        "steps": steps,
        "points": "",
        "axes": None,
        **ends,
        "notes": told.unread(stored.provenance)
        + ([] if hosted else told.not_recorded(stored.provenance))
        + told.left_out(stored.provenance)
        + told.changed(moved)
        + broken(hurt, images, stored.provenance),
        **({"inputs": given_pictures(stored.params, visitor)} if stored.params.inputs else {}),
        "image": image_url(images[0], visitor) if images else None,
        "error": {"field": None, "message": error["message"]} if error else None,
    }


def live_step(event: Step, sigma_before: float | None) -> dict[str, Any]:
    """Return a step of a live run, of the first image of its batch; ``sigma_before`` as `SigmasBefore` tells it."""
    preview = None if event.preview is None else event.preview[0]
    return step_fields(event.index, event.timestep, (sigma_before, event.sigma), event.metrics, preview)
