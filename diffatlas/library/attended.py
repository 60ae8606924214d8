"""The attention of a stored run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffatlas.attention.info import latent_grid
from diffatlas.attention.trace import AttentionTrace
from diffatlas.errors import CapabilityError

if TYPE_CHECKING:
    from diffatlas.library.stored import StoredRun


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
