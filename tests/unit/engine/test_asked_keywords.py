from __future__ import annotations

import re
from typing import Any

import pytest

from contextkernel.engine.asked import CreateKeywords, asked
from contextkernel.engine.asked.basics import basics
from contextkernel.engine.asked.updating import check_names


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("prots", "unexpected keyword argument 'prots'; did you mean 'ports'?"),
        ("auto_remove", "unexpected keyword argument 'auto_remove'; did you mean 'remove'?"),
        ("zzz", "unexpected keyword argument 'zzz'"),
    ],
)
def test_a_keyword_that_there_is_not_is_refused_as_python_does(name: str, says: str) -> None:
    wanted: Any = {name: True}
    with pytest.raises(TypeError, match=f"^{re.escape(says)}$"):
        asked(wanted)


def test_update_has_keywords_of_its_own() -> None:
    check_names(["mem_limit", "restart_policy"])
    with pytest.raises(TypeError, match="'ports'"):
        check_names(["ports"])


@pytest.mark.parametrize(
    "labels", [{"course": "one", "kept": ""}, ["course=one", "kept"], ("course=one", "kept=")], ids=str
)
def test_labels_are_a_mapping_or_a_list_as_in_docker_py(labels: Any) -> None:
    assert basics(CreateKeywords(labels=labels))["labels"] == {"course": "one", "kept": ""}
