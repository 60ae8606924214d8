"""Text that is shown as text: the only way from words to Gradio's notices and hints, which read markup.

What came from outside (a link, a file, a model's card, an error that quotes one) may hold any of it.
"""

from __future__ import annotations

import html
import re
from typing import Any

import gradio as gr

#: Between the two halves of what would be a link: as wide as nothing, and no line may break there.
_JOINER = "\u2060"
_LINK = re.compile(r"\](?=\()")
#: What a field's hint reads as code, strong and slanted, and a look-alike of each mark that means nothing.
_PAIRS = (
    (re.compile(r"`([^`]+)`"), "\u02cb"),
    (re.compile(r"\*(.+?)\*"), "\u2217"),
    (re.compile(r"__(.+?)__"), "\u02cd" * 2),
    (re.compile(r"(?<![0-9A-Za-z_])_(.+?)_(?![0-9A-Za-z_])"), "\u02cd"),
)


def warn(text: str, title: str, stays: bool = False) -> None:
    """Show a warning in a corner of the page: for a while, or until it is closed."""
    gr.Warning(as_html(text), duration=None if stays else 10, title=as_html(title))


def inform(text: str, title: str) -> None:
    """Show a notice in a corner of the page for a while."""
    gr.Info(as_html(text), title=as_html(title))


def refusal(text: str, title: str) -> gr.Error:
    """Return the error by which a component of Gradio's refuses what it was given."""
    return gr.Error(as_html(text), title=as_html(title), print_exception=False)


def refusal_to_script(text: str) -> gr.Error:
    """Return the error that ends what a script asked for, which no page shows: the words as they are."""
    return gr.Error(text, print_exception=False)


def hint(text: str, **changes: Any) -> Any:
    """Return the update of a field whose hint is ``text``; ``changes`` are of it too, as `gr.update` takes them."""
    return gr.update(info=as_hint(text), **changes)


def as_html(text: object) -> str:
    """Return text for a place that reads HTML."""
    return html.escape(str(text))


def as_hint(text: object) -> str:
    """Return text for a field's hint: Gradio shows its HTML as it is written, and reads links, code and stars in it.

    Marks that stand alone stay as they are.
    """
    line = _LINK.sub("]" + _JOINER, " ".join(str(text).split()))
    for pattern, alike in _PAIRS:
        while found := pattern.search(line):
            line = line[: found.start()] + alike + found[1] + alike + line[found.end() :]
    return line
