"""A request and its events as bytes: what every backend sends that runs somewhere else.

A request is one safetensors blob: the pictures of its cells as tensors, the rest as JSON metadata. An answer is the
position of a cell (4 bytes, little-endian) and the bytes of an event (`diffatlas.events.to_bytes`). Nothing is pickled.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from diffatlas.backends.base import Backend, BatchBackend
from diffatlas.capture.spec import Capture
from diffatlas.errors import CapabilityError
from diffatlas.events import Event, Failed, from_bytes, join_params, split_params, to_bytes
from diffatlas.params import GenerationParams

#: Of the two forms together. One who speaks another is told so, and that one of both is to be brought up to date.
VERSION = 1
#: Bytes of a request; its pictures are most of them.
MOST_BYTES = 200_000_000
#: Cells of one request.
MOST_CELLS = 64
_POSITION = 4


@dataclass(frozen=True)
class Asked:
    """A request: one run, or the cells of a batch."""

    cells: tuple[GenerationParams, ...]
    capture: Capture
    #: Whether the cells share one call of the pipeline (`BatchBackend.trace_batch`), also where there is one.
    batch: bool = False


def asked_to_bytes(asked: Asked) -> bytes:
    """Write a request."""
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {}
    cells = []
    for i, cell in enumerate(asked.cells):
        plain, pictures = split_params(cell, f"cells/{i}")
        cells.append(plain)
        arrays |= pictures
    rest = {
        "version": VERSION,
        "cells": cells,
        "capture": asked.capture.to_dict(),
        "batch": asked.batch,
    }
    return save(arrays, metadata={"request": json.dumps(rest, allow_nan=False)})


def asked_from_bytes(blob: bytes) -> Asked:
    """Read what `asked_to_bytes` wrote; it may come from anybody.

    Raises `diffatlas.errors.CapabilityError` for another version, ValueError for anything else that is no request, and
    `diffatlas.errors.InvalidParams` for one that asks for what cannot be.
    """
    from safetensors.numpy import load

    if len(blob) > MOST_BYTES:
        raise ValueError(f"A request has at most {MOST_BYTES} bytes.")
    try:
        header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
        rest = json.loads(header["__metadata__"]["request"])
        version = rest["version"]
        plain, captured, batch = rest["cells"], rest["capture"], rest["batch"]
        arrays = load(blob)
        if not all(isinstance(one, dict) for one in (captured, *plain)):
            raise TypeError("Cells and capture are objects.")
    except Exception as error:
        raise ValueError("These bytes are not a request of Diffusion Atlas.") from error
    if version != VERSION:
        raise CapabilityError(
            f"This request is of version {version!r:.20}, and version {VERSION} is spoken here: install the same "
            "version of diffatlas at both ends."
        )
    if not 1 <= len(plain) <= MOST_CELLS or not isinstance(batch, bool):
        raise ValueError(f"A request has 1 to {MOST_CELLS} cells.")
    if not batch and len(plain) > 1:
        raise ValueError("Several cells make a batch.")
    cells = tuple(join_params(one, arrays, f"cells/{i}").validate() for i, one in enumerate(plain))
    return Asked(cells, Capture.from_dict(captured), batch)


def cannot_share(cells: Sequence[GenerationParams]) -> Generator[tuple[int, Event], None, None]:
    """Say of each cell that they cannot share a call, such as more than `MOST_CELLS`, but may run one by one."""
    for position in range(len(cells)):
        yield position, Failed(CapabilityError.code, "These cells cannot share a call there.", "batch")


def answer_to_bytes(position: int, event: Event) -> bytes:
    """Write an event of the cell at ``position``."""
    return position.to_bytes(_POSITION, "little") + to_bytes(event)


def answer_from_bytes(blob: bytes) -> tuple[int, Event]:
    """Read what `answer_to_bytes` wrote. Raises ValueError for anything else."""
    if len(blob) < _POSITION:
        raise ValueError("These bytes are not an answer of Diffusion Atlas.")
    return int.from_bytes(blob[:_POSITION], "little"), from_bytes(blob[_POSITION:])


def answers(
    backend: Backend, asked: Asked, stop: threading.Event | None = None
) -> Generator[tuple[int, Event], None, None]:
    """Run a request and yield (position, event), of one run as of a batch.

    Raises, at the first event, what `BatchBackend.trace_batch` raises, and `CapabilityError` for a batch where the
    backend runs none.
    """
    if not asked.batch:
        with closing(backend.trace(asked.cells[0], asked.capture, stop)) as events:
            for event in events:
                yield 0, event
        return
    if not isinstance(backend, BatchBackend):
        raise CapabilityError(f"The backend {backend.name!r} runs no batches: run the cells one by one.")
    with closing(backend.trace_batch(asked.cells, asked.capture, stop)) as found:
        yield from found


def asked_of(cells: Sequence[GenerationParams] | GenerationParams, capture: Capture | None) -> Asked:
    """Return the request of one run, or of the cells of a batch."""
    if isinstance(cells, GenerationParams):
        return Asked((cells,), capture or Capture())
    return Asked(tuple(cells), capture or Capture(), batch=True)
