"""Writing one run's folder as its events arrive."""

from __future__ import annotations

import errno
import io
import logging
import secrets
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from diffatlas.errors import BackendFailure
from diffatlas.events import Event, Failed, Finished, Image, Started, Step
from diffatlas.library import format as layout
from diffatlas.library.claimed import this_process
from diffatlas.run import Run, timestamp

log = logging.getLogger("diffatlas")


class RunWriter:
    """Writes the events of one run into ``folder``. Use it as a context.

    Leaving the context before `Finished` or `Failed` has arrived marks the run as "stopped" (the generator
    was closed, Ctrl-C), or as "failed" where an exception is on its way. A process that is killed marks
    nothing: its run reads as "partial".
    """

    def __init__(self, folder: Path, kind: str = "trace") -> None:
        self.folder = Path(folder)
        self._kind = kind
        self._manifest: dict[str, Any] | None = None
        self._lines: io.TextIOBase | None = None
        self._steps = 0
        self._ended = False
        self._token = secrets.token_hex(8)

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._manifest is not None and not self._ended:
                if isinstance(error, Exception):
                    code = getattr(error, "code", BackendFailure.code)
                    self._end("failed", error={"code": code, "message": str(error), "field": None})
                else:
                    self._end("stopped")
        except OSError as refusal:
            # What led here is on its way already, and says more. The run reads as "partial".
            log.warning("The end of the run in %s cannot be written: %s", self.folder, refusal)
        finally:
            layout.WRITING.discard(self._token)
            self._close_lines()

    def write(self, event: Event) -> None:
        """Write one event. Raises `BackendFailure` where the disk refuses.

        Events that come without a `Started` before them (a run that failed or stopped before it began)
        leave nothing behind.
        """
        try:
            if isinstance(event, Started):
                self._start(event, timestamp())
            elif self._manifest is None:
                return
            elif isinstance(event, Step):
                self._step(event)
            elif isinstance(event, Image):
                self._picture(layout.image_file(self.folder, event.index), event.pixels)
            elif isinstance(event, Finished):
                missing = {"missing": dict(event.missing)} if event.missing else {}
                told = {**self._manifest["provenance"], **event.provenance, **missing}
                self._manifest = {**self._manifest, "provenance": told}
                self._end(event.status, seconds=event.seconds, cosine_to_end=event.cosine_to_end)
            elif isinstance(event, Failed):
                error = {"code": event.code, "message": event.message, "field": event.field}
                self._end("failed", error=error)
        except OSError as error:
            raise refused(self.folder, error) from error

    def write_run(self, run: Run) -> None:
        """Write a run that is already whole."""
        started = Started(
            run_id=run.id,
            params=run.params,
            initial_latents=run.initial_latents,
            initial_sigma=run.initial_sigma,
            total_steps=run.total_steps,
            provenance=run.provenance,
            capture=run.capture,
        )
        try:
            self._start(started, run.created)
            for step in run.steps:
                self._step(step)
            for index, pixels in enumerate(run.images):
                self._picture(layout.image_file(self.folder, index), pixels)
            self._end(run.status, seconds=run.seconds, error=run.error)
        except OSError as error:
            raise refused(self.folder, error) from error

    def _start(self, event: Started, created: str) -> None:
        # A new run appears at once, with its manifest: a folder without one would be taken for a damaged run.
        final, fresh = self.folder, not self.folder.exists()
        if fresh:
            self.folder = beside(final, "tmp")
        try:
            self._begin(event, created)
            if fresh:
                self.folder.rename(final)
        except OSError:
            if fresh:
                shutil.rmtree(self.folder, ignore_errors=True)
            self._manifest = None
            raise
        finally:
            self.folder = final
        self._lines = (self.folder / layout.STEPS).open("w", encoding="utf-8")

    def _begin(self, event: Started, created: str) -> None:
        for name in ("steps", "previews", "images"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if event.initial_latents is not None:
            self._tensors(self.folder / layout.INITIAL, {"initial_latents": event.initial_latents})
        for index, one in enumerate(event.params.inputs):
            if one.pixels is not None:
                (self.folder / "inputs").mkdir(exist_ok=True)
                self._picture(layout.input_file(self.folder, index), one.pixels)
        layout.WRITING.add(self._token)
        self._manifest = {
            "format": layout.FORMAT_VERSION,
            "id": event.run_id,
            "status": "running",
            "created": created,
            "params": event.params.to_dict(),
            "initial_sigma": event.initial_sigma,
            "total_steps": event.total_steps,
            "provenance": event.provenance,
            "capture": event.capture,
            "writer": {**this_process(), "token": self._token},
        }
        if key := event.provenance.get("key"):
            self._manifest["key"] = key
        if self._kind != "trace":
            self._manifest["kind"] = self._kind
        self._write_manifest(self._manifest)

    def _step(self, step: Step) -> None:
        arrays = layout.arrays_of(step)
        if arrays:
            self._tensors(layout.step_file(self.folder, step.index), arrays)
        if step.attention:
            self._tensors(layout.attention_file(self.folder, step.index), dict(step.attention))
        for image, pixels in enumerate(step.preview if step.preview is not None else ()):
            self._picture(layout.preview_file(self.folder, step.index, image), pixels)
        line = {
            "index": step.index,
            "timestep": step.timestep,
            "sigma": step.sigma,
            "metrics": step.metrics,
            "x0_gain": step.x0_gain,
            "arrays": sorted(arrays),
            "previews": 0 if step.preview is None else len(step.preview),
        }
        if step.attention:
            line["attention"] = sorted(step.attention)
        # One write and one flush: a kill leaves whole lines and at most one cut short.
        self._lines.write(layout.dumps(line) + "\n")
        self._lines.flush()
        self._steps += 1

    def _end(self, status: str, **more: Any) -> None:
        manifest = {**self._manifest, "status": status, "steps": self._steps}
        manifest.update({key: value for key, value in more.items() if value is not None})
        if status != "running":
            del manifest["writer"]
        self._write_manifest(manifest)
        self._manifest = manifest
        self._ended = True

    def _close_lines(self) -> None:
        if self._lines is not None:
            try:
                self._lines.close()
            except OSError as refusal:
                log.warning("The last step of the run in %s cannot be written: %s", self.folder, refusal)

    def _write_manifest(self, manifest: dict[str, Any]) -> None:
        text = layout.dumps(manifest, indent=1)
        layout.write_atomically(self.folder / layout.MANIFEST, text.encode())

    def _tensors(self, path: Path, arrays: dict[str, np.ndarray]) -> None:
        from safetensors.numpy import save

        layout.write_atomically(path, save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))

    def _picture(self, path: Path, pixels: np.ndarray) -> None:
        from PIL import Image as Picture

        buffer = io.BytesIO()
        Picture.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=1)
        layout.write_atomically(path, buffer.getvalue())


def beside(folder: Path, ending: str) -> Path:
    """Return a name for a folder beside ``folder`` that is its own, and no run's."""
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.{ending}")


def refused(folder: Path, error: OSError) -> BackendFailure:
    """Return the error that says that the disk refuses to take a run, and what to do about it."""
    full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    reason = "the disk is full" if full else error.strerror or str(error)
    return BackendFailure(
        f"The run cannot be written to {folder} ({reason}): free some space or choose another folder."
    )
