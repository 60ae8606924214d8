"""Turns at one pipeline: who comes next."""

import threading
import time

from diffatlas.studies.run_turns import ModelTurns

never = threading.Event().is_set


def ask(turns, order, lane, times=1):
    """A thread that takes turns and writes its name down at each."""

    def work():
        for _ in range(times):
            with turns.turn(lane, never, lambda: None) as held:
                assert held
                order.append(lane)
        turns.leave(lane)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def until(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert condition()


def test_the_first_that_joined_goes_first_even_where_it_asks_late():
    turns, order = ModelTurns(), []
    for lane in "abc":
        turns.join(lane, "one")
    others = [ask(turns, order, lane) for lane in "bc"]
    until(lambda: len(turns._queue) == 2)
    assert order == []
    for thread in [*others, ask(turns, order, "a")]:
        thread.join(10)
    assert order[0] == "a"
    assert sorted(order) == ["a", "b", "c"]


def test_a_first_that_never_asks_does_not_hold_the_others_up():
    turns, order = ModelTurns(), []
    turns.join("a", "one")
    turns.join("b", "one")
    thread = ask(turns, order, "b")
    until(lambda: turns._queue == ["b"])
    turns.leave("a")
    thread.join(10)
    assert order == ["b"]


def test_the_resident_model_keeps_its_place_while_a_lane_of_it_is_left():
    turns, order = ModelTurns(), []
    for lane, model in (("a", "one"), ("b", "two"), ("c", "two")):
        turns.join(lane, model)
    with turns.turn("a", never, lambda: None):
        others = [ask(turns, order, lane, 2) for lane in "cb"]
        until(lambda: sorted(turns._queue) == ["b", "c"])
    # Nobody of the resident model asks, but one may again.
    time.sleep(0.15)
    assert order == []
    with turns.turn("a", never, lambda: None) as held:
        assert held
    turns.leave("a")
    for thread in others:
        thread.join(10)
    # Of the next model, the lane that joined first comes first.
    assert order[0] == "b"
    assert sorted(order) == ["b", "b", "c", "c"]


def test_who_is_stopped_leaves_the_queue_and_has_no_turn():
    turns, told = ModelTurns(), []
    turns.join("a", "one")
    turns.join("b", "one")
    stop = threading.Event()

    def waits():
        told.append("b")
        stop.set()

    with turns.turn("a", never, lambda: told.append("a")):
        with turns.turn("b", stop.is_set, waits) as held:
            assert not held
        assert turns._queue == []
    assert told == ["b"]


def test_a_turn_ends_where_its_work_fails():
    turns = ModelTurns()
    turns.join("a", "one")
    for _ in range(2):
        try:
            with turns.turn("a", never, lambda: None):
                raise ValueError
        except ValueError:
            pass
    with turns.turn("a", never, lambda: None) as held:
        assert held
