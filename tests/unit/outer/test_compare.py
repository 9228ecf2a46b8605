"""The judge of the tests in outer containers, and the proxy that serves their packages."""

from __future__ import annotations

import http.server
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from pods import compare
from pods.environments import ENVIRONMENTS
from pods.proxy import CachingProxy


def test_what_is_alike_has_no_differences():
    found = {"tier": "rootless", "facts": {"overlay": "works"}, "notebooks": {"01": {}}}
    assert compare.differences(found, found) == []


def test_a_difference_is_told_with_its_place():
    wanted = {"tier": "rootless", "facts": {"overlay": "works"}, "notebooks": {"01": {}}}
    found = {"tier": "ptrace", "facts": {"overlay": "works", "new": "refused"}, "notebooks": {"01": {"x": "Y: z"}}}
    rows = compare.differences(wanted, found)
    assert rows == [
        ("tier", "rootless", "ptrace"),
        ("facts.new", "(nothing)", "refused"),
        ("notebooks.01.x", "(nothing)", "Y: z"),
    ]
    assert compare.table_of(rows[:1]) == "tier\n  expected  'rootless'\n  found     'ptrace'"


def test_what_is_missing_is_a_difference():
    assert compare.differences({"facts": {"overlay": "works"}}, {"facts": {}}) == [
        ("facts.overlay", "works", "(nothing)")
    ]


def test_several_answers_may_be_right():
    wanted = {"facts": {"tun_device": {"any_of": ["works", "refused"]}}}
    assert compare.differences(wanted, {"facts": {"tun_device": "refused"}}) == []
    assert len(compare.differences(wanted, {"facts": {"tun_device": "limited"}})) == 1


def test_of_inspect_only_what_is_expected_is_looked_at():
    assert compare.differences({"inspect": {"Tier": "x"}}, {"inspect": {"Tier": "x", "Network": "none"}}) == []
    assert len(compare.differences({"inspect": {"Tier": "x"}}, {"inspect": {"Network": "none"}})) == 1


def test_every_environment_is_written_down_and_no_other():
    assert set(compare.expected()) == {environment.name for environment in ENVIRONMENTS}
    for environment in ENVIRONMENTS:
        assert tuple(compare.expected()[environment.name]["notebooks"]) == environment.notebooks


def test_what_is_found_can_be_written_down():
    import tomllib

    found = {
        "tier": "rootless",
        "run": {"exit": 0, "says": ['a "quoted" word']},
        "notebooks": {"01": {"%x": "E: y"}, "02": {}},
    }
    assert tomllib.loads(compare.as_toml("pod", found)) == {"pod": found}


class Mirror(http.server.BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self):
        self.server.asked.append(self.path)
        if "missing" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode() * 1000)

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_package_is_fetched_once(mirror, tmp_path):
    base = f"http://127.0.0.1:{mirror.server_address[1]}"
    proxy = CachingProxy(tmp_path / "lasting", tmp_path / "passing")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy.listen("127.0.0.1")}))

    def get(path):
        with opener.open(base + path) as answer:
            return answer.read()

    try:
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(get, ["/pool/a.deb"] * 8)) == {b"/pool/a.deb" * 1000}
        assert get("/dists/InRelease") == b"/dists/InRelease" * 1000
        with pytest.raises(urllib.error.HTTPError) as refused:
            get("/pool/missing.deb")
        assert refused.value.code == 404
        refused.value.close()
    finally:
        proxy.close()
    assert mirror.asked == ["/pool/a.deb", "/dists/InRelease", "/pool/missing.deb"]
    # lists go with the session, packages stay
    assert [len(list((tmp_path / name).iterdir())) for name in ("lasting", "passing")] == [1, 1]
