from __future__ import annotations

from pathlib import Path

import pytest

from contextkernel.errors import InvalidInput, RegistryDenied
from contextkernel.registry.settings import Endpoint, endpoints


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "registries.toml"
    monkeypatch.setenv("CONTEXTKERNEL_REGISTRIES", str(path))
    monkeypatch.delenv("CONTEXTKERNEL_MIRROR", raising=False)
    return path


@pytest.mark.parametrize(
    ("registry", "url"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("ghcr.io", "https://ghcr.io"),
        ("registry.example.org:443", "https://registry.example.org:443"),
    ],
)
def test_the_default_endpoint(registry: str, url: str) -> None:
    assert endpoints(registry) == (Endpoint(url=url),)


@pytest.mark.parametrize("host", ["127.0.0.1:65536", "[::1]:99999999999999999999", "registry.example.org:70000"])
def test_a_port_that_is_none(host: str) -> None:
    with pytest.raises(InvalidInput, match="has a port that is none"):
        endpoints(host)


def test_a_password_that_stands_before_a_host_is_not_repeated() -> None:
    with pytest.raises(InvalidInput, match="credentials belong to `login`") as caught:
        endpoints("ada:hush@lab.example.org")
    assert "hush" not in str(caught.value)


def test_no_registry_has_scratch() -> None:
    with pytest.raises(InvalidInput, match="'scratch' is a reserved name"):
        endpoints("docker.io", "library/scratch")
    assert endpoints("docker.io", "team/scratch")


