"""All that is read of attention, in one place."""

from __future__ import annotations

from diffatlas.attention.compare import COMMON, Divergence, js
from diffatlas.attention.trace import AttentionTrace, LayerInfo, Measures
from diffatlas.library.attended import attention_of

__all__ = ["COMMON", "AttentionTrace", "Divergence", "LayerInfo", "Measures", "attention_of", "js"]
