"""The keys of providers: where they come from, and what they may be. They are held in memory alone."""

from __future__ import annotations

import os

from pydantic import SecretStr

from diffatlas.backends.hosted.base import Provider
from diffatlas.errors import KeyRefused

MOST_LETTERS = 1000


def key_of(provider: Provider, given: str | SecretStr | None = None) -> SecretStr:
    """Return the key for a provider: the one that is given, else that of the environment.

    Raises `KeyRefused` where there is none, or where it holds what no key does.
    """
    key = given.get_secret_value() if isinstance(given, SecretStr) else given
    source = "The key"
    if not (key or "").strip() and (variable := variable_of(provider)):
        key, source = os.environ[variable], f"The environment variable {variable}"
    key = (key or "").strip()
    if not key:
        raise KeyRefused(
            f"There is no key for {provider.label}: set {provider.variables[0]} in the environment, or type one in "
            f"the page's Settings. {provider.keys_page} makes one.",
            field="key",
        )
    if not (key.isascii() and key.isprintable() and " " not in key) or len(key) > MOST_LETTERS:
        raise KeyRefused(
            f"{source} is no key of {provider.label}: it holds a space, a line break or a letter that none has. "
            f"Copy it again from {provider.keys_page}.",
            field="key",
        )
    if not key.startswith(provider.key_start):
        raise KeyRefused(
            f"{source} is no key of {provider.label}, whose keys begin with {provider.key_start}. A key of another "
            f"provider goes to that provider's own backend; {provider.keys_page} makes one of {provider.label}.",
            field="key",
        )
    return SecretStr(key)


def variable_of(provider: Provider) -> str | None:
    """Return the environment variable that holds a key of a provider, or None."""
    return next((name for name in provider.variables if os.environ.get(name, "").strip()), None)
