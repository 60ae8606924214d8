"""First prompts for a newcomer, from the easy to the one that tends to fail."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A prompt, and what to look for when it runs."""

    name: str
    prompt: str
    look_for: str


PRESETS = (
    Preset(
        "One object",
        "a red circle",
        "Layout comes first: look for the step at which there is one blob in one place, well before it is round.",
    ),
    Preset(
        "Colours",
        "an orange ring and a blue star",
        "Two colours have to find their two shapes. Watch whether a colour spills over before it settles.",
    ),
    Preset(
        "Counting",
        "three green squares",
        "Count the blobs in the early frames: the number is settled long before the edges are.",
    ),
    Preset(
        "A relation",
        "a purple star above a blue triangle",
        "Above and below are decided in the first few steps, while the state has hardly moved from the noise.",
    ),
    Preset(
        "Composition",
        "a yellow triangle to the left of a red ring",
        "Two shapes, two colours, one relation. Run several seeds, and see which part gives way first.",
    ),
    Preset(
        "Negation",
        "a heart without a star",
        "Large models tend to draw what they are told to leave out. Does a star begin here before it is given up?",
    ),
)
