"""What came from outside is shown as it was written, and by one way only."""

from __future__ import annotations

import ast
import html
import re
from pathlib import Path

import pytest

import diffatlas.ui
from diffatlas.ui import said

UI = Path(diffatlas.ui.__file__).parent
TOASTS = {"Warning", "Info", "Error", "Success"}
#: What reads all markup, and where it is: with words of ours alone, or escaped there.
MARKUP = {
    "HTML": {"components/fields.py", "components/header.py", "components/viewer.py"},
    "Markdown": {"components/expected.py", "components/picture_field.py", "components/preset_row.py"},
}
#: What Gradio's hints read as markup, as its page does it, after it has escaped HTML.
HINT_MARKUP = (
    r"`([^`]+)`",
    r"\[([^\]]+)\]\(([^)]+)\)",
    r"\*\*(.+?)\*\*",
    r"__(.+?)__",
    r"\*(.+?)\*",
    r"(?<!\w)_(.+?)_(?!\w)",
    r"\n",
)
HOSTILE = [
    "<a href=//evil.example>x</a><form action=//evil.example><img src=x onerror=alert(1)></form>",
    '"><svg onload=alert(1)>',
    "</script><script>alert(1)</script>",
    "[x](http://evil.example) ![x](http://evil.example/x.png)",
    "[[x](a)](http://evil.example)",
    "http://evil.example www.evil.example me@evil.example",
    "`code` **strong** *a*b* __dunder__ _a_ ***x*** ````",
    "# head\n\n- list\n1. one\n\n    code\n> said\n---\n| a | b |\n|---|---|",
    "$$\\href{http://evil.example}{x}$$ ~~x~~ &lt;b&gt;",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hints_hold_no_markup_and_every_word(text):
    shown = said.as_hint(text)
    assert not any(re.search(pattern, shown) for pattern in HINT_MARKUP)
    alike = str.maketrans({"\u02cb": "`", "\u2217": "*", "\u02cd": "_", "\u2060": None})
    assert shown.translate(alike) == " ".join(text.split())


@pytest.mark.parametrize("text", ["up_blocks.1.*", "a * b", "snake_case_name", "array[0] (the first)", "<b>"])
def test_what_a_hint_reads_as_it_stands_stays_as_it_is(text):
    assert said.as_hint(text) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_toasts_hold_no_markup_and_every_word(text):
    assert not set("<>\"'") & set(said.as_html(text))
    assert html.unescape(said.as_html(text)) == text


@pytest.mark.parametrize("path", sorted(UI.rglob("*.py")), ids=lambda path: path.relative_to(UI).as_posix())
def test_nothing_else_hands_words_to_what_reads_markup(path):
    if path == UI / "said.py":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gr":
            assert node.attr not in TOASTS, f"{path.name}:{node.lineno}: say it by `said`"
            allowed = MARKUP.get(node.attr)
            assert allowed is None or path.relative_to(UI).as_posix() in allowed, f"{path.name}:{node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "info":
            call = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "said.as_hint"
            assert call or isinstance(node.value, ast.Constant), (
                f"{path.name}:{node.value.lineno}: by `said.as_hint`"
            )
