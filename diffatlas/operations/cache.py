"""The cache: a request that has been run before is served from the library, without the model.

The key is the hash of the request and of everything else that decides its result (the backend's identity). What
was captured is not in it: a run with more captured serves a request for less, and its events are thinned to what
a run of that request would have sent.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas import files
from diffatlas.backends.base import BatchBackend, IdentifiedBackend
from diffatlas.capture.attention_layers import matches
from diffatlas.capture.spec import Capture
from diffatlas.capture.texts import TEXT_ENTRIES
from diffatlas.errors import BadDownload, DiffAtlasError, NetworkError, ProviderDown, ProviderTimeout
from diffatlas.events import Event, Failed, Finished, Image, Started, Step
from diffatlas.params import GenerationParams, canonical_json
from diffatlas.registry import ELSEWHERE

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend
    from diffatlas.library import Library, StoredRun

log = logging.getLogger("diffatlas")

#: What the provenance of a run holds only where it made previews.
_OF_PREVIEWS = ("latent_rgb", "latent_layout")
#: How a hosted run failed that was paid for and whose image may be there still.
_LOST = frozenset({NetworkError.code, ProviderTimeout.code, ProviderDown.code, BadDownload.code})
#: Seconds that providers keep a picture.
KEPT_SECONDS = 3600


def cache_key(params: GenerationParams, identity: Mapping[str, Any]) -> str:
    """Return the key of a request: SHA-256 (hex) of the canonical JSON of ``params`` and ``identity``.

    params: resolved, as `Started` carries them.
    identity: of the backend, as ``Started.provenance["identity"]`` holds it (`IdentifiedBackend.identity`).
    """
    asked = json.loads(params.canonical_json())
    if "sent" in identity:
        # All that reaches a provider; what its model does not heed decides nothing.
        asked = {}
    if identity.get("loras"):
        # The identity has what is in the files; where they lie decides nothing.
        asked.pop("loras", None)
    return hashlib.sha256(canonical_json({"params": asked, "identity": identity}).encode()).hexdigest()


def placed(started: Started, backend: str) -> Started:
    """Return the start of a run with the backend that made it, where that is one of `ELSEWHERE`."""
    if backend not in ELSEWHERE:
        return started
    return replace(started, provenance={**started.provenance, "backend": backend})


def keyed(events: Generator[Event, None, None]) -> Generator[Event, None, None]:
    """Yield ``events``; `Started` gets the key of its run as ``provenance["key"]``, where it has an identity.

    Closing this generator closes ``events``.
    """
    with closing(events):
        for event in events:
            if isinstance(event, Started) and "identity" in event.provenance:
                key = cache_key(event.params, event.provenance["identity"])
                event = replace(event, provenance={**event.provenance, "key": key})
            yield event


def lookup(
    library: Library, backend: Backend, params: GenerationParams, capture: Capture, batched: bool = False
) -> StoredRun | None:
    """Return the stored run that answers a request, or None where it must run; finding it counts as a use.

    batched: whether a run that came out of a batch answers too, where there is no exact one.

    Nothing is loaded and nothing raised: what is wrong with a request is for its run to say.
    """
    if not isinstance(backend, IdentifiedBackend):
        return None
    try:
        resolved = backend.resolve(params)
        identity = backend.identity(resolved)
        if identity is None:
            return None
        stored = find(library, cache_key(resolved, identity), capture)
        if stored is None and batched and isinstance(backend, BatchBackend):
            identity = backend.identity(resolved, batched=True)
            stored = find(library, cache_key(resolved, identity), capture)
        if stored is not None and hasattr(library, "touch"):
            library.touch(stored.id)
        return stored
    except DiffAtlasError:
        return None
    except Exception:
        log.warning("The library could not be asked for this run, so it runs again.", exc_info=True)
        return None


def taken(library: Library, backend: Any, params: GenerationParams) -> str:
    """Return the provider's id of a request like this one that it has taken, and whose image never arrived; else "".

    Its process was killed, or the network or the provider failed, not longer ago than `KEPT_SECONDS`.
    """
    if not getattr(backend, "follows", False):
        return ""
    try:
        resolved = backend.resolve(params)
        if (identity := backend.identity(resolved)) is None:
            return ""
        for info in library.search(key=cache_key(resolved, identity), limit=None).runs:
            run = library.open(info.id)
            hosted = run.provenance.get("hosted") or {}
            code = (run.error or {}).get("code")
            lost = run.status == "partial" or (run.status == "failed" and code in _LOST)
            age = datetime.now(UTC) - datetime.fromisoformat(info.created)
            if lost and age.total_seconds() < KEPT_SECONDS and isinstance(hosted.get("request_id"), str):
                return hosted["request_id"]
    except DiffAtlasError:
        pass  # its run says what is wrong
    return ""


def find(library: Library, key: str, capture: Capture) -> StoredRun | None:
    """Return the newest complete run of ``key`` whose capture covers ``capture``, or None.

    A run whose files are not all there and whole, or whose manifest does not give the key that it is filed
    under, is passed over.
    """
    for stored in _of_key(library, key):
        try:
            captured = Capture.from_dict(stored.capture)
            own = cache_key(stored.params, stored.provenance["identity"])
        except (DiffAtlasError, KeyError, TypeError, ValueError):
            continue
        if own == key and stored.status == "complete" and captured.covers(capture) and is_whole(stored):
            return stored
    return None


def is_whole(stored: StoredRun) -> bool:
    """Whether every file of a complete run is there and uncut. No array is read and no picture decoded."""
    from diffatlas.library import format as layout

    folder = stored.folder
    tensors = {} if is_hosted(stored.provenance) else {folder / layout.INITIAL: ["initial_latents"]}
    try:
        lines = stored.step_lines()
        pictures = [layout.image_file(folder, i) for i in range(stored.params.num_images_per_prompt)]
        for line in lines:
            index = line["index"]
            pictures += [layout.preview_file(folder, index, i) for i in range(line["previews"])]
            if line["arrays"]:
                tensors[layout.step_file(folder, index)] = line["arrays"]
            if line["attention"]:
                tensors[layout.attention_file(folder, index)] = line["attention"]
        for path, names in tensors.items():
            if sorted(files.tensors_header(path)) != names:
                return False
        for path in pictures:
            files.verify_png(path)
    except Exception:
        return False
    return [line["index"] for line in lines] == list(range(stored.manifest["steps"]))


def is_hosted(provenance: Mapping[str, Any]) -> bool:
    """Whether a run was made by a provider that returned its image alone."""
    return "hosted" in provenance


def replayed(stored: StoredRun, capture: Capture) -> Generator[Event, None, None]:
    """Yield a complete stored run as its events, thinned to ``capture``.

    They are those of a run with that capture, bit for bit, but for the id (that of the stored run, which
    `Started.cached_from` names as well) and what tells when it ran. ``capture`` must be covered by the stored
    run's (`find` sees to that). A file that cannot be read ends the stream as `Failed`.
    """
    try:
        yield Started(
            run_id=stored.id,
            params=stored.params,
            initial_latents=None if is_hosted(stored.provenance) else stored.initial_latents(),
            initial_sigma=stored.initial_sigma,
            total_steps=stored.total_steps,
            provenance=_thinned_provenance(stored.provenance, capture),
            capture=capture.to_dict(),
            cached_from=stored.id,
        )
        cosines = []
        kept = _kept_attention(stored, capture)
        for index in range(stored.step_count):
            step = stored.step(index)
            if kept and capture.wants_attention(index, max(stored.total_steps or 1, index + 1)):
                step = replace(step, attention=stored.attention(index, kept[index]) or None)
            if capture.metrics and "cosine_to_end" in step.metrics:
                cosines.append(step.metrics["cosine_to_end"])
            yield thinned(step, capture, stored.total_steps, _halves(stored.capture))
        for index, pixels in enumerate(stored.images()):
            yield Image(index=index, pixels=pixels)
        yield Finished("complete", stored.seconds, cosines, _thinned_missing(stored.provenance, capture))
    except DiffAtlasError as error:
        yield Failed(code=error.code, message=error.message, field=error.field)


def thinned(step: Step, capture: Capture, total_steps: int, halves: str = "cond") -> Step:
    """Return a stored step as a live one with ``capture`` would be.

    total_steps: of the run. One that has more steps than it planned (the views of a panorama) plans anew at each.

    ``cosine_to_end`` goes: in a stream it comes with `Finished`. Of attention the steps that are not asked for go,
    and the unconditional half where ``halves``, as they are stored, are both. Its layers are for who reads them.
    """
    total_steps = max(total_steps or 1, step.index + 1)
    attention = step.attention if capture.wants_attention(step.index, total_steps) else None
    if attention and halves == "both" and capture.attention_halves == "cond":
        attention = {name: np.ascontiguousarray(maps[0]) for name, maps in attention.items()}
    predictions = capture.predictions
    metrics = {name: value for name, value in step.metrics.items() if name != "cosine_to_end"}
    return replace(
        step,
        latents=step.latents if capture.latents else None,
        noise_pred=step.noise_pred if predictions else None,
        cond_pred=step.cond_pred if predictions else None,
        uncond_pred=step.uncond_pred if predictions else None,
        other_preds=step.other_preds if predictions else {},
        start_latents=step.start_latents if capture.latents else None,
        x0_pred=step.x0_pred if capture.x0 else None,
        x0_gain=step.x0_gain if capture.x0 else None,
        metrics=metrics if capture.metrics else {},
        preview=step.preview if capture.wants_preview(step.index, total_steps) else None,
        attention=attention,
    )


def _thinned_provenance(provenance: Mapping[str, Any], capture: Capture) -> dict[str, Any]:
    # What is missing of a run comes at its end.
    left_out = {"missing"} | (set(_OF_PREVIEWS) if capture.previews == "off" else set())
    if capture.attention == "off":
        left_out.add("attention")
    kept = {name: value for name, value in provenance.items() if name not in left_out}
    if "attention" in kept:
        described = kept["attention"]
        layers = [layer for layer in described["layers"] if _is_asked_for(layer, capture)]
        # The tokens name the keys of cross-attention.
        unnamed = () if "cross" in capture.attention_kinds else TEXT_ENTRIES
        kept["attention"] = {n: v for n, v in described.items() if n not in unnamed} | {"layers": layers}
    return kept


def _thinned_missing(provenance: Mapping[str, Any], capture: Capture) -> dict[str, str]:
    """Return what a stored run could not have of what ``capture`` asks for, as `Finished` tells it."""
    previews, predictions = capture.previews != "off", capture.predictions
    # The measures of guidance and the attention rest on the predictions, the previews on x0.
    passes = predictions or capture.metrics or capture.attention != "off"
    asked = {
        "attention": capture.attention != "off",
        "text": "cross" in capture.attention_kinds,
        "previews": previews,
        "x0_pred": capture.x0 or previews,
        "noise_pred": passes,
        "cond_pred": passes,
        "other_preds": predictions,
        "latents": capture.latents,
        "start_latents": capture.latents,
        "metrics": capture.metrics,
        "cosine_to_end": capture.metrics,
    }
    return {name: why for name, why in (provenance.get("missing") or {}).items() if asked.get(name, True)}


def _halves(capture: Mapping[str, Any]) -> str:
    return capture.get("attention_halves", "cond")


def _kept_attention(stored: StoredRun, capture: Capture) -> list[list[str]]:
    """Return the names of the maps of each stored step that ``capture`` asks for; nothing where it asks for none."""
    if capture.attention == "off" or "attention" not in stored.provenance:
        return []
    described = stored.provenance["attention"]["layers"]
    asked = {f"{layer['kind']}:{layer['name']}" for layer in described if _is_asked_for(layer, capture)}
    return [[name for name in line["attention"] if name in asked] for line in stored.step_lines()]


def _is_asked_for(layer: Mapping[str, Any], capture: Capture) -> bool:
    """Whether a layer, as provenance describes it, is one that ``capture`` asks for; the stored run's covers it."""
    return layer["kind"] in capture.attention_kinds and matches(
        layer["name"], layer["block"], capture.attention_layers
    )


def _of_key(library: Library, key: str) -> Iterator[StoredRun]:
    """Yield the complete runs filed under ``key``, newest first."""
    for info in library.search(key=key, status="complete", limit=None).runs:
        try:
            yield library.open(info.id)
        except DiffAtlasError:
            continue
