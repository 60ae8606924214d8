"""The attention of a stored run, and all that is read of attention in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffatlas.capture.attention_compare import COMMON, Divergence, js
from diffatlas.capture.attention_trace import AttentionTrace, LayerInfo, Measures, latent_grid
from diffatlas.errors import CapabilityError

if TYPE_CHECKING:
    from diffatlas.library import StoredRun

__all__ = ["COMMON", "AttentionTrace", "Divergence", "LayerInfo", "Measures", "attention_of", "js"]


def attention_of(stored: StoredRun) -> AttentionTrace:
    """Return the attention of a stored run. Maps are read when they are asked for, and not held.

    Raises `CapabilityError` where the run was recorded without attention, with the reason where the run has one.
    """
    held = {line["index"]: line["attention"] for line in stored.step_lines() if line.get("attention")}
    described = stored.provenance.get("attention")
    return AttentionTrace.described(
        described,
        tuple(held),
        lambda step, key: stored.attention(step, [key])[key],
        latents=_latents(stored) if described else None,
        capture=stored.capture,
        held=held,
        missing=(stored.provenance.get("missing") or {}).get("attention"),
    )


def _latents(stored: StoredRun) -> tuple[int, int] | None:
    """(rows, columns) of the stored latents; None where they were not kept."""
    try:
        return latent_grid(stored.initial_latents().shape, stored.provenance)
    except CapabilityError:
        return None
