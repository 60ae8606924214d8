"""The configs of a pipeline's components, read from its folder or from the pipeline in memory."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from diffatlas import files
from diffatlas.backends import configs
from diffatlas.capture.ran_on import plain
from diffatlas.described import Wrong
from diffatlas.errors import ModelLoadError, Unreadable
from diffatlas.importing import importing

#: How long a class is waited for that another thread is importing.
IMPORT_SECONDS = 60
#: Components whose config is in a file of another name.
_FILES = {"scheduler": "scheduler_config.json", "tokenizer": "tokenizer_config.json"}


class Parts(Protocol):
    """Where configs come from."""

    @property
    def index(self) -> Mapping[str, Any]:
        """The pipeline's own: its class as ``_class_name``, and [library, class] of each component by name."""
        ...

    @property
    def pipeline(self) -> type | None:
        """The pipeline's class; None where this version of diffusers has none of its name."""
        ...

    def config(self, component: str) -> dict[str, Any]:
        """Return the config of a component; {} where there is none."""
        ...


@dataclass(frozen=True)
class FolderParts:
    """The JSON files of a pipeline folder."""

    folder: Path

    @property
    def index(self) -> Mapping[str, Any]:
        """``model_index.json``. Raises `ModelLoadError` where it cannot be read."""
        return read_index(self.folder)

    @property
    def pipeline(self) -> type | None:
        """See `Parts`."""
        return class_of_diffusers(self.index["_class_name"])

    def config(self, component: str) -> dict[str, Any]:
        """See `Parts`. Raises `ModelLoadError` for one that cannot be read."""
        return read_config(self.folder, component)


@dataclass(frozen=True)
class PipeParts:
    """A pipeline in memory, as it is now."""

    pipe: Any

    @property
    def index(self) -> Mapping[str, Any]:
        """See `Parts`."""
        held = {name: part for name, part in vars(self.pipe).items() if hasattr(part, "config")}
        named = {name: [type(part).__module__, type(part).__name__] for name, part in held.items()}
        return {**dict(getattr(self.pipe, "config", {})), **named, "_class_name": type(self.pipe).__name__}

    @property
    def pipeline(self) -> type:
        """See `Parts`."""
        return type(self.pipe)

    def config(self, component: str) -> dict[str, Any]:
        """See `Parts`."""
        part = getattr(self.pipe, component, None)
        if part is None:
            return {}
        if component == "tokenizer":
            return {"model_max_length": getattr(part, "model_max_length", None)}
        config = getattr(part, "config", {})
        config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
        # As it would be read from a file.
        return {**plain(config), "_class_name": type(part).__name__}


def whole_diffusers() -> Any:
    """Import diffusers and return it.

    Its module puts another in its place when it has been imported. A thread that waits for another's import of it is
    given the one of before by the ``import`` statement, which has none of its classes.
    """
    with importing():
        import diffusers  # noqa: F401

    return sys.modules["diffusers"]


def import_classes(index: Mapping[str, Any]) -> None:
    """Import the classes of a pipeline's components, so that who loads them imports nothing beside another thread.

    What cannot be imported is left for the loading to say.
    """
    for entry in index.values():
        if not (configs.is_part(entry) and entry[0] in ("diffusers", "transformers") and entry[1]):
            continue
        with importing(), suppress(Exception):
            getattr(importlib.import_module(entry[0]), entry[1], None)


def class_of_diffusers(name: str) -> type | None:
    """Return a class that diffusers exports; None where this version has none of the name.

    diffusers imports a class when it is first asked for. While another thread is importing what belongs to it, it can
    look as if there were none: then it is asked again.
    """
    diffusers = whole_diffusers()
    until = time.monotonic() + IMPORT_SECONDS
    while (found := _asked(diffusers, name)) is None:
        if name not in dir(diffusers) or time.monotonic() > until:
            return None
        time.sleep(0.05)
    return found


def _asked(module: Any, name: str) -> Any:
    with importing():
        return getattr(module, name, None)


def read_index(folder: Path) -> dict[str, Any]:
    """Read the index of a pipeline folder. Raises `ModelLoadError` where it is not what it should be."""
    path = folder / "model_index.json"
    index = read_json(path)
    try:
        configs.check_index(index)
    except Wrong as wrong:
        raise _unfit(path, wrong) from wrong
    return index


def read_config(folder: Path, component: str) -> dict[str, Any]:
    """Read the config of a component; {} where there is none. Raises `ModelLoadError` as `read_index` does."""
    path = folder / component / _FILES.get(component, "config.json")
    if not os.path.lexists(path):
        return {}
    config = read_json(path)
    try:
        configs.check_config(component, config)
    except Wrong as wrong:
        raise _unfit(path, wrong) from wrong
    return config


def check_plain(path: Path) -> None:
    """Raise `ModelLoadError` where a file of a model is a folder, a pipe, or a link that leads nowhere."""
    try:
        os.close(files.open_file(path))
    except (OSError, Unreadable) as error:
        reason = error.reason if isinstance(error, Unreadable) else files.reason_of(error)
        raise ModelLoadError(
            f"{_place(path)} cannot be read: {reason}; fetch the model again.", field="model"
        ) from error


def names_in(folder: Path) -> list[str]:
    """Return the names of what is in a folder, sorted; none where there is no such folder."""
    try:
        return sorted(os.listdir(folder)) if folder.is_dir() else []
    except OSError as error:
        raise ModelLoadError(
            f"The folder {folder.name} of the model cannot be read: {files.reason_of(error)}.", field="model"
        ) from error


def _unfit(path: Path, wrong: Wrong) -> ModelLoadError:
    return ModelLoadError(f"{_place(path)} cannot be used: {wrong}; fetch the model again.", field="model")


def _place(path: Path) -> str:
    return files.plain_name(f"{path.parent.name}/{path.name}")


def read_json(path: Path) -> dict[str, Any]:
    """Read a config file. Raises `ModelLoadError` where it is not a JSON object."""
    try:
        return files.read_object(path)
    except FileNotFoundError as error:
        raise ModelLoadError(f"{_place(path)} is missing: fetch the model again.", field="model") from error
    except Unreadable as error:
        raise ModelLoadError(
            f"{_place(path)} cannot be read: {error.reason}; fetch the model again.", field="model"
        ) from error
