"""What programs ask of the runs that are kept, and of what can run: plain JSON, each visitor their own library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import numpy as np

from diffatlas.attention.info import mean_there
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.formats.hosted import backend_of
from diffatlas.formats.kinds import KINDS
from diffatlas.formats.named import Named
from diffatlas.formats.tables import runs as tables
from diffatlas.library import RunInfo, StoredRun
from diffatlas.measured import finite
from diffatlas.operations.attention import AttentionTrace, attention_of
from diffatlas.operations.attention_view import need_words
from diffatlas.registry import HostedModel
from diffatlas.ui import elsewhere, run_names
from diffatlas.ui.components.form import query_of
from diffatlas.ui.components.pictures import image_url
from diffatlas.ui.desks import at_desk
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.places import LOCAL, models_of, name_of, offered, sees_inside
from diffatlas.ui.programs import arguments
from diffatlas.ui.run_services import RunServices
from diffatlas.ui.wire.runs import Export

#: The links of a run that are no export: its final image, and the app open on it.
IMAGE, APP = "image", "app"
LINKS = (IMAGE, APP, *KINDS)


class Kept:
    """The runs that a visitor keeps, as a program asks for them.

    root: in each call, the address of the app without a slash at its end, which links begin with.
    """

    def __init__(self, libraries: Libraries, exports: RunServices, names: dict[str, str]) -> None:
        self._libraries = libraries
        self._exports = exports
        self._names = names

    def search(
        self,
        visitor: str,
        root: str,
        text: str = "",
        model: str = "",
        kind: str = "",
        status: str = "",
        tag: str = "",
        attention: str = "",
        sort: str = "created",
        descending: bool = True,
        limit: int = 20,
        offset: int = 0,
    ) -> dict[str, Any]:
        """Return one page of the runs that fit, and how many there are. Raises `InvalidParams`.

        What is empty is not looked at; the other arguments are those of `diffatlas.Library.search`.
        """
        _check_search(limit=limit, offset=offset)
        with at_desk("details", visitor):
            found = self._libraries.of(visitor).search(
                text,
                model=model or None,
                kind=kind or None,
                status=status or None,
                tags=(tag,) if tag else (),
                attention=attention or None,
                sort=sort,
                descending=descending,
                limit=limit,
                offset=offset,
            )
            return {"runs": [_listed(info, root) for info in found.runs], "total": found.total}

    def run(self, visitor: str, root: str, run_id: str) -> dict[str, Any]:
        """Return what was asked of a run, what came of it, what it ran on, and its links. Raises `RunNotFound`."""
        with at_desk("details", visitor):
            stored = self._stored(visitor, run_id)
            layer = _numbers(stored)
            images = stored.images()
            return {
                "id": stored.id,
                "status": stored.status,
                "created": stored.info.created,
                "seconds": finite(stored.seconds),
                "error": stored.error,
                "asked": query_of(stored.params, backend_of(stored.provenance)),
                "model_name": run_names.model_name(stored, self._names),
                "steps_done": stored.step_count,
                "steps_asked": stored.total_steps,
                "totals": layer["totals"],
                "attention": stored.info.attention,
                "ran_on": _ran_on(stored.provenance),
                "image": f"{root}/{image_url(images[0], visitor)}" if images else None,
                "app": app_link(root, stored.id),
            }

    def steps(self, visitor: str, run_id: str) -> dict[str, Any]:
        """Return the numbers of a run by step, step 0 the noise, with their units and its totals."""
        with at_desk("details", visitor):
            document = json.loads(tables.json([_named(self._stored(visitor, run_id))]))
            layer = document["layers"][0]
            return {
                "run": layer["run"]["id"],
                "units": document["units"],
                "totals": layer["totals"],
                "steps": layer["steps"],
            }

    def link(self, visitor: str, root: str, run_id: str, kind: str) -> dict[str, Any]:
        """Return the address of a file of a run, or of the app open on it. Raises `CapabilityError`, `RunNotFound`."""
        if kind not in LINKS:
            raise InvalidParams(
                f"There is no link of the kind {kind!r:.40}: choose one of {', '.join(LINKS)}.", field="kind"
            )
        stored = self._stored(visitor, run_id)
        if kind == APP:
            return {"run": stored.id, "kind": kind, "url": app_link(root, stored.id)}
        with at_desk("export", visitor):
            if kind == IMAGE:
                url = image_url(self.image(visitor, run_id), visitor)
            else:
                url = self._exports.export(visitor, Export(ids=[stored.id], kind=kind))["url"]
        return {"run": stored.id, "kind": kind, "url": f"{root}/{url}"}

    def image(self, visitor: str, run_id: str) -> np.ndarray:
        """Return the final image of a run, (H, W, 3) uint8. Raises `CapabilityError` where it has none."""
        images = self._stored(visitor, run_id).images()
        if not images:
            raise CapabilityError(f"The run {run_id:.60} has no image: it did not come to its end.")
        return images[0]

    def words(self, visitor: str, run_id: str, word: str = "") -> dict[str, Any]:
        """Return by step how much each word of a run's prompt was looked at.

        word: the only one that is asked for, as it stands in the prompt; all where empty.

        Raises `CapabilityError` where no attention to words was captured, `InvalidParams` for no word of the prompt.
        """
        with at_desk("attention", visitor):
            stored = self._stored(visitor, run_id)
            trace = attention_of(stored)
            need_words(trace)
            return {"run": stored.id, **_words_of(trace, word)}

    def _stored(self, visitor: str, run_id: Any) -> StoredRun:
        return self._libraries.of(visitor).open(run_id if isinstance(run_id, str) else "")


def models(backend: str = LOCAL) -> dict[str, Any]:
    """Return the models that are listed of a backend, its first one first.

    A place elsewhere is asked, where it has not said lately what it offers. Raises `InvalidParams` for a backend that
    is not offered, and what went wrong in asking.
    """
    name_of(backend)
    if error := elsewhere.learn_models(backend):
        raise error
    return {
        "backend": backend,
        "models": [
            {
                "id": entry.id,
                "name": entry.name,
                "notes": entry.notes,
                "side": entry.size,
                "steps": entry.steps,
                "guidance": entry.guidance,
                "memory_gb": entry.mem,
                **({"dollars_an_image": entry.dollars()} if isinstance(entry, HostedModel) else {}),
            }
            for entry in models_of(backend)
        ],
    }


def backends() -> dict[str, Any]:
    """Return where models can run: the name that an endpoint takes, what it is called, how many models are listed.

    These are the places that the pages offer now. Nobody is asked: one elsewhere lists what it has said so far.
    """
    return {
        "backends": [
            {"name": name, "label": label, "sees_inside": sees_inside(name), "models": len(models_of(name))}
            for name, label in offered()
        ]
    }


def app_link(root: str, run_id: str) -> str:
    """Return the address of the app open on a run."""
    return f"{root}/?{urlencode({'page': 'trajectory', 'run': run_id})}"


def _listed(info: RunInfo, root: str) -> dict[str, Any]:
    """Return what a list of runs says of one."""
    return {
        "id": info.id,
        "status": info.status,
        "created": info.created,
        "kind": info.kind,
        "model": info.model,
        "prompt": info.prompt,
        "seed": info.seed,
        "steps": info.steps,
        "guidance": info.guidance_scale,
        "scheduler": info.scheduler,
        "width": info.width,
        "height": info.height,
        "attention": info.attention,
        "name": info.name,
        "tags": list(info.tags),
        "note": info.note,
        "app": app_link(root, info.id),
    }


def _ran_on(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run ran on: device, number format, scheduler and versions, as far as they are known."""
    scheduler = provenance.get("scheduler")
    return {
        "device": provenance.get("device"),
        "dtype": provenance.get("dtype"),
        "scheduler": scheduler.get("class") if isinstance(scheduler, Mapping) else None,
        "versions": provenance.get("versions"),
    }


