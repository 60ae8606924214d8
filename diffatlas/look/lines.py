"""What tells lines and points from each other without colour: ten of each, as many as there are layers."""

#: Dashes as Plotly names them, or as the pixels of strokes and gaps.
DASHES = (
    "solid",
    "dash",
    "dot",
    "dashdot",
    "longdash",
    "longdashdot",
    "2px,6px",
    "12px,3px,2px,3px,2px,3px",
    "16px,8px",
    "4px,2px",
)
#: Points, as Plotly names them.
SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "x",
    "cross",
    "triangle-down",
    "star",
    "pentagon",
    "hexagon",
)
