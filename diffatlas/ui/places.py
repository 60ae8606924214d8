"""Where models run, as the pages name it: this machine, a place elsewhere that sees inside, or a provider."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pydantic import SecretStr

from diffatlas.backends.elsewhere import NAMES
from diffatlas.backends.fitting import needed_bytes
from diffatlas.backends.hosted import provider_of
from diffatlas.backends.hosted.base import Provider
from diffatlas.backends.model_info import ModelInfo
from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.operations.trace import shared_local_backend
from diffatlas.registry import (
    ELSEWHERE,
    ELSEWHERE_NAMES,
    HOSTED,
    MEMORY,
    HostedModel,
    ModelEntry,
    find_model,
    hosted_model,
    list_models,
)
from diffatlas.ui import chosen_model, elsewhere

LOCAL, LOCAL_NAME = "local", "This machine"


def providers() -> list[Provider]:
    """Return the providers that can be used, in the order in which they are offered."""
    found = []
    for name in HOSTED:
        # One whose address is set to none is told of where it is used.
        with suppress(DiffAtlasError):
            found.append(provider_of(name))
    return found


def offered() -> list[tuple[str, str]]:
    """Return the places that a form offers now, as (backend, what it is called): this machine first."""
    return [(LOCAL, LOCAL_NAME), *elsewhere.offered(), *((one.name, one.label) for one in providers())]


def choices() -> list[tuple[str, str]]:
    """Return `offered` as a field of Gradio takes it: what each is called, and the backend."""
    return [(name, backend) for backend, name in offered()]


def sees_inside(backend: str) -> bool:
    """Whether the runs of a backend show their path: all but those of providers."""
    return backend not in HOSTED


def name_of(backend: str) -> str:
    """Return what a backend is called. Raises `InvalidParams` for one that there is not, or that is not offered."""
    if backend == LOCAL:
        return LOCAL_NAME
    elsewhere.check_offered(backend)
    return NAMES[backend] if backend in ELSEWHERE else provider_of(backend).label


def place_name(backend: str) -> str:
    """Return what a backend is called, also one that there is not: then by its own name."""
    if backend in ELSEWHERE_NAMES:
        return ELSEWHERE_NAMES[backend]
    try:
        return name_of(backend)
    except DiffAtlasError:
        return backend


def place_of(entry: ModelEntry) -> str:
    """Return the backend that a model is of."""
    return entry.provider if isinstance(entry, HostedModel) or entry.provider in ELSEWHERE else LOCAL


def models_of(backend: str) -> list[ModelEntry]:
    """Return the models that are listed of a backend, its first one first; none where it has no list."""
    try:
        return list_models(backend)
    except DiffAtlasError:
        if backend == LOCAL:
            raise
        return []


def names_of_models() -> dict[str, str]:
    """Return what every listed model is called, by its id; of one id in several lists, that of this machine."""
    return {entry.id: entry.name for backend in (*HOSTED, *ELSEWHERE, LOCAL) for entry in models_of(backend)}


def entry_of(backend: str, model: str = "") -> ModelEntry:
    """Return what is known of a model of a backend, of its list or not; of the first listed where none is named.

    The Hub is not asked, nor a provider; a place elsewhere is, where it has not said lately what it offers. Raises
    `InvalidParams` for a backend that there is not and for no model, `UnknownModel` for one of this machine of which
    nothing is known.
    """
    name_of(backend)
    elsewhere.learn_models(backend)
    model = model.strip() or next((entry.id for entry in models_of(backend)), "")
    if not model:
        raise InvalidParams("No model is listed here: give the id of one.", field="model")
    if backend == LOCAL:
        return chosen_model.entry_at_hand(model)
    if backend in ELSEWHERE:
        try:
            return find_model(model, backend)
        except DiffAtlasError:
            return ModelEntry(model, model, provider=backend)
    try:
        return hosted_model(model, backend)
    except DiffAtlasError:
        return HostedModel(model, model, provider=backend)


def info_of(backend: str, model: str, token: SecretStr | None = None) -> ModelInfo | None:
    """Return what is known of a model where it runs, without loading it; None where nothing is, as of a provider's.

    token: that of whoever asks, for another Atlas.
    """
    if backend in ELSEWHERE:
        return elsewhere.said(backend, "info", model, token)
    try:
        return shared_local_backend().info(model) if backend == LOCAL else None
    except DiffAtlasError:
        return None


def called(backend: str, model: str) -> str:
    """Return what a model is called, and its id where it is not listed."""
    if backend in ELSEWHERE:
        return next((entry.name for entry in models_of(backend) if entry.id == model), model)
    try:
        return entry_of(backend, model).name
    except DiffAtlasError:
        return model


def needed_by(entry: ModelEntry, backend: Any, device: str) -> int | None:
    """Return the bytes that must be free for a model of this machine; None where that is not known, or none are.

    backend: a `LocalBackend`.
    """
    if entry.provider == MEMORY:
        return None
    try:
        here = chosen_model.where(entry) == "on this machine"
        return needed_bytes(entry, device, backend.dtype, here)
    except DiffAtlasError:
        # What is wrong with it is for its run to say.
        return None
