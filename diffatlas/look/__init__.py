"""How everything of this project looks: its colours, its ramp and its type, each said once.

The page's style sheets, the report, contact sheets and movies take them from here. Imports nothing.
"""

from diffatlas.look.colours import (
    BURGUNDIES,
    CHANNELS,
    FILM,
    GROUPS,
    LANES,
    LAYERS,
    NIGHT,
    PAPER,
    RAMP,
    Film,
    Ground,
)
from diffatlas.look.css import MONO, SANS, SERIF, variables
from diffatlas.look.lines import DASHES, SYMBOLS
from diffatlas.look.scale import SPACE, TYPE

__all__ = [
    "BURGUNDIES",
    "CHANNELS",
    "DASHES",
    "FILM",
    "GROUPS",
    "LANES",
    "LAYERS",
    "MONO",
    "NIGHT",
    "PAPER",
    "RAMP",
    "SANS",
    "SERIF",
    "SPACE",
    "SYMBOLS",
    "TYPE",
    "Film",
    "Ground",
    "variables",
]
