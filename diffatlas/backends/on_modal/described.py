"""What is known of requests and models without a GPU, as a container on Modal tells it."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from diffatlas.backends import wire
from diffatlas.backends.local import LocalBackend
from diffatlas.errors import DiffAtlasError
from diffatlas.registry import ModelEntry, list_models


class Foretold(LocalBackend):
    """A local backend that says what decides a result on another kind of device, which need not be here.

    Args:
        device: "cuda" or "cpu", where the runs will be.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self._foretold = device

    @property
    def device(self) -> str:
        """The kind of device that the runs will be on."""
        return self._foretold


def facts(backend: Foretold, asked: bytes) -> dict[str, Any]:
    """Return what `resolve` and `identity` say of a request of one cell, as plain types.

    {"asked": the resolved request as bytes, "identity", "batched": the identity as a cell of a batch}, or {"error":
    {"code", "message", "field"}}.
    """
    try:
        request = wire.asked_from_bytes(asked)
        params = backend.resolve(request.cells[0])
        return {
            "asked": wire.asked_to_bytes(wire.Asked((params,), request.capture)),
            "identity": backend.identity(params),
            "batched": backend.identity(params, batched=True),
        }
    except DiffAtlasError as error:
        return {"error": {"code": error.code, "message": error.message, "field": error.field}}


def estimate(backend: LocalBackend, asked: bytes) -> dict[str, Any] | None:
    """Return what `LocalBackend.measure` says of a request of one cell, as plain types; None where it does not know."""
    try:
        request = wire.asked_from_bytes(asked)
        found = backend.measure(request.cells[0], request.capture)
    except DiffAtlasError as error:
        return {"error": {"code": error.code, "message": error.message, "field": error.field}}
    return None if found is None else asdict(found)


def models() -> list[dict[str, Any]]:
    """Return the models that are offered, as plain types, the first one first."""
    return [asdict(entry) for entry in list_models("local")]


def entry_of(told: dict[str, Any]) -> ModelEntry:
    """Return a model as `models` tells it."""
    known = {one.name for one in fields(ModelEntry)}
    return ModelEntry(**{name: value for name, value in told.items() if name in known})
