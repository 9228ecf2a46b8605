"""Names of images: what is wrong with one is said."""

from __future__ import annotations

import pytest

from contextkernel.errors import InvalidReference
from contextkernel.model.reference import ImageRef


@pytest.mark.parametrize("name", ["$image", "$Image:v1", "team/$app", "app:$version", "${host}/app", "app@$digest"])
def test_a_variable_that_nothing_took_the_place_of(name):
    with pytest.raises(InvalidReference) as caught:
        ImageRef.parse(name)
    assert f"invalid reference {name!r}: there is a $ in it" in str(caught.value)
    assert "is there one of that name" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Greet", "try 'greet'"),
        ("a b", "is not a repository name"),
        ("a:b c", "is not a tag"),
        ("f" * 64, "cannot be 64 hex digits"),
        ("http://lab.example.org/a", "leave http:// out"),
        ("ada:hush@lab.example.org:5000/a", "log in: login lab.example.org:5000"),
    ],
)
def test_what_else_is_no_name(name, said):
    with pytest.raises(InvalidReference) as caught:
        ImageRef.parse(name)
    assert said in str(caught.value)


@pytest.mark.parametrize("after", ["", f"@sha256:{'0' * 64}"])
@pytest.mark.parametrize("before", ["ada:hush@", "https://ada:hush@", "ada:hu/sh@", "a:hu$hush@", "hush@"])
def test_what_stands_before_a_host_may_be_a_password_and_is_not_repeated(before, after):
    with pytest.raises(InvalidReference, match="no user and password") as caught:
        ImageRef.parse(f"{before}lab.example.org/a:1{after}")
    assert "hush" not in str(caught.value)
    assert "sh@" not in str(caught.value)
