"""What a provider says when it refuses: its own words, and the typed error that they mean."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from diffatlas.backends.hosted.base import Provider
from diffatlas.errors import (
    CapabilityError,
    ContentRefused,
    DiffAtlasError,
    HostedError,
    KeyRefused,
    PaymentRequired,
    ProviderDown,
    ProviderTimeout,
    RateLimited,
    UnknownModel,
)

#: Characters of a provider's words that are kept.
MOST_WORDS = 300
#: Where providers put their words, the most telling first.
_PLACES = ("detail", "message", "error", "errors", "title", "msg", "name")

#: Words by which providers say that they refuse a prompt, or withhold an image, for what it shows.
REFUSED = re.compile(r"nsfw|sensitive|safety|moderat|flagged|content.polic|\bE005\b", re.IGNORECASE)


def content_refused(label: str, said: str = "") -> ContentRefused:
    """Return the error of a provider that refuses a prompt, or withholds its image.

    label: the provider's name. said: its words.
    """
    quoted = f" It says: {said}" if said else ""
    return ContentRefused(
        f"{label} refuses this prompt, or withholds its image, for what it shows: say it in other words.{quoted}",
        field="prompt",
        said=said,
    )


def words_of(body: Any, secret: str = "") -> str:
    """Return the words of an answer: one line of printable characters, cut, without the key.

    body: JSON that was read, or a text.
    """
    found = " ".join(_texts(body))
    if secret:
        found = found.replace(secret, "[key]")
    found = re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in found)).strip()
    return found if len(found) <= MOST_WORDS else found[: MOST_WORDS - 1].rstrip() + "…"


def read_json(content: bytes) -> Any:
    """Return an answer's JSON, or None where it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks to wait (RFC 9110, 10.2.3; ``retry-after-ms``); None if it does not."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return _not_negative(float(milliseconds) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        try:
            return _not_negative(float(value))
        except ValueError:
            when = parsedate_to_datetime(value)
            when = when if when.tzinfo else when.replace(tzinfo=UTC)
            return max(0.0, (when - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def error_of(provider: Provider, status: int, said: str, seconds: float | None = None) -> DiffAtlasError:
    """Return the typed error of an answer by its status of HTTP.

    said: the provider's words (`words_of`). seconds: what it asks to wait.
    """
    name = provider.label
    quoted = f" It says: {said}" if said else ""
    if status == 401:
        return KeyRefused(
            f"{name} does not take this key: make another at {provider.keys_page}.{quoted}",
            field="key",
            said=said,
        )
    if status == 402:
        return PaymentRequired(
            f"The account at {name} has no credit: see {provider.billing_page}.{quoted}", said=said
        )
    if status == 403:
        return KeyRefused(
            f"{name} does not let this key do that: look at its rights at {provider.keys_page}, or whether the model "
            f"has a licence to accept.{quoted}",
            field="key",
            said=said,
        )
    if status == 404:
        return UnknownModel(
            f"{name} has no such model: look at its spelling, or choose one of the list.{quoted}",
            field="model",
        )
    if status in (400, 409, 413, 415, 422):
        return CapabilityError(
            f"{name} cannot do what was asked ({status}).{quoted or ' It gives no reason.'}"
        )
    if status == 429:
        asked = f" for {seconds:.0f} s" if seconds is not None else ""
        return RateLimited(
            f"{name} has asked to wait{asked}, too often or too long: try again later, or make fewer images at a "
            f"time.{quoted}",
            said=said,
            seconds=seconds,
        )
    if status in (408, 504):
        return ProviderTimeout(f"{name} was too slow ({status}): try again later.{quoted}", said=said)
    if status >= 500:
        return ProviderDown(f"{name} has a fault of its own ({status}): try again later.{quoted}", said=said)
    return HostedError(
        f"{name} answered with the status {status}, which is none of its own.{quoted}", said=said
    )


def _texts(value: Any, depth: int = 0) -> list[str]:
    """Return the texts of an answer where words are expected, each once."""
    if depth > 4:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return list(dict.fromkeys(text for one in value[:10] for text in _texts(one, depth + 1)))
    if isinstance(value, dict):
        places = [place for place in _PLACES if place in value]
        return list(dict.fromkeys(text for place in places for text in _texts(value[place], depth + 1)))
    return []


def _not_negative(seconds: float) -> float | None:
    return seconds if 0 <= seconds < float("inf") else None
