"""A stored run, read in parts: what a view needs, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.events import Step, sigmas_before
from diffatlas.library import format as layout
from diffatlas.library import reader
from diffatlas.library.format import RunInfo
from diffatlas.params import GenerationParams
from diffatlas.run import Run
from diffatlas.showing import show_html
from diffatlas.stopping import look


@dataclass(frozen=True)
class StoredRun:
    """A handle on a run in a library, from `Library.open`. It holds no arrays: each call reads from the disk.

    It also reads a run that is still being written: its steps so far, more of them at each call. Every method
    raises `DamagedRun` saying what cannot be read, and `RunNotFound` where the run is gone by now.
    """

    folder: Path
    _manifest: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def open(cls, folder: Path) -> StoredRun:
        """Open a run's folder. Raises `DamagedRun` where its manifest cannot be read."""
        return cls(folder, reader.read_manifest(folder))

    def _repr_html_(self) -> str:
        return show_html(self, "stored_html")

    @property
    def id(self) -> str:
        """The run's id, which is the name of its folder."""
        return self.folder.name

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest: that of an ended run as it was opened, that of a running one as it is now."""
        if self._manifest.get("status") != "running":
            return self._manifest
        with reader.reading(self.folder):
            return reader.read_manifest(self.folder)

    @property
    def params(self) -> GenerationParams:
        """What was asked, resolved, with the pictures that it was given."""
        with reader.reading(self.folder):
            return reader.read_params(self.folder, self._manifest)

    @property
    def status(self) -> str:
        """One of the states of `RunInfo`."""
        with reader.reading(self.folder):
            return reader.status_of(self.manifest)

    @property
    def info(self) -> RunInfo:
        """What a list of runs shows."""
        with reader.reading(self.folder):
            return reader.info_of(self.folder, self.manifest)

    @property
    def provenance(self) -> dict[str, Any]:
        """What it ran on; ``missing`` in it, once the run has ended, says what could not be recorded, and why."""
        return self.manifest.get("provenance", {})

    @property
    def capture(self) -> dict[str, Any]:
        """What was captured (the fields of `Capture`)."""
        return self._manifest.get("capture", {})

    @property
    def initial_sigma(self) -> float | None:
        """Noise level of the state before the first step."""
        return reader.maybe_number(self._manifest.get("initial_sigma"))

    @property
    def total_steps(self) -> int | None:
        """Number of steps that the run was to take."""
        return self._manifest.get("total_steps")

    @property
    def seconds(self) -> float | None:
        """Seconds of the pipeline call, once it has ended."""
        return reader.maybe_number(self.manifest.get("seconds"))

    @property
    def error(self) -> dict[str, Any] | None:
        """What ended a failed run: code, message, field."""
        return self.manifest.get("error")

    @property
    def step_count(self) -> int:
        """Number of steps that are whole on disk."""
        with reader.reading(self.folder):
            return len(reader.lines_of(self.folder))

    def step_lines(self) -> list[dict[str, Any]]:
        """Return the scalars of every step, as `Step` spells them, without reading an array.

        Keys: ``index``, ``timestep``, ``sigma`` (None where it is not known), ``metrics`` (floats; ``cosine_to_end``
        among them once the run has ended), ``x0_gain``, ``arrays`` (names of the stored arrays, as
        `diffatlas.library.format.arrays_of` gives them), ``previews`` (their number) and ``attention`` (names of its
        maps, "<kind>:<layer>").
        """
        with reader.reading(self.folder):
            # The manifest first: where it has the cosines, every line is on disk.
            cosines = reader.cosines_to_end(self.manifest)
            lines = reader.parsed_lines(self.folder, self.manifest)
            if cosines and len(cosines) != len(lines):
                raise reader.damaged(
                    self.folder, f"cosine_to_end is of {len(cosines)} steps, not of {len(lines)}"
                )
            if cosines:
                for line, cosine in zip(lines, cosines, strict=True):
                    line["metrics"]["cosine_to_end"] = cosine
            return lines

    def sigmas_before(self) -> list[float | None]:
        """Return the noise level at which the model was asked at each step (`Run.sigmas_before`)."""
        lines = self.step_lines()
        return sigmas_before(self.initial_sigma, ((line["timestep"], line["sigma"]) for line in lines))

    def initial_latents(self) -> np.ndarray:
        """Return x_T, (B, ...). Raises `CapabilityError` where it was not kept."""
        path = self.folder / layout.INITIAL
        with reader.reading(self.folder):
            if not path.is_file():
                raise self._without_latents()
            return reader.read_tensor(path, "initial_latents")

    def latents(self) -> np.ndarray:
        """Return the path so far, x_T first, (T + 1, B, ...): only the latents are read of each step's file.

        Raises `CapabilityError` where the run was recorded without latents, or where they change their shape on the
        way.
        """
        states = [self.initial_latents()]
        with reader.reading(self.folder):
            for line in reader.parsed_lines(self.folder, self.manifest):
                look()
                if "latents" not in line["arrays"]:
                    raise self._without_latents()
                states.append(reader.read_tensor(layout.step_file(self.folder, line["index"]), "latents"))
            if len({state.shape for state in states}) > 1:
                raise CapabilityError(
                    f"The latents of the run {self.id} change their shape on the way, so they are no one path."
                )
            return np.stack(states)

    def measured(self) -> Run:
        """Return the run so far with the arrays alone that its states are measured by (`reader.read_measured`)."""
        return reader.read_measured(self.folder)

    def starts(self) -> list[np.ndarray | None]:
        """Return the state that each step so far started from, (B, ...), where that is not what the step before left.

        None for every other step (`Step.start_latents`).
        """
        found: list[np.ndarray | None] = []
        with reader.reading(self.folder):
            for line in reader.parsed_lines(self.folder, self.manifest):
                changed = "start_latents" in line["arrays"]
                file = layout.step_file(self.folder, line["index"])
                found.append(reader.read_tensor(file, "start_latents") if changed else None)
            return found

    def step(self, index: int) -> Step:
        """Return step ``index`` (0-based) with its arrays, but for its attention, which `attention` reads.

        Raises `InvalidParams` for one it does not have.
        """
        look()
        with reader.reading(self.folder):
            cosines = reader.cosines_to_end(self.manifest)
            line = self._line(index)
            if index < len(cosines):
                line["metrics"]["cosine_to_end"] = cosines[index]
            return reader.read_step(self.folder, line)

    def attention(self, index: int, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Return the maps of attention of step ``index`` as `Step.attention` has them; {} where it has none.

        names: "<kind>:<layer>" of those to read; the others are not read from the disk. None for all.

        Raises `InvalidParams` for a step or a map that the run does not have.
        """
        look()
        names = None if names is None else list(names)
        with reader.reading(self.folder):
            line = self._line(index)
            if missing := sorted(set(names or ()) - set(line["attention"])):
                raise InvalidParams(
                    f"Step {index} of the run {self.id} has no attention {missing[0]!r}: it has"
                    f" {', '.join(line['attention']) or 'none'}.",
                    field="names",
                )
            return reader.read_attention(self.folder, line, names)

    def preview(self, index: int) -> np.ndarray | None:
        """Return the stored preview of step ``index``, (B, H, W, 3) uint8, or None.

        Raises `InvalidParams` for a step that the run does not have.
        """
        with reader.reading(self.folder):
            return reader.read_preview(self.folder, self._line(index))

    def images(self) -> tuple[np.ndarray, ...]:
        """Return the final images, each (H, W, 3) uint8; none of a run that has not come so far."""
        with reader.reading(self.folder):
            return reader.read_images(self.folder)

    def content(self) -> str:
        """Return a digest of the manifest, the steps and their arrays: two runs that have the same are copies."""
        digest = hashlib.sha256(json.dumps(self.manifest, sort_keys=True).encode())
        with reader.reading(self.folder):
            for path in sorted((self.folder / layout.STEPS, *self.folder.rglob("*.safetensors"))):
                look()
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
                digest.update(path.relative_to(self.folder).as_posix().encode() + b"\0")
        return digest.hexdigest()

    def _line(self, index: int) -> dict[str, Any]:
        lines = reader.lines_of(self.folder)
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(lines):
            raise InvalidParams(
                f"The run {self.id} has no step {index!r}: it has {len(lines)}, from 0.", field="index"
            )
        return reader.parse_line(self.folder, index, lines[index])

    def _without_latents(self) -> CapabilityError:
        if "hosted" in self.provenance:
            return CapabilityError(
                f"The run {self.id} has no latents: a hosted service returns only the finished image."
            )
        return CapabilityError(f"The run {self.id} was recorded without latents: capture it again with them.")
