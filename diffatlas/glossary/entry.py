"""A word of the glossary."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A word and what it means: one or two short sentences, a formula where there is one, and its source."""

    key: str
    name: str
    text: str
    formula: str = ""
    source: str = ""
