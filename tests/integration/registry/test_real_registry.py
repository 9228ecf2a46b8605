"""The real registry server that other tests are about: it is up, empty, and asks for a login where it should."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Callable
from typing import Any

import pytest


def test_it_answers_and_is_empty(real_registry: Any) -> None:
    assert json.loads(real_registry.get("")) == {}
    assert json.loads(real_registry.get("_catalog")) == {"repositories": []}


def test_one_with_a_login(start_registry: Callable[..., Any], skopeo: Callable[..., str]) -> None:
    registry = start_registry(login=True)
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        registry.get("")
    refused.value.close()
    login = f"{registry.user}:{registry.password}"
    with pytest.raises(AssertionError, match="404"):  # let in, and there is no such repository
        skopeo("list-tags", "--tls-verify=false", "--creds", login, f"docker://{registry.address}/team/demo")
