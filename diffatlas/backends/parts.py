"""The configs of a pipeline's components, read from its folder or from the pipeline in memory."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from diffatlas.capture.ran_on import plain
from diffatlas.errors import ModelLoadError

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
        return read_json(self.folder / "model_index.json")

    @property
    def pipeline(self) -> type | None:
        """See `Parts`."""
        return class_of_diffusers(str(self.index.get("_class_name")))

    def config(self, component: str) -> dict[str, Any]:
        """See `Parts`. Raises `ModelLoadError` for one that cannot be read."""
        path = self.folder / component / _FILES.get(component, "config.json")
        return read_json(path) if path.is_file() else {}


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
    import diffusers  # noqa: F401

    return sys.modules["diffusers"]


def class_of_diffusers(name: str) -> type | None:
    """Return a class that diffusers exports; None where this version has none of the name.

    diffusers imports a class when it is first asked for. While another thread is importing what belongs to it, it can
    look as if there were none: then it is asked again.
    """
    diffusers = whole_diffusers()
    until = time.monotonic() + IMPORT_SECONDS
    while (found := getattr(diffusers, name, None)) is None:
        if name not in dir(diffusers) or time.monotonic() > until:
            return None
        time.sleep(0.05)
    return found


def read_json(path: Path) -> dict[str, Any]:
    """Read a config file. Raises `ModelLoadError` where it is not a JSON object."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(
            f"{path.parent.name}/{path.name} cannot be read: {error}.", field="model"
        ) from error
    if not isinstance(data, dict):
        raise ModelLoadError(f"{path.parent.name}/{path.name} is not a JSON object.", field="model")
    return data
