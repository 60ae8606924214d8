"""Whose library it is, and how long it stays."""

from __future__ import annotations

import os
import time

import pytest

from diffatlas.settings import is_shared
from diffatlas.ui.libraries import KEPT_SECONDS, Libraries

ME, YOU = "a" * 32, "b" * 32


def test_on_a_personal_machine_there_is_one_library(tmp_path):
    libraries = Libraries(tmp_path)
    assert libraries.of(ME) is libraries.of(YOU)
    assert libraries.of(ME).folder == tmp_path
    assert libraries.expires(ME) is None


def test_on_a_shared_server_each_visitor_has_their_own(tmp_path):
    libraries = Libraries(tmp_path, shared=True)
    mine, yours = libraries.of(ME), libraries.of(YOU)
    assert mine.folder != yours.folder
    assert mine is libraries.of(ME)
    assert libraries.expires(ME) is not None


def test_what_nobody_has_visited_for_long_is_gone_and_the_rest_stays(tmp_path):
    libraries = Libraries(tmp_path, shared=True)
    for visitor in (ME, YOU):
        (libraries.of(visitor).folder / "run").mkdir()
    long_ago = time.time() - KEPT_SECONDS - 60
    os.utime(tmp_path / "visitors" / ME / ".visited", (long_ago, long_ago))
    libraries.sweep()
    assert [folder.name for folder in (tmp_path / "visitors").iterdir()] == [YOU]
    assert libraries.of(ME).list() == []
    personal = Libraries(tmp_path / "visitors")
    personal.sweep()
    assert (tmp_path / "visitors" / YOU).exists()


@pytest.mark.parametrize(
    ("mode", "space", "shared"),
    [(None, None, False), (None, "me/atlas", True), ("personal", "me/atlas", False), ("shared", None, True)],
)
def test_mode(monkeypatch, mode, space, shared):
    for name, value in (("DIFFATLAS_MODE", mode), ("SPACE_ID", space)):
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
    assert is_shared() is shared
