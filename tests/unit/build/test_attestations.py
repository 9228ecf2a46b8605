import base64
import json

import msgspec
import pytest

from contextkernel.build.epoch import source_date_epoch
from contextkernel.build.provenance import BuildFacts, metadata_provenance, provenance
from contextkernel.build.sbom import spdx_document
from contextkernel.errors import InvalidInput
from contextkernel.layer.packages import Package
from contextkernel.model.digest import Digest
from contextkernel.model.outputs import Provenance
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.plan.steps import ImageOrigin

AMD = Platform("linux", "amd64")
BASE = Digest.of(b"base")
FACTS = BuildFacts(
    path="Dockerfile",
    text="FROM debian\nADD https://ann:hidden@example.org/x /\n",
    arguments={"URL": "https://ann:hidden@example.org/", "A": "1"},
    labels={"l": "m"},
    target="last",
    secrets={"token": True, "key": False},
    images={ImageOrigin(ImageRef.parse("debian:12")): BASE},
    builder=AMD,
    platform=AMD,
    began=1.5,
    ended=2.0,
)


def test_the_minimum_says_neither_arguments_nor_secrets():
    statement = provenance(Provenance(builder_id="https://me"), FACTS)
    assert statement.predicate_type == "https://slsa.dev/provenance/v1"
    assert statement.name == "provenance.json"
    document = json.loads(statement.predicate)
    assert document["buildDefinition"]["resolvedDependencies"] == [
        {"uri": "pkg:docker/debian@12?platform=linux%2Famd64", "digest": {"sha256": BASE.hex}}
    ]
    assert document["buildDefinition"]["externalParameters"] == {
        "configSource": {"path": "Dockerfile"},
        "request": {"frontend": "dockerfile.v0", "locals": [{"name": "context"}, {"name": "dockerfile"}]},
    }
    assert document["runDetails"]["builder"] == {"id": "https://me"}
    metadata = document["runDetails"]["metadata"]
    assert metadata["startedOn"] == "1970-01-01T00:00:01.500000Z"
    assert metadata["buildkit_completeness"] == {"request": False, "resolvedDependencies": False}
    assert b"token" not in statement.predicate


@pytest.mark.parametrize("version", ["v1", "v0.2"])
def test_everything_but_credentials(version):
    statement = provenance(Provenance(full=True, version=version), FACTS)
    document = json.loads(statement.predicate)
    if version == "v1":
        request = document["buildDefinition"]["externalParameters"]["request"]
        source = document["runDetails"]["metadata"]["buildkit_metadata"]["source"]
    else:
        request = document["invocation"]["parameters"]
        source = document["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]["source"]
    assert request["args"] == {
        "build-arg:A": "1",
        "build-arg:URL": "https://xxxxx:xxxxx@example.org/",
        "label:l": "m",
        "target": "last",
    }
    assert request["secrets"] == [{"id": "key"}, {"id": "token", "optional": True}]
    text = base64.b64decode(source["infos"][0]["data"])
    assert b"example.org/x" in text
    assert b"hidden" not in statement.predicate + text


@pytest.mark.parametrize("version", ["v1", "v0.2"])
def test_attack_password_of_a_proxy_without_scheme(version):
    proxies = {"http_proxy": "ann:hidden@proxy:3128", "HTTPS_PROXY": "ann:hidden@proxy:3128"}
    facts = msgspec.structs.replace(FACTS, arguments={**FACTS.arguments, **proxies})
    statement = provenance(Provenance(full=True, version=version), facts)
    assert b"hidden" not in statement.predicate
    assert b"build-arg:A" in statement.predicate


def test_the_metadata_has_the_minimum_of_the_older_version():
    found = metadata_provenance(FACTS)
    assert found["buildType"] == "https://mobyproject.org/buildkit@v1"
    assert "metadata" not in found
    assert "args" not in found["invocation"]["parameters"]


def test_a_list_of_packages_is_reproducible():
    packages = (
        Package(kind="deb", name="a+b", version="1", source="var/lib/dpkg/status", purl="pkg:deb/debian/a%2Bb@1"),
        Package(kind="npm", name="@s/x", version="2", license="MIT", purl="pkg:npm/%40s/x@2"),
    )
    one, two = (spdx_document(packages, name="n", created="2020-01-01T00:00:00Z") for _ in range(2))
    assert one == two
    assert [item["SPDXID"] for item in one["packages"]] == [
        "SPDXRef-Package-deb-a-b-1",
        "SPDXRef-Package-npm--s-x-2",
    ]
    assert {item["spdxElementId"] for item in one["relationships"]} == {"SPDXRef-DOCUMENT"}
    other = spdx_document(packages[:1], name="n", created="2020-01-01T00:00:00Z")
    assert other["documentNamespace"] != one["documentNamespace"]


@pytest.mark.parametrize(
    ("arguments", "scope", "context", "expected"),
    [
        ({}, {}, 5, None),
        ({"SOURCE_DATE_EPOCH": "0"}, {}, None, 0),
        ({"SOURCE_DATE_EPOCH": "7"}, {"SOURCE_DATE_EPOCH": "8"}, None, 7),
        ({}, {"SOURCE_DATE_EPOCH": "8"}, None, 8),
        ({"SOURCE_DATE_EPOCH": ""}, {"SOURCE_DATE_EPOCH": "8"}, None, None),
        ({"SOURCE_DATE_EPOCH": "context"}, {}, 9, 9),
        ({"SOURCE_DATE_EPOCH": "context"}, {}, None, None),
    ],
)
def test_where_the_time_of_a_build_comes_from(arguments, scope, context, expected):
    assert source_date_epoch(arguments, scope, context) == expected


@pytest.mark.parametrize("value", ["yesterday", "-1", "1.5", "9999999999999"])
def test_what_is_no_time(value):
    with pytest.raises(InvalidInput, match="invalid SOURCE_DATE_EPOCH"):
        source_date_epoch({"SOURCE_DATE_EPOCH": value}, {}, None)
