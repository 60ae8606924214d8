"""Where another Atlas is: its address and the token that it asks for, checked before anything is sent."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from diffatlas.errors import InvalidParams
from diffatlas.settings import settings

#: The token that this machine sends to another Atlas.
TOKEN_VARIABLE = "DIFFATLAS_REMOTE_TOKEN"


@dataclass(frozen=True)
class Place:
    """An address, without a slash at its end, and the token for it."""

    url: str
    token: SecretStr | None = None

    @property
    def called(self) -> str:
        """What it is called in a sentence."""
        return f"the Atlas at {urlsplit(self.url).netloc}"

    @property
    def here(self) -> bool:
        """Whether it is on this machine, so that nothing passes over a network."""
        return is_loopback(urlsplit(self.url).hostname or "")

    @property
    def warning(self) -> str:
        """What to beware of, as a sentence; "" where there is nothing."""
        if self.token is None or self.here or self.url.startswith("https:"):
            return ""
        return (
            f"The token for {self.called} goes over the network as it is, where others may read it: use https://, or "
            "an SSH tunnel (ssh -L) and http://localhost."
        )


def place_of(url: str | None = None, token: str | SecretStr | None = None) -> Place:
    """Return a place. ``url`` and ``token``: those of the environment where None.

    Raises `InvalidParams` for what is no address of an Atlas, or no token.
    """
    given = settings().remote_url if url is None else url
    if not isinstance(given, str) or not given.strip():
        raise InvalidParams(
            "No other Atlas is named: set DIFFATLAS_REMOTE_URL to its address, such as https://atlas.example:8421.",
            field="url",
        )
    return Place(_checked(given.strip()), token_of(token, TOKEN_VARIABLE))


def token_of(given: str | SecretStr | None, variable: str) -> SecretStr | None:
    """Return a token, that of the environment where none is given, and None where there is none at all.

    Raises `InvalidParams`, which does not tell it, for what cannot be sent as one.
    """
    if isinstance(given, SecretStr):
        given = given.get_secret_value()
    text = (os.environ.get(variable, "") if given is None else given).strip()
    if not text:
        return None
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise InvalidParams(
            f"The token ({variable}) holds a space, a line break or a letter that none may have: copy it again.",
            field="token",
        )
    return SecretStr(text)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address can be reached from its own machine alone."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidParams(
            f"{url!r:.100} is no address of an Atlas: write http://host:port or https://host.", field="url"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidParams(
            "The address of an Atlas has no name, token or question in it: give the token by itself.",
            field="url",
        )
    return url.rstrip("/")
