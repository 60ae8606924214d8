"""Print the glossary as Markdown."""

from __future__ import annotations

from diffatlas.glossary import markdown

print(markdown(), end="")
