"""Runs as the library keeps them, a folder each, that come from elsewhere: read whole, and written anew."""

from __future__ import annotations

from pathlib import Path

from diffatlas.errors import InvalidParams
from diffatlas.files import plain_name
from diffatlas.formats.install import trusted, write_manifest
from diffatlas.library import format as layout
from diffatlas.library.marks import read_marks, write_marks
from diffatlas.library.reader import info_of, read_manifest, read_run
from diffatlas.library.writer import RunWriter
from diffatlas.stopping import look

#: Runs that come in together, at most.
MOST_RUNS = 2000
#: What a run may be called once it has ended.
_ENDED = ("complete", "stopped", "failed")


def run_folders(folder: Path) -> list[Path]:
    """Return the folders of runs in a folder: itself where it is one, else those that lie in it."""
    inside = [folder] if (folder / layout.MANIFEST).is_file() else sorted(folder.iterdir())
    return [path for path in inside if not path.is_symlink() and (path / layout.MANIFEST).is_file()]


def build_runs(folders: list[Path], ready: Path) -> list[Path]:
    """Write runs anew below ``ready``, marked as imported and without a cache key, and return their folders.

    What is not of a run is left behind. Raises `DamagedRun` saying what cannot be read, `InvalidParams` for two runs of
    one id.
    """
    if len(folders) > MOST_RUNS:
        raise InvalidParams(
            f"There are {len(folders):,} runs, more than {MOST_RUNS:,}: import fewer.", field="source"
        )
    built = []
    for folder in folders:
        look()
        run = read_run(folder)
        target = ready / run.id
        if not layout.is_run_id(run.id) or target.exists():
            raise InvalidParams(
                f"The run {plain_name(run.id)} is not imported: its id is none, or is that of two runs.",
                field="source",
            )
        with RunWriter(target, info_of(folder, read_manifest(folder)).kind) as writer:
            writer.write_run(run)
        if (folder / layout.MARKS).is_file():
            write_marks(target, read_marks(folder))
        manifest = trusted(read_manifest(target))
        # Nobody goes on with a run that was cut off elsewhere.
        ended = run.status if run.status in _ENDED else "stopped"
        write_manifest(target, {**manifest, "status": ended})
        built.append(target)
    return built
