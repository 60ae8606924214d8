"""Text for the PDF report: escaped, and in fonts that have its characters.

The fonts of every PDF (Times, Courier, Symbol, ZapfDingbats) cover Windows-1252, Greek and some signs; Bitstream
Vera, which comes with reportlab, a few more letters. reportlab draws a character that it lacks as a black square;
here it becomes `SUBSTITUTE`, and the report says so.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

from diffatlas.formats.named import plain
from diffatlas.glossary import Term

SUBSTITUTE = "¤"
VERA = "Vera"
#: A sign of the glossary's formulas, spelt with what the standard fonts have.
_SPELLINGS = str.maketrans({"‖": "||"})


def markup(text: object) -> str:
    """Return untrusted text as reportlab's paragraph markup: nothing in it is read as a tag."""
    return "".join(_run(name, "".join(part)) for name, part in groupby(_spelled(text), _font_of))


def formula(text: str) -> str:
    """Return one of the glossary's formulas as markup, its indices ("x_k", "x_(k-1)") lowered."""
    return re.sub(r"_(?:\(([^)]*)\)|(\w+))", r'<sub size="6.5">\1\2</sub>', markup(text))


def term_words(entry: Term, colour: str, muted: str) -> str:
    """Return a term of the glossary as markup: its name, what it means, its formula and its source."""
    words = f"<b>{markup(entry.name)}</b> &nbsp;{markup(entry.text)}"
    if entry.formula:
        words += f' <font color="{colour}"><i>{formula(entry.formula)}</i></font>'
    if entry.source:
        words += f' <font color="{muted}" size="7">{markup(entry.source)}</font>'
    return words


def lacking(text: object) -> int:
    """Return how many characters of the text no font has."""
    return sum(_font_of(character) == SUBSTITUTE for character in _spelled(text))


def register_fonts() -> None:
    """Make Vera known to reportlab."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    if VERA not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(TTFont(VERA, str(_vera_file())))


def _spelled(text: object) -> str:
    return unicodedata.normalize("NFC", plain(text)).translate(_SPELLINGS)


def _run(name: str, text: str) -> str:
    if name == SUBSTITUTE:
        return SUBSTITUTE * len(text)
    return f'<font face="{VERA}">{escape(text)}</font>' if name == VERA else escape(text)


@lru_cache(maxsize=4096)
def _font_of(character: str) -> str:
    """Return the font that draws a character: "" for that of the paragraph and reportlab's stand-ins for it."""
    from reportlab.pdfbase import pdfmetrics

    times = pdfmetrics.getFont("Times-Roman")
    ((drawn_by, code),) = pdfmetrics.unicode2T1(character, [times, *times.substitutionFonts])
    black_square = drawn_by.fontName == "ZapfDingbats" and code == b"n"
    if not black_square or character == "■":
        return ""
    return VERA if ord(character) in _vera_characters() else SUBSTITUTE


@lru_cache(maxsize=1)
def _vera_characters() -> frozenset[int]:
    from reportlab.pdfbase.ttfonts import TTFontFile

    return frozenset(TTFontFile(str(_vera_file())).charToGlyph) - {0xFFFF}


def _vera_file() -> Path:
    import reportlab

    return Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"
