"""A figure of this project: a Plotly figure that shows itself and never offers to send what it shows anywhere.

What a figure says of itself is in its ``layout.meta``: ``figure`` is its name, ``title`` and ``says`` are what stands
above it, and ``spoken`` is a summary of what is drawn for who does not see it.
"""

from __future__ import annotations

import html
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio

from diffatlas.errors import InvalidParams
from diffatlas.figures.template import template

#: How every figure is shown. Plotly 7 would otherwise have a button that uploads the figure to its maker's server.
CONFIG = {
    "showSendToCloud": False,
    "displaylogo": False,
    "responsive": True,
    "toImageButtonOptions": {"format": "svg"},
}


class Figure(go.Figure):
    """A Plotly figure with `CONFIG`, wherever it is shown or written."""

    def show(self, *args: Any, **options: Any) -> Any:
        """Show it as Plotly does."""
        return super().show(*args, **_configured(options))

    def to_html(self, *args: Any, **options: Any) -> str:
        """Return it as HTML. Unless told otherwise it is a page that needs no network: plotly.js is in it."""
        return super().to_html(*args, **_configured(options))

    def write_html(self, *args: Any, **options: Any) -> None:
        """Write what `to_html` returns."""
        super().write_html(*args, **_configured(options))

    def _ipython_display_(self) -> None:
        if pio.renderers.default:
            self.show()
        else:
            print(repr(self))

    def _repr_html_(self) -> str:
        return self.to_html(full_html=False, include_plotlyjs=True)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **options: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(include, exclude, **options)
        plotly = bundle.get("application/vnd.plotly.v1+json")
        if plotly is not None:
            plotly["config"] = {**(plotly.get("config") or {}), **CONFIG}
        if "text/html" in bundle:
            bundle["text/html"] = self._repr_html_()
        return bundle


def _configured(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "config": {**CONFIG, **(options.get("config") or {}), "showSendToCloud": False}}


def figure(
    name: str, title: str, says: str, spoken: str = "", dark: bool = False, height: int = 440
) -> Figure:
    """Return an empty figure in the project's look.

    name: that of the function which makes it. title, says: may hold any text; see `text`.
    """
    made = Figure()
    made.update_layout(
        template=template(dark),
        title={"text": text(title), "subtitle": {"text": wrapped(says)}},
        meta={"figure": name, "title": title, "says": says, "spoken": spoken or says},
        height=height,
    )
    lines = wrapped(says).count("<br>") + 1 if says else 0
    made.update_layout(margin_t=78 + 19 * lines)
    return made


def text(words: object) -> str:
    """Return words as Plotly shows them literally: it would take markup in them for its own, links included."""
    return html.escape(" ".join(str(words).split()), quote=False)


def wrapped(words: str, width: int = 110) -> str:
    """Return `text` in lines of about so many characters."""
    lines, line = [], ""
    for word in words.split():
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "<br>".join(text(one) for one in [*lines, line] if one)


#: What a page of figures may do: run its own scripts and draw. It fetches nothing and sends nothing.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title} · Diffusion Atlas</title>
<style>
body {{ margin: 0 auto; padding: 16px; max-width: 1400px; background: {ground}; }}
.chart {{ min-width: 640px; margin-bottom: 24px; }}
</style>
</head>
<body>
{charts}
</body>
</html>
"""


def page(*figures: Figure) -> str:
    """Return figures beneath each other as a page of HTML that needs no server and no network.

    Raises `InvalidParams` where there is none.
    """
    if not figures:
        raise InvalidParams("There is no figure to write: give one.")
    charts = []
    for number, one in enumerate(figures):
        spoken = html.escape(one.layout.meta["spoken"], quote=True)
        drawn = one.to_html(full_html=False, include_plotlyjs=number == 0, div_id=f"chart-{number}")
        charts.append(f'<div class="chart" role="figure" aria-label="{spoken}">\n{drawn}\n</div>')
    return _PAGE.format(
        policy=POLICY,
        title=text(figures[0].layout.meta["title"]),
        ground=figures[0].layout.template.layout.paper_bgcolor,
        charts="\n".join(charts),
    )
