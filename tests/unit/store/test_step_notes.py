from __future__ import annotations

import pytest

from contextkernel.model.digest import Digest
from contextkernel.store import StepRecord, step_notes
from contextkernel.store.step_notes import StepDocument, StepNote, StepPlace
from contextkernel.testing.stores import random_layer


def place(scope="s", position=1, text="RUN a"):
    return StepPlace(scope=scope, position=position, text=text)


def note(key, where, document=b"inputs", *, content="", listing=None):
    return StepNote(
        place=where, key=str(key), make=lambda _: StepDocument(document=document, content=content, listing=listing)
    )


@pytest.fixture
def record(store, worker):
    layer = random_layer(store, worker, 1)

    def add(name):
        key = Digest.of(name.encode())
        store.add_step(key, StepRecord(diff_id=layer, created=5))
        return key

    return add


def test_the_same_instruction_wins_over_the_same_position_and_over_other_stages(store, record):
    one, two, other = record("1"), record("2"), record("3")
    store.note_steps([note(other, place("elsewhere"), b"other")])
    assert store.earlier_step(place()) == (other, b"other")
    assert store.earlier_step(place(), anywhere=False) is None
    store.note_steps([note(one, place(text="RUN b"), b"one")])
    assert store.earlier_step(place()) == (one, b"one")
    store.note_steps([note(two, place(position=2), b"two")])
    assert store.earlier_step(place()) == (two, b"two")
    assert store.earlier_step(place("third", 9, "RUN c")) is None


def test_a_place_has_its_latest_key(store, record):
    one, two = record("1"), record("2")
    store.note_steps([note(one, place(), b"one")])
    store.note_steps([note(two, place(), b"two")])
    assert store.earlier_step(place()) == (two, b"two")
    store.note_steps([note(one, place())])
    assert store.earlier_step(place()) == (one, b"one")


def test_what_failed_is_not_noted(store, record):
    one = record("1")
    store.note_steps([note(one, place())])
    store.note_steps([note(Digest.of(b"failed"), place())])
    assert store.earlier_step(place()) == (one, b"inputs")
    assert store.knows_step(one)
    assert not store.knows_step(Digest.of(b"failed"))


def test_inputs_are_made_once(store, record):
    made = []

    def make(_stored):
        made.append(1)
        return StepDocument(document=b"inputs")

    for _ in range(3):
        store.note_steps([StepNote(place=place(), key=str(record("1")), make=make)])
    assert made == [1]


def test_listings_are_kept_once_and_asked_for_before_they_are_made(store, record):
    asked = []

    def make(stored):
        asked.append(stored("files"))
        return StepDocument(document=b"inputs", content="files", listing=b"a b c")

    for name in ("1", "2"):
        store.note_steps([StepNote(place=place(), key=str(record(name)), make=make)])
    assert asked == [False, True]
    assert store.step_listing("files") == b"a b c"
    assert store.step_listing("others") is None


def test_the_oldest_are_forgotten_and_their_listings_with_them(store, record, monkeypatch):
    monkeypatch.setattr(step_notes, "MAX_RECORDS", 3)
    keys = [record(str(number)) for number in range(5)]
    for number, key in enumerate(keys):
        store.note_steps([note(key, place(position=number, text=str(number)), content=f"c{number}", listing=b"x")])
        store.note_steps([note(keys[0], place(position=0, text="0"))])  # in use all the time
    assert [store.knows_step(key) for key in keys] == [True, False, False, True, True]
    assert [store.step_listing(f"c{number}") is not None for number in range(5)] == [True, False, False, True, True]
    assert store.earlier_step(place(position=1, text="1"), anywhere=False) is None


def test_listings_have_a_bound_of_their_own(store, record, monkeypatch):
    monkeypatch.setattr(step_notes, "MAX_LISTINGS", 250)
    for number in range(4):
        key = record(str(number))
        store.note_steps([note(key, place(position=number), content=f"c{number}", listing=bytes(100))])
    assert [store.step_listing(f"c{number}") is not None for number in range(4)] == [False, False, True, True]
