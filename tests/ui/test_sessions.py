"""Who may run, who waits, who stops whom."""

from __future__ import annotations

import threading

from diffatlas.ui.sessions import Sessions, Turns


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
    sessions.end("me", first, 8)
    assert sessions.next_seed("me") is None
    sessions.stop("me")
    assert second.is_set()
    sessions.end("me", second, 9)
    assert sessions.next_seed("me") == 9
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
    sessions.end("me", signal, 8)
    sessions.forget("me")
    assert sessions.next_seed("me") is None


def test_turns_are_first_come_first_served():
    turns = Turns()
    a, b, c = turns.join(), turns.join(), turns.join()
    assert [turns.ahead(t) for t in (a, b, c)] == [0, 1, 2]
    turns.leave(b)  # one who waited gave up
    turns.leave(b)
    assert [turns.ahead(t) for t in (a, c)] == [0, 1]

    served = threading.Event()

    def wait_for_turn():
        while turns.ahead(c):
            turns.wait(10)
        served.set()

    thread = threading.Thread(target=wait_for_turn)
    thread.start()
    turns.leave(a)
    thread.join(5)
    assert served.is_set()
