"""The version that stored JSON says it has, and what is said where it is not the one that is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffatlas.errors import NewerVersion

#: Where a person is told how to come by a later version.
UPDATE = "update diffatlas (pip install --upgrade diffatlas)"


def check_version(version: Any, reads: int, what: str, written_by: str = "") -> None:
    """Raise `NewerVersion` for a version after ``reads``, ValueError for what is no version at all.

    version: as it stands in the file, a whole number from 1. what: what is read, to begin a sentence: "The run in X".
    written_by: the version of Diffusion Atlas that wrote it, where the file says so.
    """
    if type(version) is not int or not 1 <= version <= 10**6:
        raise ValueError(f"its format is {version!r:.40}, which is no version of it")
    if version > reads:
        by = f" (written by diffatlas {written_by:.40})" if written_by else ""
        raise NewerVersion(
            f"{what} is of format {version}{by}, and diffatlas {_own()} reads format {reads}: {UPDATE}."
        )


def writer_of(provenance: Any) -> str:
    """Return the version of Diffusion Atlas that a provenance names; "" where it names none."""
    versions = provenance.get("versions") if isinstance(provenance, Mapping) else None
    found = versions.get("diffatlas") if isinstance(versions, Mapping) else None
    return " ".join(found.split()) if isinstance(found, str) else ""


def _own() -> str:
    from diffatlas import __version__

    return __version__
