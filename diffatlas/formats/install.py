"""Runs that come from elsewhere, built aside and then moved into a library: all of them, or none."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from diffatlas.errors import BackendFailure, DiffAtlasError
from diffatlas.formats.dataset.attention import line_without_attention, without_attention
from diffatlas.library import format as layout
from diffatlas.library.reader import read_manifest

#: Fields of a manifest that say where a run lies, not what it is.
_PLACE = ("id", "imported")


def trusted(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest without what would have the cache take the run for one that was made here."""
    kept = {name: value for name, value in manifest.items() if name not in ("key", "writer")}
    provenance = {name: value for name, value in manifest.get("provenance", {}).items() if name != "key"}
    return {**kept, "provenance": provenance, "imported": True}


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write a run's manifest as the library does."""
    (folder / layout.MANIFEST).write_text(layout.dumps(manifest, indent=1), encoding="utf-8")


def install_all(library: Path, built: list[Path]) -> list[tuple[str, bool]]:
    """Move runs into the library; return the id of each there, and whether it is new.

    Where one cannot be moved, those that were are taken out again.
    """
    added: list[tuple[str, bool]] = []
    try:
        for run in built:
            added.append(install(library, run))
    except BaseException:
        for run_id in (run_id for run_id, fresh in added if fresh):
            shutil.rmtree(library / run_id, ignore_errors=True)
        raise
    return added


def install(library: Path, built: Path) -> tuple[str, bool]:
    """Move a run into the library; return its id there, and whether it is new."""
    run_id = built.name
    # A run that was exported without its attention is the run that has it.
    attended = any(layout.is_attention_file(path.name) for path in (built / "steps").iterdir())
    while True:
        target = library / run_id
        if not os.path.lexists(target):
            try:
                built.rename(target)
                return run_id, True
            except OSError:
                if not os.path.lexists(target):
                    raise
        digest = _digest(built, attended)
        if _digest(target, attended) == digest:
            return run_id, False
        if run_id != built.name:
            raise BackendFailure(
                f"The run {run_id} is in the library and is damaged: delete it, then import again."
            )
        # Made of its content: the same the next time.
        run_id = f"{built.name[:119]}-{digest[:8]}"
        manifest = read_manifest(built)
        write_manifest(built, {**manifest, "id": run_id})


def _digest(folder: Path, attended: bool) -> str | None:
    """Return a hash of what a run is, wherever it lies and whatever is noted about it; None of a damaged one.

    attended: whether its attention counts.
    """
    digest = hashlib.sha256()
    try:
        manifest = read_manifest(folder)
        manifest = manifest if attended else without_attention(manifest)
        about = {name: value for name, value in trusted(manifest).items() if name not in _PLACE}
        digest.update(json.dumps(about, sort_keys=True).encode())
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            if name in (layout.MANIFEST, layout.MARKS) or path.name.startswith("."):
                continue
            if not attended and layout.is_attention_file(name):
                continue
            content = path.read_bytes()
            if not attended and name == layout.STEPS:
                texts = content.decode().split("\n")[:-1]
                content = "".join(f"{line_without_attention(text)}\n" for text in texts).encode()
            digest.update(f"\n{name} {len(content)}\n".encode() + content)
    except (OSError, ValueError, DiffAtlasError):
        return None
    return digest.hexdigest()
