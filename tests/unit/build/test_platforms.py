"""Builds for other platforms than this machine's."""

from __future__ import annotations

import msgspec
import pytest

from contextkernel.errors import HostUnsupported, InvalidInput
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.oci import ImageConfig
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef

ARM = Platform("linux", "arm64")


@pytest.fixture
def both(bench):
    """A resolver with the base for two platforms, and the platforms it was asked for."""
    native = bench.store.names[str(ImageRef.parse("base"))]
    config = msgspec.structs.replace(from_json(bench.store.images[native], ImageConfig), architecture="arm64")
    other = bench.store.add_image(to_json(config), origin="pull")
    asked = []

    def resolve(ref, *, pull, platform=None, report=None):
        del pull, report
        asked.append(platform)
        assert ref.familiar_name == "base"
        return other if platform == ARM else native

    resolve.asked = asked
    return resolve


def config_of(bench, result):
    return bench.store.config(result.image)


def test_programs_of_another_machine_are_refused_before_anything_runs(bench, both):
    text = "FROM base AS native\nRUN make\nFROM base\nCOPY --from=native /ran /ran\nRUN one\nRUN two\n"
    with pytest.raises(HostUnsupported) as problem:
        bench.build(text, resolve=both, platform=ARM)
    assert "[native 2/2] RUN make needs to run programs for linux/arm64" in problem.value.problem
    assert "qemu-user-static" in problem.value.hint
    assert problem.value.span.line == 2
    assert bench.runtime.launched == []


def test_files_for_another_machine_need_none(bench, both):
    bench.write({"file": "content"})
    text = (
        "FROM --platform=$BUILDPLATFORM base AS native\nARG TARGETARCH\nRUN make $TARGETARCH\n"
        "FROM base\nCOPY --from=native /ran /ran\nCOPY file /file\nWORKDIR /work\nENV A=b\n"
    )
    result = bench.build(text, resolve=both, platform=ARM)
    assert config_of(bench, result).architecture == "arm64"
    assert set(both.asked) == {Platform("linux", "amd64"), ARM}
    (made,) = bench.runtime.launched
    assert "TARGETARCH=arm64" in made.env


def test_a_platform_of_a_stage_is_the_image_s(bench, both):
    result = bench.build("FROM --platform=linux/arm64 base\n", resolve=both)
    assert config_of(bench, result).architecture == "arm64"
    with pytest.raises(HostUnsupported, match="linux/arm64"):
        bench.build("FROM --platform=linux/arm64 base\nRUN x\n", resolve=both)


def test_what_was_asked_for_is_what_the_result_is_for(bench, both):
    result = bench.build("FROM --platform=$BUILDPLATFORM base\nRUN x\n", resolve=both, platform=ARM)
    assert config_of(bench, result).architecture == "arm64"


def test_scratch_is_for_the_target(bench):
    result = bench.build("FROM scratch\nWORKDIR /x\n", platform=Platform("linux", "arm", "v7"))
    assert (config_of(bench, result).architecture, config_of(bench, result).variant) == ("arm", "v7")


def test_what_is_cached_needs_no_emulator(bench, both):
    """The cache may come from a machine that can."""
    bench.build("FROM base\nRUN x\n", resolve=both)
    bench.build("FROM base\nRUN x\n", resolve=both, platform=ARM)
    assert bench.outcome()["[2/2] RUN x"] == "cached"  # the bases have the same layers here


def test_several_platforms_need_an_output_that_holds_them(bench, both):
    with pytest.raises(InvalidInput, match="one platform"):
        bench.build("FROM base\n", resolve=both, platforms=(Platform("linux", "amd64"), ARM))
    assert both.asked == []
