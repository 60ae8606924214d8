"""Charts of runs and studies to turn, zoom and read: a page of HTML that needs no server."""

from __future__ import annotations

from collections.abc import Sequence

from diffatlas.formats.named import Named


def html(runs: Sequence[Named]) -> bytes:
    """Return the curves of runs, a line each, as a page. The page has plotly.js in it, 5 MB."""
    from diffatlas import figures

    given = [one.run for one in runs], [one.name for one in runs], [one.colour for one in runs]
    return figures.page(figures.curves(*given)).encode()
