"""Whose turn it is: round visitors, with places, limits and estimates, whoever leaves when."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time

import pytest

from diffatlas.errors import TooMuch
from diffatlas.ui.turns import Place, Turns, about


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def served(turns, tickets):
    """The names of tickets in the order in which each has its turn, and gives it up."""
    left, order = dict(tickets), []
    while left:
        name = next(name for name, ticket in left.items() if not turns.ahead(ticket))
        order.append(name)
        turns.leave(left.pop(name))
    return order


def test_six_of_one_visitor_do_not_keep_another_waiting():
    turns = Turns()
    tickets = {f"a{k}": turns.join("a") for k in range(6)}
    tickets["b0"] = turns.join("b")
    assert [turns.ahead(ticket) for ticket in tickets.values()] == [0, 2, 3, 4, 5, 6, 1]
    assert served(turns, tickets) == ["a0", "b0", "a1", "a2", "a3", "a4", "a5"]


def test_the_visitor_served_longest_ago_is_next():
    turns = Turns()
    for visitor in "abc":
        turns.leave(turns.join(visitor))
    held = turns.join("d")
    tickets = {visitor: turns.join(visitor) for visitor in "cba"}
    turns.leave(held)
    assert served(turns, tickets) == ["a", "b", "c"]


def test_turns_alternate_where_all_want_many():
    turns = Turns()
    tickets = {f"{v}{k}": turns.join(v) for v in "abc" for k in range(3)}
    assert served(turns, tickets) == [f"{v}{k}" for k in range(3) for v in "abc"]


def test_what_is_told_beforehand_is_what_comes():
    rng = random.Random(3)
    for _ in range(200):
        turns = Turns()
        for visitor in rng.sample("abcd", rng.randint(0, 4)):
            turns.leave(turns.join(visitor))
        tickets = {}
        for k in range(rng.randint(1, 12)):
            visitor = rng.choice("abcd")
            tickets[f"{visitor}{k}"] = turns.join(visitor)
        told = sorted(tickets, key=lambda name: turns.ahead(tickets[name]))
        assert sorted(turns.ahead(ticket) for ticket in tickets.values()) == list(range(len(tickets)))
        assert served(turns, tickets) == told


def test_an_endless_row_of_new_visitors_keeps_nobody_waiting():
    turns = Turns()
    at_work = turns.join("a")
    waits = turns.join("a")
    for number in range(20):
        fresh = turns.join(f"new{number}")
        turns.leave(at_work)
        if not turns.ahead(waits):
            break
        at_work = fresh
    assert number == 1


def test_a_study_that_takes_a_turn_for_each_cell_lets_others_in_between():
    turns, order = Turns(), []
    cell, other = turns.join("study"), [turns.join("b"), turns.join("c")]
    for k in range(3):
        order.append(f"cell {k}")
        turns.leave(cell)
        cell = turns.join("study", begun=True)
        for ticket in list(other):
            if not turns.ahead(ticket):
                order.append(ticket.visitor)
                other.remove(ticket)
                turns.leave(ticket)
    assert order == ["cell 0", "b", "c", "cell 1", "cell 2"]


def test_a_visitor_has_a_few_waiting_and_is_told_so():
    turns = Turns(most=3, in_all=5)
    tickets = [turns.join("a") for _ in range(4)]
    with pytest.raises(TooMuch, match=r"^You have 3 runs waiting already; stop one or wait\.$"):
        turns.join("a")
    # What is under way goes on, and others come in.
    turns.join("a", begun=True)
    turns.join("b")
    with pytest.raises(TooMuch, match="5 runs of all visitors are waiting"):
        turns.join("c")
    turns.leave(tickets[1])
    turns.leave(tickets[2])
    turns.join("a")


def test_an_owner_has_one_turn_a_tab_and_strangers_one_each():
    assert Turns().who("me", "tab 1") == "tab 1"
    assert Turns(most=3).who("me", "tab 1") == "me"


def test_several_places_are_taken_at_once():
    turns = Turns(places=2)
    tickets = [turns.join(visitor) for visitor in "aaab"]
    assert [turns.ahead(ticket) for ticket in tickets] == [0, 0, 2, 1]
    turns.leave(tickets[0])
    assert [turns.ahead(ticket) for ticket in tickets[1:]] == [0, 1, 0]


def test_the_wait_is_what_those_ahead_should_take():
    clock = Clock()
    turns = Turns(clock=clock)
    first, second, third = turns.join("a", 30), turns.join("b", 20), turns.join("c")
    assert turns.place(third) == Place(2, 50)
    assert turns.place(third).words == "2 ahead, about 50 s"
    clock.now += 12
    assert turns.place(third).seconds == 38
    clock.now += 100  # the first takes longer than was thought
    assert turns.place(third).seconds == 20
    turns.leave(first)
    assert turns.place(third) == Place(1, 20)
    turns.leave(second)
    assert turns.place(third) == Place(0, 0)


def test_one_whose_time_is_not_known_is_taken_for_one_like_those_before():
    clock = Clock()
    turns = Turns(clock=clock)
    held = turns.join("a")
    waits = turns.join("b")
    assert turns.place(waits).seconds is None
    assert turns.place(waits).words == "1 ahead"
    clock.now += 8
    turns.leave(held)
    clock.now += 8
    turns.leave(waits)
    turns.join("a")
    assert turns.place(turns.join("b")).seconds == 8


def test_seconds_in_words():
    assert [about(s) for s in (0.2, 40.4, 89, 100, 600)] == [
        "about 1 s", "about 40 s", "about 89 s", "about 2 min", "about 10 min",
    ]  # fmt: skip


def test_one_may_leave_at_any_moment_and_more_than_once():
    rng = random.Random(7)
    for _ in range(100):
        turns = Turns(places=rng.randint(1, 3))
        tickets = [turns.join(rng.choice("abc")) for _ in range(10)]
        rng.shuffle(tickets)
        for at, ticket in enumerate(tickets):
            turns.leave(ticket)
            turns.leave(ticket)
            left = tickets[at + 1 :]
            working = [one for one in left if not turns.ahead(one)]
            assert len(working) == min(turns.places, len(left))
        assert not turns.ahead(turns.join("z"))


def test_whoever_waits_is_woken_when_it_is_their_turn():
    turns = Turns()
    held, next_one = turns.join("a"), turns.join("b")
    began = time.monotonic()
    threading.Timer(0.1, turns.leave, [held]).start()
    assert turns.wait(next_one, 20)
    assert time.monotonic() - began < 5
    # Already there: no wait for a change that has been.
    assert turns.wait(next_one, 0)


def test_fifty_threads_never_exceed_the_places_and_all_are_served():
    turns, inside, most, done = Turns(places=3), [], [], []
    lock = threading.Lock()

    def work(number):
        rng = random.Random(number)
        for _ in range(10):
            gives_up = rng.random() < 0.2
            ended = (lambda: True) if gives_up else (lambda: False)
            with turns.turn(f"v{number % 7}", ended=ended) as ticket:
                if turns.ahead(ticket):
                    continue
                with lock:
                    inside.append(number)
                    most.append(len(inside))
                time.sleep(rng.random() * 0.001)
                with lock:
                    inside.remove(number)
        with lock:
            done.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == list(range(50))
    assert max(most) == 3
    assert not turns.ahead(turns.join("z"))


def test_turns_need_no_torch():
    code = "import sys; import diffatlas.ui.turns; assert not {'torch', 'gradio'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
