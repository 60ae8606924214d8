"""The backends that see inside and run elsewhere: what they are called, and what each lacks before it can be used."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from diffatlas.errors import CapabilityError
from diffatlas.registry import ELSEWHERE, ELSEWHERE_NAMES
from diffatlas.settings import is_shared, settings

#: What a backend of `diffatlas.registry.ELSEWHERE` is called.
NAMES = {backend: name[0].upper() + name[1:] for backend, name in ELSEWHERE_NAMES.items()}
#: The token of another Atlas; it goes to the address in DIFFATLAS_REMOTE_URL alone.
TOKEN = "DIFFATLAS_REMOTE_TOKEN"


def lacking(backend: str) -> str:
    """Return what is to be done before a backend can be used, in a sentence; "" where nothing is.

    Nobody is asked. What a page was told, such as an address that was typed, is not looked at.
    """
    if backend == "remote":
        return "" if settings().remote_url else "It has no address: set DIFFATLAS_REMOTE_URL."
    if find_spec(backend) is None:
        return f'The package {backend} is not installed: pip install "diffatlas[{backend}]".'
    if backend == "modal":
        makes = "run `modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET"
        return "" if _has_modal_token() else f"There is no token: {makes}."
    if settings().ray is None:
        return "Set DIFFATLAS_RAY to the address of a cluster, or to a number of workers on this machine."
    return ""


def refused(backend: str) -> str:
    """Return why the visitors of a page cannot use a backend that its host has set up; "" where they can.

    On a shared server it costs the host, who has to say so (DIFFATLAS_ELSEWHERE_FOR_VISITORS).
    """
    if not is_shared() or settings().elsewhere_for_visitors:
        return ""
    where = ELSEWHERE_NAMES[backend]
    return f"Its host has not opened {where} to visitors: DIFFATLAS_ELSEWHERE_FOR_VISITORS does that."


def check_usable(backend: str) -> None:
    """Raise `CapabilityError` where a backend of `diffatlas.registry.ELSEWHERE` lacks something."""
    if backend in ELSEWHERE and (missing := lacking(backend)):
        raise CapabilityError(f"{NAMES[backend]} cannot be used here yet. {missing}")


def host_of(url: str) -> str:
    """Return host and port of an address as they may be shown: without a name or a password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _has_modal_token() -> bool:
    if os.environ.get("MODAL_TOKEN_ID") and os.environ.get("MODAL_TOKEN_SECRET"):
        return True
    kept = os.environ.get("MODAL_CONFIG_PATH")
    try:
        return (Path(kept) if kept else Path.home() / ".modal.toml").expanduser().is_file()
    except (OSError, RuntimeError):
        return False
