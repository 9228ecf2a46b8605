from __future__ import annotations

import pytest

from contextkernel.model.urls import is_loopback, origin, proxy_for, shown

PROXY = "http://proxy.example.org:3128"


def test_what_is_shown_of_a_url() -> None:
    assert shown("https://ada:secret@host:1/path?token=x#y") == "https://host:1/path"
    assert shown("http://[::1") == "the URL"
    assert len(shown("https://host/" + "x" * 1000)) == 203


def test_origin() -> None:
    assert origin("https://Host/x") == ("https", "host", 443)
    assert origin("http://host:81") == ("http", "host", 81)


@pytest.mark.parametrize(
    ("host", "is_it"),
    [("localhost", True), ("127.8.8.8", True), ("[::1]", True), ("::1", True), ("128.0.0.1", False), ("local", False)],
)
def test_this_machine(host: str, is_it: bool) -> None:
    assert is_loopback(host) is is_it


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://host/", {}, None),
        ("https://host/", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://host/", {"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}, PROXY),
        ("https://host/", {"HTTPS_PROXY": "proxy.example.org:3128"}, PROXY),
        ("https://host/", {"HTTP_PROXY": PROXY}, None),
        ("http://host/", {"HTTP_PROXY": PROXY}, PROXY),
        ("http://host/", {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, None),
        ("https://host/", {"ALL_PROXY": PROXY}, PROXY),
        ("http://localhost:5000/", {"HTTP_PROXY": PROXY}, None),
        ("http://127.0.0.1:5000/", {"ALL_PROXY": PROXY}, None),
    ],
)
def test_which_proxy(url: str, environment: dict[str, str], proxy: str | None) -> None:
    assert proxy_for(url, environment) == proxy


@pytest.mark.parametrize(
    ("host", "listed", "without"),
    [
        ("lab.example.org", "example.org", True),
        ("lab.example.org", ".example.org", True),
        ("lab.example.org", "*.example.org", True),
        ("example.org", ".example.org", False),
        ("example.org", "example.org", True),
        ("badexample.org", "example.org", False),
        ("lab.example.org", "other, LAB.example.org", True),
        ("lab.example.org:5000", "lab.example.org:5000", True),
        ("lab.example.org:5001", "lab.example.org:5000", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("[fd00::1]:5000", "fd00::/8", True),
        ("[fd00::1]:5000", "[fd00::1]:5000", True),
        ("host", "*", True),
        ("host", "", False),
        ("host", ",, /x,:", False),
    ],
)
def test_what_is_reached_without_one(host: str, listed: str, without: bool) -> None:
    found = proxy_for(f"https://{host}/", {"HTTPS_PROXY": PROXY, "NO_PROXY": listed})
    assert found == (None if without else PROXY)
