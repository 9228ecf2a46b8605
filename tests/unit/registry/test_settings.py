from __future__ import annotations

from pathlib import Path

import pytest

from contextkernel.errors import InvalidInput
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
