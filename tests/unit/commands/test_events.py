"""The command ``events``: docker's lines, JSON and templates; a table where it ends."""

from __future__ import annotations

import json

import pytest

from contextkernel.commands.event_text import EventFormat, event_line
from contextkernel.commands.execute import execute
from contextkernel.commands.outcome import Nothing, Table, Text
from contextkernel.commands.tables import text_of
from contextkernel.errors import ContextKernelError
from contextkernel.model.engine_events import EngineEvent
from contextkernel.testing.fake_life import engine_events
from contextkernel.testing.samples import WEB

START = engine_events()[2]


@pytest.fixture
def do(engine, face):
    return lambda *words: execute(engine, words, face)


def test_events_come_as_they_happen(do, face):
    outcome = do("events")
    assert isinstance(outcome.value, Nothing)
    assert (
        face.out.splitlines()[2]
        == f"2026-11-25T12:00:00.000000002Z container start {WEB} (image=greet, name=web, tier=front)"
    )
    assert len(face.out.splitlines()) == 5


def test_events_of_the_past_are_a_table(do, engine, face):
    outcome = do("events", "--since", "1h", "--until", "1m", "-f", "type=container", "--filter", "event=die")
    assert isinstance(outcome.value, Table)
    assert face.out == ""
    assert [row.action for row in outcome.value.rows] == ["die"]
    assert text_of(outcome.value).endswith(
        "container die " + WEB + " (exitCode=0, image=greet, name=web, tier=front)\n"
    )
    assert engine.calls == [
        ("events", {"since": "1h", "until": "1m", "filters": {"type": ("container",), "event": ("die",)}})
    ]


def test_an_event_without_attributes_has_no_brackets():
    assert event_line(engine_events()[4]).endswith(" volume create data")


def test_json_is_docker_s_message_in_its_order(do):
    outcome = do("events", "--until", "1m", "--format", "json", "-f", "event=start")
    assert isinstance(outcome.value, Text)
    document = json.loads(outcome.value.text)
    assert list(document) == ["status", "id", "from", "Type", "Action", "Actor", "scope", "time", "timeNano"]
    assert document["Actor"] == {"ID": WEB, "Attributes": {"image": "greet", "name": "web", "tier": "front"}}
    assert (document["from"], document["time"]) == ("greet", START.time // 10**9)


def test_json_of_a_volume_has_no_old_fields():
    document = json.loads(EventFormat("json").line(engine_events()[4]))
    assert list(document) == ["Type", "Action", "Actor", "scope", "time", "timeNano"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{.Type}} {{.Action}} {{.Status}} {{.From}} {{.Scope}}", "container start start greet local"),
        ("{{.Actor.Attributes.name}}", "web"),
        ("{{.Actor.Attributes.missing}}", "<no value>"),
        ("{{.ID}} {{.TimeNano}}", f"{WEB} {START.time}"),
        ("{{json .Actor.Attributes}}", '{"image":"greet","name":"web","tier":"front"}'),
    ],
)
def test_templates_see_the_message_s_fields(template, expected):
    assert EventFormat(template).line(START) == expected + "\n"


def test_a_field_that_events_do_not_have_is_refused_before_any_is_shown(do, face):
    with pytest.raises(ContextKernelError, match="Nonsense") as caught:
        do("events", "--format", "{{.Nonsense}}")
    assert caught.value.exit_code == 64
    assert face.out == ""


def test_an_unknown_filter_is_refused(do):
    with pytest.raises(ContextKernelError, match="invalid filter 'kind'"):
        do("events", "-f", "kind=container")


def test_a_bad_moment_is_refused(do):
    with pytest.raises(ContextKernelError, match="not a moment"):
        do("events", "--until", "soon")


def test_a_line_is_in_local_time(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "Etc/GMT-2")
    time.tzset()
    try:
        event = EngineEvent(type="volume", action="create", id="data", time=0)
        assert event_line(event) == "1970-01-01T02:00:00.000000000+02:00 volume create data"
    finally:
        monkeypatch.undo()
        time.tzset()
