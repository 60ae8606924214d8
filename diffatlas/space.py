"""What a Hugging Face Space is: told by its environment, and what an app that runs on one sets before it starts."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

#: The folder of a Space that outlives a restart, where its owner has paid for one.
PERSISTENT = Path("/data")


def on_zerogpu(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Whether this is a Space that is lent GPUs."""
    return environment.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def prepare(environment: MutableMapping[str, str] = os.environ, persistent: Path = PERSISTENT) -> None:
    """Set what an app needs on a Space, unless its owner has set it. Nothing is done elsewhere.

    It is served to the outside. What it keeps goes into ``persistent`` where that can be written, and is else where it
    is on any machine, until the Space is started again. On ZeroGPU this process has no GPU: whatever runs in it runs
    on the CPU.
    """
    if not environment.get("SPACE_ID"):
        return
    environment.setdefault("GRADIO_SERVER_NAME", "0.0.0.0")
    environment.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    environment.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if on_zerogpu(environment):
        environment.setdefault("DIFFATLAS_DEVICE", "cpu")
    if persistent.is_dir() and os.access(persistent, os.W_OK):
        ours = persistent / "diffatlas"
        environment.setdefault("DIFFATLAS_LIBRARY", str(ours / "runs"))
        environment.setdefault("DIFFATLAS_USER_MODELS", str(ours / "models.md"))
        environment.setdefault("DIFFATLAS_HOSTED_LEDGER", str(ours / "hosted.sqlite"))
        environment.setdefault("HF_HOME", str(persistent / ".huggingface"))
