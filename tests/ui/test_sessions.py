"""Who may run, and who stops whom."""

from __future__ import annotations

from diffatlas.ui.sessions import REMEMBERED, Sessions


def test_a_visitor_stops_only_their_own_run():
    sessions = Sessions()
    mine, yours = sessions.begin("me"), sessions.begin("you")
    sessions.stop("me")
    assert mine.is_set()
    assert not yours.is_set()
    sessions.stop("nobody")


def test_a_new_run_stops_the_last_and_is_not_ended_by_it():
    sessions = Sessions()
    first = sessions.begin("me")
    second = sessions.begin("me")
    assert first.is_set()
    sessions.end("me", first, (7, 8))
    assert sessions.next_seed("me") is None
    sessions.stop("me")
    assert second.is_set()
    sessions.end("me", second, (8, 9))
    assert sessions.next_seed("me") == (8, 9)
    sessions.begin("me")
    assert sessions.next_seed("me") is None


def test_a_run_that_did_not_go_leaves_the_seed():
    sessions = Sessions()
    sessions.end("me", sessions.begin("me"), None)
    assert sessions.next_seed("me") is None


def test_a_closed_tab_is_stopped_and_forgotten():
    sessions = Sessions()
    signal = sessions.begin("me")
    sessions.forget("me")
    assert signal.is_set()
    sessions.end("me", signal, (7, 8))
    sessions.forget("me")
    assert sessions.next_seed("me") is None


def test_the_seeds_of_scripts_do_not_pile_up():
    sessions = Sessions()
    for number in range(2 * REMEMBERED):
        sessions.end(str(number), sessions.begin(str(number)), (7, number))
    assert sessions.next_seed("0") is None
    assert sessions.next_seed(str(2 * REMEMBERED - 1)) == (7, 2 * REMEMBERED - 1)
    assert len(sessions._seeds) == REMEMBERED
