"""``system df -v`` and ``system prune`` in docker's layout."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.tables import text_of
from contextkernel.commands.usage_text import usage_document, usage_text
from contextkernel.errors import UsageProblem
from contextkernel.model.usage import DiskUsage
from contextkernel.testing.fake_serving import registry_rows


def run(engine, face, *words):
    return text_of(execute(lambda: engine, words, face).value)


def test_four_tables_with_docker_s_headings(engine, face):
    text = run(engine, face, "system", "df", "-v")
    titles = ["Images space usage:", "Containers space usage:", "Local Volumes space usage:", "Build cache usage: "]
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    lines = text.splitlines()
    assert lines[2].split("  ")[0] == "REPOSITORY"
    assert lines[2].split()[-5:] == ["SHARED", "SIZE", "UNIQUE", "SIZE", "CONTAINERS"]
    assert "VOLUME NAME   LINKS     SIZE\nnotes         0         2.048kB\n" in text
    assert f"CONTAINER ID   IMAGE{' ' * 10}"[:20] in text
    assert len([line for line in lines if line.startswith("ubuntu")]) == 1


def test_nothing_is_headings_alone():
    empty = DiskUsage(images=(), containers=(), volumes=(), cache=())
    assert usage_text(empty).splitlines()[-3:] == [
        "Build cache usage: 0B",
        "",
        "CACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED",
    ]


def test_registries_have_a_table_below_docker_s():
    usage = DiskUsage(images=(), containers=(), volumes=(), cache=(), registries=registry_rows())
    lines = usage_text(usage).splitlines()
    assert lines[-4 - len(registry_rows()) + 1 : -len(registry_rows())] == [
        "Registries space usage:",
        "",
        "REGISTRY   STATUS    TAGS      SIZE",
    ]
    assert lines[-len(registry_rows())].split() == ["registry", "running", "2", "7.3MB"]
    assert [one["Name"] for one in usage_document(usage)["Registries"]] == [row.name for row in registry_rows()]


def test_ages_count_from_the_moment_given(engine):
    usage = engine.disk_usage_details()
    later = datetime.now(UTC) + timedelta(days=800)
    assert "2 years ago" in usage_text(usage, now=later)


def test_json_is_one_object_with_ids_in_full(engine, face):
    document = json.loads(run(engine, face, "system", "df", "-v", "--format", "json"))
    assert list(document) == ["Images", "Containers", "Volumes", "BuildCache"]
    assert document["Images"][0]["ID"].startswith("sha256:")
    assert document["Volumes"][0]["Size"] == "2.048kB"
    assert {"CacheType", "InUse", "LastUsedSince"} <= set(document["BuildCache"][0])


def test_a_template_gets_the_whole_document(engine, face):
    assert run(engine, face, "system", "df", "-v", "--format", "{{range .Volumes}}{{.Name}}{{end}}") == "notes\n"


def test_prune_lists_what_went(engine, face):
    assert run(engine, face, "system", "prune", "-f", "--volumes", "--filter", "label=a") == (
        f"Deleted Containers:\n{'0' * 64}\n\nDeleted Networks:\ncourse\n\nDeleted Volumes:\nnotes\n\n"
        "Total reclaimed space: 2.048kB\n"
    )
    assert engine.calls[-1] == ("system_prune", {"volumes": True, "filters": {"label": ("a",)}})


def test_prune_asks_as_docker_does(engine, make_face):
    no = make_face(answer=False)
    assert run(engine, no, "system", "prune", "-a", "--filter", "label=zzz") == ""
    assert no.questions == [
        (
            "WARNING! This will remove:\n"
            "  - all stopped containers\n"
            "  - all networks not used by at least one container\n"
            "  - all images without at least one container associated to them\n"
            "  - all build cache\n"
            "\n"
            "  Items to be pruned will be filtered with:\n"
            "  - label=zzz\n"
            "\n"
            "Are you sure you want to continue?"
        )
    ]


def test_prune_refuses_until_with_volumes(engine, face):
    with pytest.raises(UsageProblem, match="until"):
        run(engine, face, "system", "prune", "-f", "--volumes", "--filter", "until=1h")
    assert engine.calls == []
