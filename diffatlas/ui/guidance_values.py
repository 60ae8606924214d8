"""Guidance scales to choose from for a model, and what each usually does, a plain sentence each."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from diffatlas.backends.guidable import GuidanceKind
from diffatlas.operations.trace import shared_local_backend
from diffatlas.registry import HostedModel, ModelEntry
from diffatlas.ui.asked_words import number

#: What most models that make two predictions a step are used with, where nothing says better.
USUAL = 7.5
#: Offered beside the model's own value where guidance mixes two predictions; 1 is off.
MIXED = (1.0, 3.0, 7.5, 12.0, 20.0)
#: Elsewhere what is offered lies around the model's own value: these many times it.
AROUND = (0.5, 1.0, 1.5, 2.0)
#: A value this near the model's own is left out: it would say the same.
NEAR = 0.25

NOT_TAKEN = "This model takes no guidance: the number is ignored."
WITHOUT = "This model is made to run without guidance: leave the number as it is."


@dataclass(frozen=True)
class GuidanceValue:
    """A scale, and what it usually does with the model in view."""

    scale: float
    about: str


def guidance_values(kind: GuidanceKind | None, own: float | None) -> tuple[GuidanceValue, ...]:
    """Return the scales to choose from, the smallest first; none for a model that runs without guidance.

    kind: how the model is guided (`diffatlas.backends.guidable.guidance_kind`); None where that is not known yet.
    own: the scale that it is made for; None where nothing says so.
    """
    if kind == "none" or (own is not None and own <= 1 and kind != "input"):
        return ()
    usual = USUAL if own is None else own
    if kind == "mixed":
        others = [scale for scale in MIXED if scale == 1 or abs(scale - usual) > NEAR * usual]
        scales = sorted({usual, *others})
    else:
        scales = sorted({usual, *(round(2 * usual * times) / 2 for times in AROUND if usual * times >= 1)})
    return tuple(GuidanceValue(scale, _about(scale, kind, usual, own is not None)) for scale in scales)


def guidance_html(page: str, entry: ModelEntry, kind: GuidanceKind | None) -> str:
    """Return the values of a model as buttons, for ``guidance_values.js``; ``page`` is the prefix of the form."""
    values = guidance_values(kind, entry.guidance)
    return _buttons(page, values) if values else f'<p class="da-guide-about">{html.escape(WITHOUT)}</p>'


def _buttons(page: str, values: Sequence[GuidanceValue]) -> str:
    buttons = "".join(
        f'<button type="button" data-guide="{value.scale:g}" data-about="{html.escape(value.about)}" '
        f'aria-pressed="false" title="{html.escape(value.about)}">{number(value.scale)}</button>'
        for value in values
    )
    return (
        f'<div class="da-guides" role="group" aria-label="Guidance values" data-page="{html.escape(page)}">{buttons}'
        '</div><p class="da-guide-about" aria-live="polite"></p>'
    )


def hosted_guidance(page: str, entry: HostedModel) -> str:
    """Return the values of a provider's model as `guidance_html` does: those that it takes, or that it takes none."""
    if not entry.has("guidance"):
        return f'<p class="da-guide-about">{html.escape(NOT_TAKEN)}</p>'
    least, most = entry.guidance_range or (0.0, math.inf)
    values = guidance_values(None, entry.guidance)
    return _buttons(page, [value for value in values if least <= value.scale <= most])


def kind_of(model: str) -> GuidanceKind | None:
    """Return how a model of this machine is guided, by its configs; None for one that is not here."""
    return shared_local_backend().guidance_kind(model)


def _about(scale: float, kind: GuidanceKind | None, usual: float, known: bool) -> str:
    if kind == "mixed" and scale <= 1:
        return "1 is off: the prediction for the prompt alone, which usually follows the words least."
    whose = "this model’s usual" if known else "the usual"
    if scale == usual:
        said = f"{whose[0].upper()}{whose[1:]} value"
        return (
            f"{said}; the model reads the number itself, so 1 is not off." if kind == "input" else f"{said}."
        )
    ratio, of = scale / usual, f"{whose} {number(usual)}"
    if ratio < 0.75:
        return f"Less than {of}: the words usually bind more loosely."
    if ratio < 1.25:
        return f"Near {of}."
    if ratio <= 2.5:
        return f"More than {of}: the words usually bind harder, and colours grow stronger."
    if ratio <= 5:
        return f"Far more than {of}: colours usually grow too strong."
    return f"Far more than {of}: colours usually clip, and shapes may break."
