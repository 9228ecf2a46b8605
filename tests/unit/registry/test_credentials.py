from __future__ import annotations

import base64
import errno
import json
import os
import stat
from pathlib import Path
from typing import NoReturn

import pytest

from contextkernel.engine import Engine
from contextkernel.errors import InvalidInput, RegistryProblem
from contextkernel.registry.credentials import (
    HUB,
    Credentials,
    check_config,
    erase_credentials,
    find_credentials,
    keep_credentials,
    key_of,
)
from contextkernel.testing.registry import serve_registry

SECRET = "pass:word-1"
IDENTITY = Credentials(username="ada", identity_token="t")
ADA = Credentials(username="ada", password=SECRET)


def auth(user: str = "ada", password: str = SECRET) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def config(own_settings: Path) -> Path:
    return own_settings / ".docker" / "config.json"


def write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def test_no_secret_is_printed() -> None:
    full = Credentials(username="ada", password=SECRET, identity_token="identity-1", registry_token="registry-1")
    for text in (repr(full), str(full), f"{full}", str(full.__rich_repr__())):
        assert "ada" in text
        assert not any(secret in text for secret in (SECRET, "identity-1", "registry-1"))


@pytest.mark.parametrize(
    ("server", "key"),
    [
        ("", HUB),
        ("docker.io", HUB),
        ("https://index.docker.io/v1/", HUB),
        ("https://lab:5000/v2/", "lab:5000"),
        ("lab:5000", "lab:5000"),
    ],
)
def test_what_a_server_is_kept_under(server: str, key: str) -> None:
    assert key_of(server) == key


def test_nothing_is_known(config: Path) -> None:
    assert not config.exists()
    assert find_credentials("lab:5000") is None


@pytest.mark.parametrize(
    ("name", "entry", "found"),
    [
        ("lab:5000", {"auth": auth()}, ADA),
        ("https://lab:5000", {"auth": auth()}, ADA),
        ("https://lab:5000/v1/", {"auth": auth()}, ADA),
        ("lab:5000", {"username": "ada", "password": SECRET}, ADA),
        (
            "lab:5000",
            {"auth": auth(password=""), "identitytoken": "t"},
            Credentials(username="ada", identity_token="t"),
        ),
        ("lab:5000", {"registrytoken": "t"}, Credentials(registry_token="t")),
        ("lab:5000", {}, None),
        ("lab:5000", {"auth": "?"}, None),
        ("lab", {"auth": auth()}, None),
    ],
)
def test_the_forms_of_an_entry(config: Path, name: str, entry: object, found: Credentials | None) -> None:
    write(config, {"auths": {name: entry}})
    assert find_credentials("lab:5000") == found


def test_docker_hub_s_two_names(config: Path) -> None:
    write(config, {"auths": {HUB: {"auth": auth()}}})
    assert find_credentials("docker.io") == ADA
    write(config, {"auths": {"docker.io": {"auth": auth()}}})
    assert find_credentials("docker.io") == ADA


def test_the_environment_goes_first(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(config, {"auths": {"lab": {"auth": auth()}, "other": {"auth": auth()}}})
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {"lab": {"auth": auth("eve")}}}))
    assert find_credentials("lab") == Credentials(username="eve", password=SECRET)
    assert find_credentials("other") == ADA


def test_keeping_and_forgetting_leaves_the_rest_of_the_file(config: Path) -> None:
    write(config, {"psFormat": "table", "auths": {"other": {"auth": "x"}}, "newSetting": {"a": [1]}})
    config.chmod(0o640)
    kept = keep_credentials("lab:5000", ADA)
    assert (kept.path, kept.helper) == (str(config), "")
    assert find_credentials("lab:5000") == ADA
    assert json.loads(config.read_text())["newSetting"] == {"a": [1]}
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert erase_credentials("https://lab:5000/v2/")
    assert not erase_credentials("lab:5000")
    assert json.loads(config.read_text()) == {
        "psFormat": "table",
        "auths": {"other": {"auth": "x"}},
        "newSetting": {"a": [1]},
    }


