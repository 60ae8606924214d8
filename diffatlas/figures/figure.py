"""A figure of this project: a Plotly figure that shows itself and never offers to send what it shows anywhere.

What a figure says of itself is in its ``layout.meta``: ``figure`` is its name, ``title`` and ``says`` are what stands
above it, and ``spoken`` is a summary of what is drawn for who does not see it.
"""

from __future__ import annotations

import html
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio

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


def page(one: Figure) -> str:
    """Return a figure as a page of HTML that needs no server and no network."""
    ground = one.layout.template.layout.paper_bgcolor
    body = f"margin: 0 auto; padding: 16px; max-width: 1400px; background: {ground};"
    style = f"html, body {{ height: auto; }} body {{ {body} }}"
    head = (
        f'<meta name="viewport" content="width=device-width"><title>{text(one.layout.meta["title"])}</title>'
    )
    made = one.to_html(full_html=True, include_plotlyjs=True)
    return made.replace("</style>", f"</style>{head}<style>{style}</style>", 1)
