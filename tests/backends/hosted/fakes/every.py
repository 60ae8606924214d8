"""The fakes of all providers."""

from __future__ import annotations

from tests.backends.hosted.fakes.fal import FakeFal
from tests.backends.hosted.fakes.huggingface import FakeHuggingFace
from tests.backends.hosted.fakes.replicate import FakeReplicate
from tests.backends.hosted.fakes.server import FakeProvider
from tests.backends.hosted.fakes.stability import FakeStability
from tests.backends.hosted.fakes.together import FakeTogether

EVERY: tuple[type[FakeProvider], ...] = (
    FakeReplicate,
    FakeFal,
    FakeTogether,
    FakeStability,
    FakeHuggingFace,
)
