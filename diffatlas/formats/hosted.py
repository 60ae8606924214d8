"""What is said of a run of a hosted model in place of its latents: what was sent, and what the provider said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffatlas.formats.told import ignored
from diffatlas.registry import ELSEWHERE, ELSEWHERE_NAMES
from diffatlas.spelled import number

#: Letters of one value, and values of one list: they come from outside.
MOST_LETTERS, MOST_VALUES = 200, 40


@dataclass(frozen=True)
class HostedRun:
    """The finding of a run that a provider made. All of it is plain text."""

    #: What the provider is called.
    provider: str
    #: Why there are no latents, in a sentence.
    why: str
    #: (name, words) of what was sent.
    sent: tuple[tuple[str, str], ...]
    #: A sentence for each thing that was asked and is not heeded.
    ignored: tuple[str, ...]
    #: (name, words) of what the provider said: its seed, the request's id, version, timings.
    told: tuple[tuple[str, str], ...]


def backend_of(provenance: Mapping[str, Any]) -> str:
    """Return the name of the backend that made a run: "local", one that runs elsewhere, or that of a provider."""
    found = provenance.get("backend")
    known = isinstance(found, str) and found and ("hosted" in provenance or found in ELSEWHERE)
    return found if known else "local"


def made_at(provenance: Mapping[str, Any]) -> str:
    """Return what the place is called where a run was made, in the middle of a sentence; "" of this machine."""
    hosted = hosted_run(provenance)
    return ELSEWHERE_NAMES.get(backend_of(provenance), "") if hosted is None else hosted.provider


def device_of(provenance: Mapping[str, Any]) -> str:
    """Return what a run was made on: its device, and the place where that is not this machine; or its provider."""
    hosted = hosted_run(provenance)
    if hosted is not None:
        return hosted.provider
    device = " ".join(
        dict.fromkeys(str(provenance[key]) for key in ("device", "device_name") if provenance.get(key))
    )
    place = made_at(provenance)
    return f"{device}, at {place}" if place and device else device or place


def hosted_run(provenance: Mapping[str, Any]) -> HostedRun | None:
    """Return what is said of a run in place of its latents; None of a run that no provider made."""
    hosted = provenance.get("hosted")
    if not isinstance(hosted, Mapping):
        return None
    provider = _words(hosted.get("provider") or provenance.get("backend") or "The provider")
    image = hosted.get("image")
    told = [
        ("request", hosted.get("request_id")),
        ("seed", hosted.get("seed")),
        *(_pairs(hosted.get("told"))),
        *(((f"image {name}", value) for name, value in _pairs(image)) if isinstance(image, Mapping) else ()),
    ]
    return HostedRun(
        provider,
        f"{provider} shows no latents: a hosted service returns only the finished image.",
        tuple(
            (name, _words(value))
            for name, value in [("model", hosted.get("model")), *_pairs(hosted.get("sent"))]
        ),
        tuple(ignored(provenance)),
        tuple((name, _words(value)) for name, value in told if value not in (None, "", [], {})),
    )


def hosted_sentences(provenance: Mapping[str, Any]) -> list[str]:
    """Return why a hosted run has no latents, and what its model did not heed; nothing of any other run."""
    found = hosted_run(provenance)
    return [] if found is None else [found.why, *found.ignored]


def heeded(provenance: Mapping[str, Any], field: str) -> bool:
    """Whether what was asked by a field of a request counted: not where the model of a provider does not take it."""
    found = provenance.get("ignored")
    return not (isinstance(found, Mapping) and field in found)


def _pairs(found: Any) -> list[tuple[str, Any]]:
    """Return the names and values of a mapping, and of those in it, with both names."""
    if not isinstance(found, Mapping):
        return []
    pairs: list[tuple[str, Any]] = []
    for name, value in list(found.items())[:MOST_VALUES]:
        if isinstance(value, Mapping):
            pairs += [(f"{_words(name)} {inner}", each) for inner, each in _pairs(value)]
        else:
            pairs.append((_words(name), value))
    return pairs[:MOST_VALUES]


def _words(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        text = ", ".join(_words(each) for each in value[:MOST_VALUES])
    elif isinstance(value, float):
        text = number(value)
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    else:
        text = str(value)
    text = " ".join(text.split())
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…"
