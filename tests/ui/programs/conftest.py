"""The app of these tests, which serves agents too: in a process of its own, on a machine of one's own."""

from __future__ import annotations

import pytest

from tests.serving import served_app


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    with served_app(tmp_path_factory.mktemp("alone"), DIFFATLAS_MCP="1") as url:
        yield url
