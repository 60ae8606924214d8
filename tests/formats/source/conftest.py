from __future__ import annotations

from collections.abc import Iterator

import pytest

from diffatlas.library import Library
from tests.formats.source.web import Web, web


@pytest.fixture(scope="session")
def one_server() -> Iterator[Web]:
    with web() as served:
        yield served


@pytest.fixture
def server(one_server: Web) -> Web:
    """A web server on which nothing lies yet."""
    for kept in (one_server.files, one_server.answers, one_server.asked, one_server.connections):
        kept.clear()
    return one_server


@pytest.fixture
def library(tmp_path) -> Library:
    return Library(tmp_path / "library")
