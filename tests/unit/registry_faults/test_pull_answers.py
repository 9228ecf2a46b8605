"""Answers that are refusals: an error of its own kind that says what to do, or another try."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from judge import faulty
from judge.faulty import REPOSITORY

from contextkernel.errors import (
    ContextKernelError,
    ImageNotFound,
    RegistryDenied,
    RegistryFailing,
    RegistryProblem,
    RegistryRateLimited,
    RegistryUnauthorized,
)
from contextkernel.model.digest import Digest


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, RegistryUnauthorized), (403, RegistryDenied), (500, RegistryFailing), (503, RegistryFailing)],
)
def test_refusals_are_of_their_own_kind_and_say_what_to_do(server, name, pull, nothing_left, status, kind):
    headers = {"WWW-Authenticate": 'Basic realm="here"'} if status == 401 else {}
    server.fail("/manifests/", status=status, headers=headers, body=b'{"errors":[{"code":"X","message":"said so"}]}')
    with pytest.raises(kind) as told:
        pull(name)
    assert told.value.hint
    assert server.address in told.value.problem
    nothing_left()


def test_404_names_what_is_not_there(server, name, pull, nothing_left):
    with pytest.raises(ImageNotFound, match=rf"{REPOSITORY}.*v9"):
        pull(name.replace(":v1", ":v9"))
    assert len(server.asked("/manifests/v9")) == 1, "a 404 is final"
    nothing_left()


def test_a_layer_that_is_not_there(server, image, name, pull, nothing_left):
    del server.pages[f"/v2/{REPOSITORY}/blobs/{faulty.digest_of(image.layers[1])}"]
    with pytest.raises(ContextKernelError, match=faulty.digest_of(image.layers[1])[7:19]):
        pull(name)
    nothing_left()


@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_passes_is_tried_again(server, image, name, pull, waits, path, status):
    server.fail(path, status=status, times=2)
    assert pull(name) == Digest.of(image.config)
    assert len(waits) == 2
    assert waits == sorted(waits), "each wait is longer than the one before"


def test_a_failure_that_stays_is_given_up(server, name, pull, waits, nothing_left):
    server.fail("/manifests/", status=503)
    with pytest.raises(RegistryFailing):
        pull(name)
    assert 2 <= len(waits) <= 6
    nothing_left()


def test_the_registry_says_how_long_to_wait(server, name, pull, waits):
    server.fail("/manifests/", status=429, times=1, headers={"Retry-After": "7"})
    pull(name)
    assert 7 <= waits[0] < 9


def test_a_rate_limit_is_told_with_its_reset(server, name, pull, waits, nothing_left):
    reset = formatdate(1_900_000_000, usegmt=True)
    server.fail(
        "/manifests/",
        status=429,
        headers={"Retry-After": reset, "ratelimit-limit": "100;w=21600", "ratelimit-remaining": "0;w=21600"},
        body=b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}',
    )
    with pytest.raises(RegistryRateLimited) as told:
        pull(name)
    assert waits == [], "years are not waited for"
    assert "100" in str(told.value)
    assert any(sign in str(told.value) for sign in ("2030", "reset", "again"))
    nothing_left()


def test_an_error_page_without_end(server, name, pull, nothing_left):
    server.fail("/manifests/", status=403, body=b"<html>" * 10_000, endless=True)
    with pytest.raises(RegistryProblem) as told:
        pull(name)
    assert len(str(told.value)) < 2000
    assert server.sent < 20 << 20
    nothing_left()