def test_a_new_file_is_for_its_owner_alone(own_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(own_settings / "deep" / "er"))
    kept = keep_credentials("lab", ADA)
    assert stat.S_IMODE(os.stat(kept.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(kept.path)).st_mode) == 0o700
    assert os.listdir(os.path.dirname(kept.path)) == ["config.json"]


@pytest.mark.parametrize("auths", [None, {}])
def test_a_file_that_lists_nobody(config: Path, auths: object) -> None:
    write(config, {"auths": auths, "other": 1})
    assert not erase_credentials("lab.example.org")
    keep_credentials("lab.example.org", Credentials(username="ada", password=SECRET))
    assert find_credentials("lab.example.org") == Credentials(username="ada", password=SECRET)
    assert json.loads(config.read_text())["other"] == 1


def test_a_list_that_is_none_is_named_and_left(config: Path) -> None:
    write(config, {"auths": [1]})
    for change in (
        lambda: erase_credentials("lab.example.org"),
        lambda: keep_credentials("lab.example.org", Credentials(username="ada", password=SECRET)),
    ):
        with pytest.raises(InvalidInput, match=r"config\.json: 'auths' is not a JSON object"):
            change()
    assert json.loads(config.read_text()) == {"auths": [1]}


def test_a_link_stays_a_link(config: Path, tmp_path: Path) -> None:
    write(tmp_path / "real.json", {})
    config.symlink_to(tmp_path / "real.json")
    keep_credentials("lab", ADA)
    assert config.is_symlink()
    assert "lab" in json.loads((tmp_path / "real.json").read_text())["auths"]


def test_an_identity_token_is_kept_instead_of_the_password(config: Path) -> None:
    keep_credentials("lab", Credentials(username="ada", password=SECRET, identity_token="identity-1"))
    entry = json.loads(config.read_text())["auths"]["lab"]
    assert base64.b64decode(entry["auth"]) == b"ada:"
    assert find_credentials("lab") == Credentials(username="ada", identity_token="identity-1")


_COMMA = '{\n "auths": {\n  "a": {"auth": "' + SECRET + '"},\n }\n}'


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"{", r"config\.json, line 1, column 2: expecting property name"),
        (_COMMA.encode(), r"config\.json, line 4, column 2: expecting property name"),
        (b"[]", r"config\.json is not a JSON object"),
        (f'"{SECRET}"'.encode(), r"config\.json is not a JSON object"),
        (b"[" * 100_000, r"config\.json is not a JSON object"),
        (b'{"a": "\xff"}', r"config\.json is not text: byte 7 is not UTF-8"),
        (b'{"a": "' + b"x" * (1 << 20) + b'"}', r"config\.json is larger than 1048576 characters"),
    ],
)
def test_a_broken_file_is_named_not_repeated_and_left_as_it_is(config: Path, data: bytes, problem: str) -> None:
    config.write_bytes(data)
    for change in (
        lambda: find_credentials("lab"),
        check_config,
        lambda: erase_credentials("lab"),
        lambda: keep_credentials("lab", ADA),
    ):
        with pytest.raises(InvalidInput, match=problem) as caught:
            change()
        assert SECRET not in str(caught.value)
    assert config.read_bytes() == data


