"""The fakes of all providers."""

from __future__ import annotations

from tests.backends.hosted.fakes.replicate import FakeReplicate
from tests.backends.hosted.fakes.server import FakeProvider

EVERY: tuple[type[FakeProvider], ...] = (FakeReplicate,)
