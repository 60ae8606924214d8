"""A folder that a static host serves as it is: the page of one run or two, and what hosts read beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffatlas.errors import BackendFailure, InvalidParams
from diffatlas.formats.html.page import html
from diffatlas.formats.named import Named, plain
from diffatlas.library.format import write_atomically

INDEX = "index.html"
#: By this an index is told to be one of ours.
_OURS = b'<script type="application/octet-stream" id="data">'
_MOST_INDEX = 40_000_000
#: Netlify and Cloudflare Pages read it. The page's own policy, which names its scripts, is in the page.
HEADERS = """/*
  X-Content-Type-Options: nosniff
  X-Frame-Options: SAMEORIGIN
  Content-Security-Policy: frame-ancestors 'self'
  Referrer-Policy: no-referrer
  Permissions-Policy: camera=(), geolocation=(), microphone=()
  Cache-Control: public, max-age=0, must-revalidate
/*.json
  Content-Type: application/json; charset=utf-8
/*.bin
  Content-Type: application/octet-stream
/*.npz
  Content-Type: application/octet-stream
/*.zip
  Content-Type: application/zip
"""
#: The head of a static Space on the Hugging Face Hub.
_README = """---
title: {title}
sdk: static
app_file: index.html
pinned: false
---

{about}

Made with Diffusion Atlas: one page that needs no server and fetches nothing.
"""


def site_files(runs: Sequence[Named]) -> dict[str, bytes]:
    """Return the files of a site by name: the page, ``_headers``, ``.nojekyll`` and the ``README.md`` of a Space.

    Raises the errors of `diffatlas.formats.html.page.html`.
    """
    titles = list(dict.fromkeys(plain(entry.name) for entry in runs))
    # In quotes as JSON and YAML have them alike; a name may hold anything.
    title = "".join(c for c in " / ".join(titles) if c.isprintable() and c not in '"\\')[:100]
    about = "\n".join(f"- {_one_line(entry.run.params.prompt)}" for entry in runs)
    readme = _README.format(title=f'"{title}"', about=about)
    return {
        INDEX: html(runs),
        "_headers": HEADERS.encode(),
        # Without it GitHub Pages would leave out what begins with a line below.
        ".nojekyll": b"",
        "README.md": readme.encode(),
    }


def write_site(
    runs: Sequence[Named], folder: Path, overwrite: bool = False, hint: str = "overwrite=True"
) -> Path:
    """Write a site into a folder, which may hold other files, such as those of git, and return the folder.

    overwrite: whether a site that is there is replaced. hint: how to say so, for the sentence.

    Raises `InvalidParams` where files of these names are there and may not be replaced, `BackendFailure` where the disk
    refuses, and the errors of `site_files`.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and not folder.is_dir():
        raise InvalidParams(f"{folder} is a file: name a folder.", field="to")
    files = site_files(runs)
    there = sorted(name for name in files if (folder / name).exists())
    if there and not overwrite:
        raise InvalidParams(
            f"{folder} holds {there[0]} already: choose another folder, or add {hint}.", field="to"
        )
    if (folder / INDEX).exists() and not _is_ours(folder / INDEX):
        raise InvalidParams(
            f"The {INDEX} in {folder} is no page of Diffusion Atlas, and is never overwritten: choose another folder.",
            field="to",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            write_atomically(folder / name, data)
    except OSError as error:
        raise BackendFailure(
            f"{folder} cannot be written ({error.strerror or error}): free some space, or choose another folder."
        ) from error
    return folder


def _is_ours(index: Path) -> bool:
    return index.is_file() and index.stat().st_size < _MOST_INDEX and _OURS in index.read_bytes()


def _one_line(text: str) -> str:
    """A prompt as a line of Markdown, of which nothing is taken for markup."""
    shown = " ".join(text.split())[:300] or "a run without a prompt"
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-.!|~&$" else c for c in shown)
