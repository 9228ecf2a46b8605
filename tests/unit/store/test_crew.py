"""Works for several layers at a time."""

from __future__ import annotations

import threading

import pytest

from contextkernel.store.crew import Crew, GivenUp, Turns


def test_results_come_in_the_order_of_the_items():
    both = threading.Barrier(2, timeout=30)  # two at a time, or it breaks

    def work(item):
        both.wait()
        return item * 2

    assert Crew(2).run(work, [1, 2, 3, 4]) == [2, 4, 6, 8]
    assert Crew(2).run(work, []) == []


def test_what_is_told_is_handed_on_by_the_caller():
    told = []
    crew = Crew(3, lambda event: told.append((event, threading.get_ident())))
    crew.run(crew.tell, ["a", "b", "c"])
    crew.tell("d")
    assert sorted(event for event, _ in told) == ["a", "b", "c", "d"]
    assert {thread for _, thread in told} == {threading.get_ident()}


@pytest.mark.parametrize("problem", [ValueError("no"), KeyboardInterrupt()])
def test_the_first_failure_stops_the_others(problem):
    begun, canceled, given_up = threading.Event(), threading.Event(), threading.Event()
    taken = []

    def work(item):
        taken.append(item)
        if item == "bad":
            begun.wait(30)
            raise problem
        begun.set()
        assert canceled.wait(30)  # as one that waits for a worker, which only a cancelled job comes back from
        try:
            crew.check()
        except GivenUp:
            given_up.set()
            raise

    crew = Crew(2, cancel=lambda _: canceled.set())
    with pytest.raises(type(problem)):
        crew.run(work, ["good", "bad", "never"])
    assert canceled.is_set()
    assert given_up.wait(30)
    assert sorted(taken) == ["bad", "good"]
    with pytest.raises(GivenUp):
        crew.tell("more")


def test_a_reporter_that_raises_stops_everything():
    def report(_event):
        raise KeyboardInterrupt

    crew = Crew(2, report)
    with pytest.raises(KeyboardInterrupt):
        crew.run(crew.tell, [1, 2, 3])


def test_turns_are_taken_in_order():
    order = []
    second = threading.Event()
    crew = Crew(2)
    turns = Turns(crew.check)

    def work(place):
        if place == 0:
            second.wait(30)
        else:
            second.set()
        with turns.wait(place):
            order.append(place)

    crew.run(work, [0, 1])
    assert order == [0, 1]


def test_who_waits_for_a_turn_that_does_not_come_is_stopped():
    crew = Crew(2)
    turns = Turns(crew.check)

    def work(place):
        if place == 0:
            raise ValueError("no")
        with turns.wait(place):
            pytest.fail("its turn cannot come")

    with pytest.raises(ValueError, match="no"):
        crew.run(work, [0, 1])
