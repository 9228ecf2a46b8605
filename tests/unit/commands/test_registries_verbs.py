"""Verbs of logins and searching."""

from __future__ import annotations

import os

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.tables import text_of
from contextkernel.errors import InvalidInput, RegistryUnauthorized, UsageProblem

SECRET = "hush-hush-1"


@pytest.fixture
def do(engine, face):
    def run(*words):
        outcome = execute(engine, list(words), face)
        return text_of(outcome.value)

    engine.passwords = {"ada": SECRET}
    return run


def test_login_with_a_password_from_standard_input(do, face, engine):
    face.stdin = f"{SECRET}\n".encode()
    assert do("login", "-u", "ada", "--password-stdin", "lab:5000") == "Login Succeeded\n"
    assert engine.logins == {"lab:5000": "ada"}
    assert "stored unencrypted in '/home/ada/.docker/config.json'" in face.err
    assert SECRET not in face.err + face.out + repr(engine.calls)


def test_the_password_may_come_from_a_pipe(do, face):
    reading, writing = os.pipe()
    os.write(writing, f"{SECRET}\r\n".encode())
    os.close(writing)
    face.stdin = reading
    try:
        assert do("login", "-u", "ada", "-p", "-") == "Login Succeeded\n"
    finally:
        os.close(reading)


def test_a_password_in_the_command_is_warned_of(do, face):
    assert do("login", "-u", "ada", "-p", SECRET) == "Login Succeeded\n"
    assert face.err.startswith("WARNING! Using --password via the CLI is insecure.")
    assert SECRET not in face.err


def test_what_is_not_given_is_asked_for(do, face):
    face.answers = ["ada", SECRET]
    assert do("login") == "Login Succeeded\n"
    assert face.questions == [("Username: ", False), ("Password: ", True)]


def test_what_is_kept_is_shown_again(do, face, engine):
    engine.logins, engine.passwords = {"lab": "ada"}, {"ada": ""}
    assert do("login", "lab") == "Login Succeeded\n"
    assert face.err.startswith("Authenticating with existing credentials... [Username: ada]\n")
    engine.passwords = {"ada": SECRET}  # changed since
    face.answers = ["", SECRET]
    assert do("login", "lab") == "Login Succeeded\n"
    assert "Stored credentials invalid or expired\n" in face.err
    assert face.questions[0] == ("Username (ada): ", False)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-u", "ada"], "cannot perform an interactive login from a non-TTY device"),
        (["--password-stdin"], "the --password-stdin option requires --username to be set"),
        (["-u", "ada", "--password-stdin", "-p", "x"], "cannot specify both"),
        (["-u", ""], "username is empty"),
        (["-u", "ada", "--password-stdin"], "there is no standard input"),
    ],
)
def test_login_words_that_do_not_fit(do, words, text):
    with pytest.raises(UsageProblem, match=text):
        do("login", *words)


def test_a_wrong_password(do, face):
    face.stdin = b"wrong-1"
    with pytest.raises(RegistryUnauthorized) as caught:
        do("login", "-u", "ada", "--password-stdin")
    assert "wrong-1" not in str(caught.value)


def test_logout(do, engine):
    engine.logins = {"lab": "ada"}
    assert do("logout", "lab") == "Removing login credentials for lab\n"
    assert engine.logins == {}
    assert do("logout") == "Removing login credentials for https://index.docker.io/v1/\n"


def test_search(do, engine):
    assert do("search", "ubuntu", "--limit", "1", "-f", "stars=3") == (
        "NAME      DESCRIPTION                                     STARS     OFFICIAL\n"
        "ubuntu    Ubuntu is a Debian-based Linux operating sys…   17000     [OK]\n"
    )
    assert engine.calls[-1][0] == "search"
    assert do("search", "lab", "--format", "{{.Name}}:{{.IsOfficial}}") == "ada/ubuntu-lab:\n"
    with pytest.raises(UsageProblem):
        do("search", "x", "-f", "stars")


@pytest.mark.parametrize("filters", [{"stars": ["many"]}, {"is-official": ["maybe"]}, {"colour": ["red"]}])
def test_filters_that_are_none(filters):
    from contextkernel.engine import Engine

    with pytest.raises(InvalidInput, match="invalid filter"):
        Engine().search("x", filters=filters)
