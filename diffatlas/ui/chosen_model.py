"""The model that a form names, of the list or not: what it is, who can keep it, and the words for its loading."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffatlas.backends import loading
from diffatlas.backends.listed import refuse_unlisted
from diffatlas.backends.look_up import ModelCard, look_up, size_words
from diffatlas.backends.model_info import ModelInfo, ModelSource, source_of
from diffatlas.backends.model_info import find_source as source_of_model
from diffatlas.errors import DiffAtlasError, ModelLoadError, UnknownModel
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.registry import MEMORY, USER, ModelEntry, add_model, find_model, remove_model
from diffatlas.settings import is_shared
from diffatlas.ui.asked_values import typed

#: What the Hub said of a model is believed for so long, in seconds.
BELIEVED_SECONDS = 600

_lock = threading.Lock()
_cards: dict[tuple[str | None, ...], tuple[float, ModelCard]] = {}


@dataclass(frozen=True)
class Chosen:
    """A model that can run, as far as is known without loading it."""

    entry: ModelEntry
    info: ModelInfo | None
    #: What it is, in a sentence or two.
    line: str
    #: What the user's own list can do with it: "Keep", "Remove", or "" for a model that is not theirs to remove.
    action: str


def choose(model: str | None) -> Chosen:
    """Find the model that a form names: an id of the list or of the Hub, or a folder.

    Raises `InvalidParams` on a shared server for a model that is not of its list, and the errors of `look_up`.
    """
    model = typed(model, "model")
    if is_shared():
        refuse_unlisted(model)
    try:
        entry = find_model(model)
    except UnknownModel:
        card = looked_up(model)
        if card.problem:
            raise ModelLoadError(card.problem, field="model") from None
        return Chosen(card.entry(), card.info, card.line, "Keep")
    if entry.provider != USER:
        notes = entry.notes or "From models/local.md."
        said = (notes, *_placed(entry), _to_download(entry))
        return Chosen(entry, _known(model), " ".join(filter(None, said)), "")
    try:
        line = looked_up(model).line
    except DiffAtlasError as error:
        # It stays in the list: the network may be back when it runs.
        line = error.message
    return Chosen(entry, _known(model), f"{entry.notes} {line}".strip(), "Remove")


def entry_at_hand(model: str | None) -> ModelEntry:
    """Return the entry of a model without asking the Hub: of the list, on this machine, or looked up a while ago.

    Raises `UnknownModel` for any other, and the errors of `choose`.
    """
    model = typed(model, "model")
    try:
        return find_model(model)
    except UnknownModel:
        with _lock:
            known = (model, None, None, None) in _cards
        if not known and loading.cached(source_of_model(model)) is None:
            raise
    return choose(model).entry


def is_of_here(model: str | None) -> bool:
    """Whether a model is known on this machine, without asking the Hub."""
    try:
        entry_at_hand(model)
    except DiffAtlasError:
        return False
    return True


def keep_or_remove(model: str | None) -> str:
    """Add a model to the user's own list, or take it out where it is there; return its id.

    Raises `InvalidParams`, `RegistryError`, and the errors of `look_up`.
    """
    chosen = choose(model)
    if chosen.action == "Remove":
        return remove_model(chosen.entry.id).id
    return add_model(chosen.entry).id


def looked_up(
    model: str, revision: str | None = None, subfolder: str | None = None, variant: str | None = None
) -> ModelCard:
    """Return what `look_up` says; of a model of the Hub, what it said a while ago."""
    key = (model, revision, subfolder, variant)
    with _lock:
        when, card = _cards.get(key, (0.0, None))
    if card is not None and time.monotonic() - when < BELIEVED_SECONDS:
        return card
    card = look_up(model, revision, subfolder, variant)
    if not card.on_disk:
        with _lock:
            _cards[key] = (time.monotonic(), card)
    return card


def loading_words(params: GenerationParams, backend: Any) -> str:
    """Return what is going on until the first step of a run: what is loaded, and from where.

    backend: may have ``is_loaded``, as `LocalBackend` does.
    """
    plain = (params.revision, params.subfolder, params.variant) == (None, None, None)
    if plain and hasattr(backend, "is_loaded") and backend.is_loaded(params.model):
        return "Starting…"
    try:
        source = source_of(params)
        name = source.entry.name if source.entry else Path(params.model).name
        if loading.cached(source) is not None:
            return f"Loading {name} from this machine…"
        card = looked_up(params.model, params.revision, params.subfolder, params.variant)
        return f"Loading {name}: first time from the Hub, about {size_words(card.download_bytes)}…"
    except DiffAtlasError:
        # What is wrong is for the run to say.
        return "Loading the model…"


def where(entry: ModelEntry) -> str:
    """Return where a listed model is, as the menu says it: in memory, on this machine, or to be downloaded.

    The Hub is not asked. "" for a model of which something is wrong: the line at the field says what.
    """
    if entry.provider == MEMORY:
        return "in memory"
    try:
        source = source_of_model(entry.id)
    except DiffAtlasError:
        return ""
    if is_here(source):
        return "on this machine"
    size = "of unknown size" if entry.download is None else f"{entry.download:g}\u00a0GB"
    return f"to be downloaded, {size}"


def is_here(source: ModelSource) -> bool:
    """Whether all of a model's files are on this machine."""
    if source.folder is not None:
        return True
    from huggingface_hub import try_to_load_from_cache

    # Cheap, and of most models in a list the answer: nothing of them was ever fetched.
    index = f"{source.subfolder}/model_index.json" if source.subfolder else "model_index.json"
    begun = isinstance(try_to_load_from_cache(source.model, index, revision=source.revision), str)
    return begun and loading.cached(source) is not None


def _placed(entry: ModelEntry) -> tuple[str, ...]:
    """Return how a model of the list that ships is put on the device, where its line says something of it."""
    if not (entry.offload or entry.vae or entry.compile):
        return ()
    try:
        return looked_up(entry.id).placed
    except DiffAtlasError:
        # The run says what is wrong with it.
        return ()


def _to_download(entry: ModelEntry) -> str:
    """Return what a run of a listed model would fetch first; "" where its files are here or it is in memory."""
    if entry.provider == MEMORY:
        return ""
    try:
        if is_here(source_of_model(entry.id)):
            return ""
    except DiffAtlasError:
        # The run says what is wrong with it.
        return ""
    size = "of a size that is not known" if entry.download is None else f"about {entry.download:g} GB"
    return f"Not on this machine: the first run downloads it, {size}."


def _known(model: str) -> ModelInfo | None:
    try:
        return shared_local_backend().info(model)
    except DiffAtlasError:
        return None