def test_mirrors_come_first(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.write_text('[registry."docker.io"]\nmirrors = ["https://one.example.org/"]\n')
    monkeypatch.setenv("CONTEXTKERNEL_MIRROR", "https://zero.example.org")
    assert [endpoint.url for endpoint in endpoints("docker.io")] == [
        "https://zero.example.org",
        "https://one.example.org",
        "https://registry-1.docker.io",
    ]


@pytest.mark.parametrize("registry", ["localhost:5000", "127.0.0.1:5000", "127.3.2.1:5000", "[::1]:5000", "localhost"])
def test_this_machine_is_spoken_to_without_tls_first(registry: str) -> None:
    assert endpoints(registry) == (Endpoint(url=f"http://{registry}", other=f"https://{registry}", verify=False),)


def test_insecure_is_unchecked_tls_else_plain_http(settings: Path) -> None:
    settings.write_text('[registry."lab:5000"]\ninsecure = true\n')
    assert endpoints("lab:5000") == (Endpoint(url="https://lab:5000", other="http://lab:5000", verify=False),)


@pytest.mark.parametrize("text", ["[registry", "registry = 3\n", '[registry]\n"docker.io" = 1\n'])
def test_a_broken_file_is_named(settings: Path, text: str) -> None:
    settings.write_text(text)
    with pytest.raises(InvalidInput, match=r"registries\.toml"):
        endpoints("docker.io")


def test_all_settings(settings: Path) -> None:
    settings.write_text(
        '[registry."lab"]\nca = "lab.pem"\nclient-cert = "/etc/me.pem"\nclient-key = "me.key"\nchunk = "90m"\n'
        'location = "lab.example.org/prefix"\nmirrors = [{ location = "near/copy", insecure = true }]\n'
    )
    mirror, own = endpoints("lab")
    assert mirror == Endpoint(url="https://near", other="http://near", mirror=True, verify=False, prefix="copy")
    assert own == Endpoint(
        url="https://lab.example.org",
        ca=str(settings.parent / "lab.pem"),
        certificate="/etc/me.pem",
        key=str(settings.parent / "me.key"),
        prefix="prefix",
        chunk=90_000_000,
    )
    assert own.path("team/demo") == "prefix/team/demo"


def test_a_blocked_registry(settings: Path) -> None:
    settings.write_text('[registry."lab"]\nblocked = true\n')
    with pytest.raises(RegistryDenied, match=r"lab is blocked by .*registries\.toml"):
        endpoints("lab")


@pytest.mark.parametrize(
    "setting",
    [
        'insecure = "yes"',
        "ca = 1",
        'mirrors = "https://x"',
        "mirrors = [1]",
        "chunk = -1",
        "chunk = 'many'",
        "colour = 'red'",
        "mirrors = ['ftp://x']",
        "mirrors = ['https://ada:secret@x']",
        "location = '/x'",
    ],
)
def test_settings_that_are_none(settings: Path, setting: str) -> None:
    settings.write_text(f'[registry."lab"]\n{setting}\n')
    with pytest.raises(InvalidInput) as caught:
        endpoints("lab")
    assert "secret" not in str(caught.value)


def test_certificates_beside_the_settings(own_settings: Path) -> None:
    folder = own_settings / ".config" / "containers" / "certs.d" / "lab:5000"
    folder.mkdir(parents=True)
    for name in ("ca.crt", "me.cert", "me.key", "other.cert"):
        (folder / name).write_text("")
    (own,) = endpoints("lab:5000")
    assert (own.ca, own.certificate, own.key) == (f"{folder}/ca.crt", f"{folder}/me.cert", f"{folder}/me.key")


class TestContainersConf:
    @pytest.fixture
    def conf(self, own_settings: Path) -> Path:
        return own_settings / "registries.conf"

    def test_the_longest_prefix_that_fits(self, conf: Path) -> None:
        conf.write_text(
            'unqualified-search-registries = ["quay.io"]\n'
            '[[registry]]\nlocation = "lab"\ninsecure = true\n'
            '[[registry]]\nprefix = "lab/team"\nlocation = "near/other"\n'
            '[[registry]]\nprefix = "*.example.org"\nblocked = true\n'
        )
        assert endpoints("lab", "x") == (Endpoint(url="https://lab", other="http://lab", verify=False),)
        (own,) = endpoints("lab", "team/demo")
        assert (own.url, own.path("team/demo")) == ("https://near", "other/demo")
        (own,) = endpoints("lab", "teams/demo")
        assert own.url == "https://lab"
        with pytest.raises(RegistryDenied):
            endpoints("a.example.org", "x")
        assert endpoints("example.org", "x") == (Endpoint(url="https://example.org"),)

    def test_mirrors(self, conf: Path) -> None:
        conf.write_text(
            '[[registry]]\nlocation = "docker.io"\n'
            '[[registry.mirror]]\nlocation = "127.0.0.1:5055"\n'
            '[[registry.mirror]]\nlocation = "digests.example.org/hub"\npull-from-mirror = "digest-only"\n'
            '[[registry.mirror]]\nlocation = "tags.example.org"\npull-from-mirror = "tag-only"\n'
        )
        urls = [one.url for one in endpoints("docker.io", "library/x")]
        assert urls == ["http://127.0.0.1:5055", "https://tags.example.org", "https://registry-1.docker.io"]
        found = endpoints("docker.io", "library/x", by_digest=True)
        assert [one.path("library/x") for one in found] == ["library/x", "hub/library/x", "library/x"]
        assert len(endpoints("docker.io", "library/x", access="pull,push")) == 1

    def test_registries_toml_goes_first(self, conf: Path, settings: Path) -> None:
        conf.write_text('[[registry]]\nlocation = "lab"\nblocked = true\n')
        settings.write_text('[registry."lab"]\n')
        assert endpoints("lab") == (Endpoint(url="https://lab"),)

    @pytest.mark.parametrize("text", ["[registries.search]\nregistries = ['x']\n", "registry = 1\n", ""])
    def test_what_says_nothing(self, conf: Path, text: str) -> None:
        conf.write_text(text)
        assert endpoints("lab") == (Endpoint(url="https://lab"),)

    def test_a_broken_file_is_named(self, conf: Path) -> None:
        conf.write_text("[[registry")
        with pytest.raises(InvalidInput, match=r"registries\.conf is not valid TOML"):
            endpoints("lab")