def _named(stored: StoredRun) -> Named:
    return Named(stored.info.name or stored.params.prompt, stored.measured())


def _numbers(stored: StoredRun) -> dict[str, Any]:
    return json.loads(tables.json([_named(stored)]))["layers"][0]


def _words_of(trace: AttentionTrace, word: str) -> dict[str, Any]:
    measures = trace.measures
    tokens: dict[str, list[int]] = {}
    for token in trace.tokens:
        if not token.special and token.word_text:
            tokens.setdefault(token.word_text, []).append(token.index)
    if word and word not in tokens:
        raise InvalidParams(
            f"{word!r:.60} is no word of this prompt: choose one of {', '.join(tokens)}.", field="word"
        )
    entropy = [finite(float(value)) for value in mean_there(measures.entropy, 1)]
    return {
        "steps": [step + 1 for step in trace.steps],
        "layers": [layer.name for layer in trace.cross_layers],
        "entropy": entropy,
        "words": [
            {
                "word": text,
                "tokens": at,
                "activation": [finite(float(value)) for value in measures.activation[:, at].mean(axis=1)],
            }
            for text, at in tokens.items()
            if not word or text == word
        ],
    }


def _check_search(**given: Any) -> None:
    """Raise `InvalidParams` for whole numbers that a search does not take."""
    for name, value in given.items():
        schema = arguments.known("search", name) or {}
        least, most = schema["minimum"], schema["maximum"]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InvalidParams(
                f"The {name} is {value!r:.40}: give a whole number from {least:,} to {most:,}.", field=name
            )
