"""What was captured of a run's attention and what is measured of it, as the plain JSON that the views draw."""

from __future__ import annotations

import math
from typing import Any

from diffatlas.attention.info import mean_there
from diffatlas.attention.resampled import measured_on
from diffatlas.attention.trace import AttentionTrace, Measures
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.formats.wire import floats, rounded
from diffatlas.geometry.attention import spikes


def described(whole: AttentionTrace, looked: AttentionTrace, measures: Measures) -> dict[str, Any]:
    """Return tokens, layers and measures of a run's attention.

    whole: the attention as it was captured. looked: the same as it is looked at. measures: of ``looked``.

    ``entropy``, ``kl`` and ``activation`` are None where no attention to words is looked at, ``self_entropy`` where
    none between places is. Means over the layers by captured step; ``activation`` is (steps, tokens) by `floats`.
    ``rests_on`` says over which steps and layers, where some are missing; ``measured_on`` of what maps, where they are
    not the layers' own.
    """
    cross = bool(looked.cross_layers)
    kl = [rounded(v) for v in mean_there(measures.kl, 1)] if cross else None
    kind = "cross" if cross else "self"
    rests_on, on = looked.rests_on(kind), measured_on(looked, kind)
    return {
        "tokens": [token.to_dict() for token in looked.tokens],
        "layers": [
            {"name": x.name, "kind": x.kind, "block": x.block, "heads": x.heads, "grid": list(x.grid)}
            for x in whole.layers
        ],
        "per_head": whole.per_head,
        "halves": _has_both(whole),
        "entropy": [rounded(v) for v in mean_there(measures.entropy, 1)] if cross else None,
        "most_entropy": rounded(math.log(max(len(looked.tokens), 2))),
        "self_entropy": (
            [rounded(v) for v in mean_there(measures.self_entropy, 1)] if looked.self_layers else None
        ),
        "kl": kl,
        "spikes": [looked.steps[k] for k in spikes(kl)] if kl else [],
        "activation": floats(measures.activation) if cross else None,
        **({} if rests_on is None else {"rests_on": rests_on}),
        **({} if on is None else {"measured_on": on}),
    }


def _has_both(trace: AttentionTrace) -> bool:
    """Whether the unconditional half was kept too."""
    layer = trace.layers[0]
    read = trace.at(half="uncond")
    step = next((step for step in trace.steps if trace.holds(step, layer.key)), trace.steps[0])
    try:
        (read.token_maps if layer.kind == "cross" else read.self_maps)(step, layer.key)
    except (CapabilityError, InvalidParams):
        return False
    return True
