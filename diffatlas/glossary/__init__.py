"""The words of the page, the report and the docs, each explained once.

``python -m diffatlas.glossary`` prints `docs/glossary.md`.
"""

from __future__ import annotations

from diffatlas.glossary import attention, lab, runs, studies
from diffatlas.glossary.entry import Term

__all__ = ["SECTIONS", "TERMS", "Term", "markdown", "term"]

SECTIONS: tuple[tuple[str, tuple[Term, ...]], ...] = (
    *runs.SECTIONS,
    *studies.SECTIONS,
    *attention.SECTIONS,
    *lab.SECTIONS,
)
TERMS: tuple[Term, ...] = tuple(term for _, terms in SECTIONS for term in terms)
_BY_KEY = {term.key: term for term in TERMS}


def term(key: str) -> Term:
    """Return the term of this key. Raises KeyError where the glossary has none."""
    return _BY_KEY[key]


def markdown() -> str:
    """Return the glossary as the Markdown of `docs/glossary.md`."""
    lines = [
        "# Glossary",
        "",
        "The words of the page and of the PDF report. This file is made from `diffatlas/glossary`: run",
        "`python -m diffatlas.glossary > docs/glossary.md` after a change there.",
    ]
    for title, terms in SECTIONS:
        lines += ["", f"## {title}", ""]
        for entry in terms:
            formula = f" `{entry.formula}`" if entry.formula else ""
            source = f" ({entry.source})" if entry.source else ""
            lines.append(f"- **{entry.name}**: {entry.text}{formula}{source}")
    return "\n".join(lines) + "\n"