def test_a_file_that_must_not_be_read_says_nothing_and_is_not_replaced(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(config, {"auths": {}})
    before = config.read_bytes()

    def refuse(path: str, **_: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    with monkeypatch.context() as patched:  # root may read everything
        patched.setattr("builtins.open", refuse)
        assert find_credentials("lab") is None
        with pytest.raises(InvalidInput, match=r"cannot read .*config\.json: permission denied"):
            check_config()
        with pytest.raises(InvalidInput, match="permission denied"):
            keep_credentials("lab", ADA)
    assert config.read_bytes() == before


def test_a_login_asks_no_registry_before_the_file_is_sound(config: Path, tmp_path: Path) -> None:
    config.write_text("{")
    with serve_registry(user="ada", password=SECRET) as registry, Engine(tmp_path / "store") as engine:
        with pytest.raises(InvalidInput, match="line 1, column 2"):
            engine.login("ada", SECRET, registry=registry.address)
        assert registry.requests == []
    assert config.read_text() == "{"


class TestHelpers:
    @pytest.fixture(autouse=True)
    def helper(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A helper program that keeps one secret in a file."""
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "docker-credential-box"
        program.write_text(
            "#!/bin/sh\n"
            f"cd {tmp_path} || exit 1\n"
            'case "$1" in\n'
            "store) cat > kept;;\n"
            "get) read -r name; if [ -e kept ]; then cat kept; else\n"
            "  echo 'credentials not found in native keychain'; exit 1; fi;;\n"
            "erase) rm -f kept;;\n"
            "esac\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return program

    @pytest.mark.parametrize("setting", [{"credsStore": "box"}, {"credHelpers": {"lab:5000": "box"}}])
    def test_it_keeps_the_secret(self, config: Path, tmp_path: Path, setting: object) -> None:
        write(config, setting)
        assert find_credentials("lab:5000") is None
        assert keep_credentials("lab:5000", ADA).helper == "box"
        assert SECRET not in config.read_text()
        assert json.loads((tmp_path / "kept").read_text())["ServerURL"] == "lab:5000"
        assert find_credentials("lab:5000") == ADA
        assert erase_credentials("lab:5000")
        assert find_credentials("lab:5000") is None
        assert not (tmp_path / "kept").exists()

    def test_identity_tokens(self, config: Path) -> None:
        write(config, {"credsStore": "box"})
        keep_credentials("docker.io", Credentials(username="ada", identity_token="identity-1"))
        assert find_credentials("docker.io") == Credentials(identity_token="identity-1")

    def test_a_helper_for_one_registry_goes_before_the_store(self, config: Path) -> None:
        write(config, {"credsStore": "absent", "credHelpers": {"lab": "box"}, "auths": {"lab": {"auth": auth()}}})
        assert find_credentials("lab") is None
        with pytest.raises(RegistryProblem, match="docker-credential-absent is not installed"):
            find_credentials("other")

    def test_what_it_prints_has_no_secret_in_messages(self, config: Path, helper: Path) -> None:
        write(config, {"credsStore": "box"})
        helper.write_text("#!/bin/sh\ncat; exit 3\n")
        with pytest.raises(RegistryProblem, match="failed with exit code 3") as caught:
            keep_credentials("lab", ADA)
        assert SECRET not in str(caught.value)
        helper.write_text(f"#!/bin/sh\necho {SECRET}\n")
        with pytest.raises(RegistryProblem, match="cannot be understood") as caught:
            find_credentials("lab")
        assert SECRET not in str(caught.value)

    def test_its_name_is_no_path(self, config: Path) -> None:
        write(config, {"credsStore": "../box"})
        with pytest.raises(InvalidInput, match="not the name of a credential helper"):
            find_credentials("lab")


class TestContainers:
    @pytest.mark.parametrize("place", ["run/containers/auth.json", ".config/containers/auth.json"])
    def test_auth_json_is_read(self, own_settings: Path, place: str) -> None:
        write(own_settings / place, {"auths": {"lab:5000": {"auth": auth()}}})
        assert find_credentials("lab:5000", "team/demo") == ADA

    def test_the_longest_name_wins(self, own_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = own_settings / "other.json"
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))
        entries = {name: {"auth": auth(name.rpartition("/")[2])} for name in ("lab", "lab/team", "lab/team/demo")}
        write(path, {"auths": entries})
        for repository, user in (("team/demo", "demo"), ("team/other", "team"), ("x", "lab"), ("", "lab")):
            found = find_credentials("lab", repository)
            assert found is not None
            assert found.username == user

    def test_docker_s_own_goes_first(self, own_settings: Path, config: Path) -> None:
        write(own_settings / ".config/containers/auth.json", {"auths": {"lab": {"auth": auth("eve")}}})
        write(config, {"auths": {"lab": {"auth": auth()}}})
        assert find_credentials("lab") == ADA
