"""All words of a figure that Plotly reads markup in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: A name, a prompt or a word that must be shown as it is.
HOSTILE = '<a href="x">go</a> </script> \u202eabc'


def written(figure: Any) -> str:
    """Return the words of a figure in one, without its ``meta``, which nothing draws."""
    return "\n".join(_words(figure.to_plotly_json()))


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            if key not in ("meta", "template"):
                yield from _words(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _words(one)
    elif hasattr(value, "tolist"):
        yield from _words(value.tolist())
