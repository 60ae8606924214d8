"""plotly.js, as the installed plotly has it: what draws the figures in a browser."""

from __future__ import annotations

import plotly
from plotly.offline import get_plotlyjs


def plotly_version() -> str:
    """Return the version of plotly, which names that of its plotly.js."""
    return plotly.__version__


def plotly_script() -> bytes:
    """Return the source of plotly.js, some megabytes."""
    return get_plotlyjs().encode()
