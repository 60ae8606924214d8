"""Visitors are told apart by a secret that is never kept."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from diffatlas.ui.visitors import COOKIE, visitor_of

SECRET = "0123456789abcdef" * 2


def request(**cookies):
    return SimpleNamespace(cookies=cookies)


def test_a_visitor_is_the_same_in_every_session_and_the_secret_is_not_in_the_name():
    name = visitor_of(request(**{COOKIE: SECRET}), "session one")
    assert name == visitor_of(SimpleNamespace(request=request(**{COOKIE: SECRET})), "session two")
    assert name != visitor_of(request(**{COOKIE: SECRET[::-1]}))
    assert SECRET not in name
    assert name.isalnum()


@pytest.mark.parametrize("cookie", ["", "short", "../" * 10, SECRET + "0", SECRET.upper()])
def test_what_is_no_secret_is_no_visitor(cookie):
    assert visitor_of(request(**{COOKIE: cookie})) is None
    by_session = visitor_of(request(**{COOKIE: cookie}), "../session")
    assert by_session == visitor_of(request(), "../session")
    assert "/" not in by_session


def test_without_a_cookie_sessions_are_told_apart():
    assert visitor_of(request(), "one") != visitor_of(request(), "two")
    assert visitor_of(request(), None) is None
