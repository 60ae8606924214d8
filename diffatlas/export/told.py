"""What is said of a run beside its numbers: what could not be recorded, that its latents were changed, and what a call
of a pipeline in memory had besides the usual settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diffatlas.events import Step
from diffatlas.params import GenerationParams

#: What a name in ``provenance["missing"]`` stands for.
NAMES = {
    "steps": "some of the steps",
    "latents": "the latents",
    "start_latents": "the states that the steps started from",
    "noise_pred": "the predictions",
    "cond_pred": "the conditional and the unconditional prediction",
    "uncond_pred": "the unconditional prediction",
    "other_preds": "the other predictions",
    "x0_pred": "the estimates x0",
    "sigma": "the noise levels",
    "initial_sigma": "the first noise level",
    "timestep": "the timesteps",
    "total_steps": "the number of steps to come",
    "metrics": "the measures",
    "cosine_to_end": "the cosine to the end",
    "previews": "previews",
    "attention": "attention",
    "text": "the words of later steps",
    "images": "the final image",
    "call": "what was asked",
    "random_state": "all of the noise",
    "calls": "another call",
    "record": "the run in the library",
}
#: So many numbers of steps are told before the rest is counted.
MOST = 8


def not_recorded(provenance: Mapping[str, Any]) -> list[str]:
    """Return what a run's provenance says is missing of it: "Not recorded: previews. The model has no VAE."."""
    missing = provenance.get("missing")
    if not isinstance(missing, Mapping):
        return []
    return [f"Not recorded: {NAMES.get(name, name)}. {why}" for name, why in missing.items()]


def changed_before(steps: Iterable[Step]) -> list[int]:
    """Return the steps (from 1) before which the latents were changed."""
    return [s.index + 1 for s in steps if s.start_latents is not None or "between_length" in s.metrics]


def changed(steps: Sequence[int]) -> list[str]:
    """Return the sentence that says before which steps (from 1) the latents were changed; none where there are none."""
    if not steps:
        return []
    told = [str(step) for step in steps[:MOST]]
    if len(steps) > MOST:
        told.append(f"{len(steps) - MOST} more")
    listed = told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
    word = "step" if len(steps) == 1 else "steps"
    return [
        f"The latents were changed between steps, before {word} {listed}: lengths are of the true states."
    ]


def left_out(provenance: Mapping[str, Any]) -> list[str]:
    """Return the sentences on what decided a run and is in no setting: "Not among the settings: latents. It was…"."""
    call = provenance.get("call")
    named = call.get("left_out") if isinstance(call, Mapping) else None
    if not isinstance(named, Mapping):
        return []
    return [f"Not among the settings: {name}. {why}" for name, why in named.items()]


def made_with(params: GenerationParams, provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (name, words) of what a call had besides the usual settings, and of the pipeline that was in memory."""
    return [
        (name, words)
        for name, words in (
            ("arguments", extra_text(params.extra)),
            ("pipeline", in_memory(provenance)),
            ("digest", _digest(provenance)),
            ("adapters", _adapters(provenance)),
        )
        if words
    ]


def extra_text(extra: Mapping[str, Any] | None) -> str:
    """Return further arguments of a call: "eta 0.5, strength 0.6"."""
    return ", ".join(f"{name} {_plain(value)}" for name, value in (extra or {}).items())


def in_memory(provenance: Mapping[str, Any]) -> str:
    """Return the class of a pipeline that was in memory, and that it was; nothing for another one."""
    if provenance.get("source") != "memory":
        return ""
    return f"{provenance.get('pipeline') or 'a pipeline'}, in memory"


def _digest(provenance: Mapping[str, Any]) -> str:
    revision = provenance.get("revision")
    if not in_memory(provenance) or not isinstance(revision, Mapping):
        return ""
    return (
        str(revision["digest"])[:12]
        if "digest" in revision
        else f"none. {revision.get('no_digest', '')}".strip()
    )


def _adapters(provenance: Mapping[str, Any]) -> str:
    adapters = provenance.get("adapters")
    if not isinstance(adapters, Mapping):
        return ""
    return "; ".join(
        f"{component}: {', '.join(_at(name, scale) for name, scale in named.items())}"
        for component, named in adapters.items()
        if isinstance(named, Mapping)
    )


def _at(name: str, scale: Any) -> str:
    return f"{name} at {scale:g}" if isinstance(scale, (int, float)) else name


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
