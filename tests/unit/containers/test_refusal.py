from __future__ import annotations

from pathlib import Path

import pytest

from contextkernel.errors import HostUnsupported
from contextkernel.model.container import LaunchRequest
from contextkernel.model.results import Fact, HostReport, Remedy
from contextkernel.runtime.refusal import RefusingRuntime

REPORT = HostReport(
    tier="analysis",
    facts=(
        Fact(name="user_namespace", verdict="refused", reason="operation not permitted (errno 1)"),
        Fact(name="tun_device", verdict="refused", reason="no such file"),
    ),
    remedies=(
        Remedy(fact="user_namespace", who="operator", where="docker", text="docker run --security-opt x ..."),
        Remedy(fact="user_namespace", who="operator", where="kubernetes", text="securityContext: x"),
        Remedy(fact="proot", who="you", where="apt.txt", text="proot"),
    ),
)
REQUEST = LaunchRequest(
    id="x", argv=("true",), env=(), hostname="h", network="none", lowers=("/l",), upper="/u", work="/w"
)


def test_a_start_says_what_is_missing_and_what_would_help() -> None:
    with pytest.raises(HostUnsupported) as caught:
        RefusingRuntime(REPORT).launch(REQUEST)
    assert "user_namespace (operation not permitted (errno 1))" in caught.value.problem
    assert "tun_device" not in caught.value.problem
    first, second = caught.value.hint.split("; ")
    assert first == "docker run --security-opt x ... (to start this container)"
    assert second == "proot (in binder/apt.txt)"


def test_everything_else_works(tmp_path: Path) -> None:
    runtime = RefusingRuntime(REPORT)
    assert runtime.connect(str(tmp_path)) is None
    assert runtime.state(str(tmp_path)).status == "created"
    runtime.close()
