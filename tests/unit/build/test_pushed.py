"""Names of images that are pushed."""

from __future__ import annotations

import pytest

from contextkernel.build.outputs import check_outputs
from contextkernel.build.pushed import names_to_push, pushed_names
from contextkernel.build.request import BuildRequest
from contextkernel.errors import InvalidInput
from contextkernel.model.digest import Digest
from contextkernel.model.outputs import ImageOutput
from contextkernel.model.reference import ImageRef

ONE, TWO = ImageRef.parse("localhost:5000/a:1"), ImageRef.parse("localhost:5000/a:2")


def test_those_of_the_build_and_of_the_output_each_once():
    assert names_to_push(ImageOutput(push=True, names=(TWO, ONE)), [ONE]) == (ONE, TWO)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (ImageOutput(push=True), "tag is needed"),
        (ImageOutput(push=True, by_digest=True, names=(ONE,)), "can't push tagged ref localhost:5000/a:1 by digest"),
        (ImageOutput(push=True, names=(ImageRef("a", "b", None, Digest.of(b"")),)), "a digest comes of the content"),
    ],
)
def test_what_cannot_be_pushed_is_refused_before_anything_runs(output, said):
    with pytest.raises(InvalidInput, match=said):
        check_outputs(BuildRequest(outputs=(output,)))


def test_several_platforms_can_only_be_pushed():
    with pytest.raises(InvalidInput, match="use --push"):
        check_outputs(BuildRequest(outputs=(ImageOutput(names=(ONE,)),)), platforms=2)
    check_outputs(BuildRequest(outputs=(ImageOutput(push=True, names=(ONE,)),)), platforms=2)


def test_one_repository_digest_for_each_repository():
    digest = Digest.of(b"manifest")
    found = pushed_names(ImageOutput(push=True), [ONE, TWO], {"containerimage.digest": str(digest)})
    assert found == (ImageRef("localhost:5000", "a", None, digest),)
