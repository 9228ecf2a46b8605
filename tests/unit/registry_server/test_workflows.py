"""Pull, push, discovery and deletion as the distribution-spec has them, against our own registry."""

from __future__ import annotations

import json

import pytest


def test_it_says_that_it_is_a_registry(ask):
    for path in ("/v2/", "/v2"):
        answer = ask("GET", path)
        assert (answer.status, answer.body) == (200, b"{}")
        assert answer.headers["docker-distribution-api-version"] == "registry/2.0"


def test_what_is_pushed_is_pulled(ask, made):
    digest, data = ask.push_image("team/demo", "v1", b"x" * 100_000)
    for reference in ("v1", digest):
        answer = ask("GET", f"/v2/team/demo/manifests/{reference}")
        assert (answer.status, answer.body) == (200, data)
        assert answer.headers["content-type"] == made.MANIFEST
        assert answer.headers["docker-content-digest"] == digest
    layer = made.digest_of(b"x" * 100_000)
    answer = ask("GET", f"/v2/team/demo/blobs/{layer}")
    assert answer.body == b"x" * 100_000
    assert answer.headers["docker-content-digest"] == layer
    head = ask("HEAD", f"/v2/team/demo/blobs/{layer}")
    assert (head.status, head.headers["content-length"], head.body) == (200, "100000", b"")
    head = ask("HEAD", "/v2/team/demo/manifests/v1")
    assert (head.status, head.headers["content-length"]) == (200, str(len(data)))


def test_what_is_not_there(ask, made):
    ask.push_image("team/demo", "v1")
    nothing = made.digest_of(b"nothing")
    for path, code in (
        ("team/demo/manifests/v2", "MANIFEST_UNKNOWN"),
        (f"team/demo/manifests/{nothing}", "MANIFEST_UNKNOWN"),
        ("team/other/manifests/v1", "NAME_UNKNOWN"),
        (f"team/demo/blobs/{nothing}", "BLOB_UNKNOWN"),
        ("team/other/tags/list", "NAME_UNKNOWN"),
        ("team/demo/blobs/uploads/nothing", "BLOB_UPLOAD_UNKNOWN"),
    ):
        answer = ask("GET", f"/v2/{path}")
        assert (answer.status, answer.codes) == (404, [code])
    head = ask("HEAD", "/v2/team/demo/manifests/v2")
    assert (head.status, head.body) == (404, b"")


def test_blobs_belong_to_repositories(ask):
    digest = ask.push_blob("team/one", b"content")
    assert ask("GET", f"/v2/team/two/blobs/{digest}").status == 404
    mount = f"/v2/team/two/blobs/uploads/?mount={digest}&from="
    refused = ask("POST", mount + "team/three")
    assert refused.status == 202, "a session instead, as the specification has it"
    done = ask("POST", mount + "team/one")
    assert (done.status, done.headers["location"]) == (201, f"/v2/team/two/blobs/{digest}")
    assert ask("GET", f"/v2/team/two/blobs/{digest}").body == b"content"
    assert ask("POST", f"/v2/team/four/blobs/uploads/?mount={digest}").status == 201


def test_post_then_put(ask, made):
    begun = ask("POST", "/v2/team/demo/blobs/uploads/")
    assert begun.status == 202
    digest = made.digest_of(b"content")
    done = ask("PUT", f"{begun.headers['location']}?digest={digest}", b"content")
    assert (done.status, done.headers["location"]) == (201, f"/v2/team/demo/blobs/{digest}")
    assert ask("GET", done.headers["location"]).body == b"content"
    assert ask("GET", begun.headers["location"]).status == 404, "the session is over"


def test_chunks(ask, made):
    place = ask("POST", "/v2/team/demo/blobs/uploads/").headers["location"]
    first = ask("PATCH", place, b"hello ", Content_Range="0-5")
    assert (first.status, first.headers["range"]) == (202, "0-5")
    wrong = ask("PATCH", first.headers["location"], b"world", Content_Range="7-11")
    assert (wrong.status, wrong.headers["range"]) == (416, "0-5")
    told = ask("GET", wrong.headers["location"])
    assert (told.status, told.headers["range"]) == (204, "0-5")
    last = ask(
        "PUT", f"{told.headers['location']}?digest={made.digest_of(b'hello world')}", b"world", Content_Range="6-10"
    )
    assert last.status == 201
    assert ask("GET", last.headers["location"]).body == b"hello world"


def test_a_stream_without_a_length(ask, made):
    place = ask("POST", "/v2/team/demo/blobs/uploads/").headers["location"]
    parts = [b"a" * 70_000, b"b" * 3, b"c" * 200_000]
    assert ask("PATCH", place, iter(parts)).status == 202
    whole = b"".join(parts)
    assert ask("PUT", f"{place}?digest={made.digest_of(whole)}").status == 201


def test_sha512(ask, made):
    data = b"content"
    digest = made.digest_of(data, "sha512")
    for path in (f"?digest={digest}", "?digest-algorithm=sha512", ""):
        place = ask("POST", f"/v2/team/demo/blobs/uploads/{path}", data if "digest=" in path else None)
        if place.status == 202:
            assert ask("PUT", f"{place.headers['location']}?digest={digest}", data).status == 201
        assert ask("GET", f"/v2/team/demo/blobs/{digest}").body == data
        assert ask("DELETE", f"/v2/team/demo/blobs/{digest}").status == 202


def test_an_upload_is_given_up(ask):
    place = ask("POST", "/v2/team/demo/blobs/uploads/").headers["location"]
    assert ask("DELETE", place).status == 204
    assert ask("DELETE", place).codes == ["BLOB_UPLOAD_UNKNOWN"]


def test_an_upload_is_of_one_repository(ask):
    place = ask("POST", "/v2/team/demo/blobs/uploads/").headers["location"]
    assert ask("PATCH", place.replace("demo", "other"), b"x").status == 404


@pytest.mark.parametrize(
    ("header", "status", "body", "told"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_ranges(ask, header, status, body, told):
    digest = ask.push_blob("team/demo", b"0123456789")
    answer = ask("GET", f"/v2/team/demo/blobs/{digest}", Range=header)
    assert answer.status == status
    assert answer.headers.get("content-range") == told
    if body is not None:
        assert answer.body == body


def test_a_range_of_something_else_is_all_of_it(ask):
    digest = ask.push_blob("team/demo", b"0123456789")
    assert ask("GET", f"/v2/team/demo/blobs/{digest}", Range="bytes=4-", If_Range='"other"').body == b"0123456789"


def test_what_a_client_has_already(ask):
    digest, _ = ask.push_image("team/demo", "v1")
    mark = ask("GET", "/v2/team/demo/manifests/v1").headers["etag"]
    answer = ask("GET", "/v2/team/demo/manifests/v1", If_None_Match=mark)
    assert (answer.status, answer.body, answer.headers["docker-content-digest"]) == (304, b"", digest)


def test_tags_in_pages(ask):
    for tag in ("v2", "v10", "latest", "v1"):
        ask.push_image("team/demo", tag)
    assert json.loads(ask("GET", "/v2/team/demo/tags/list").body) == {
        "name": "team/demo",
        "tags": ["latest", "v1", "v10", "v2"],
    }
    seen, path = [], "/v2/team/demo/tags/list?n=3"
    while path:
        answer = ask("GET", path)
        seen.append(json.loads(answer.body)["tags"])
        path = answer.headers.get("link", "").partition("<")[2].partition(">")[0]
    assert seen == [["latest", "v1", "v10"], ["v2"]]
    none = ask("GET", "/v2/team/demo/tags/list?n=0")
    assert (json.loads(none.body)["tags"], none.headers.get("link")) == ([], None)
    assert json.loads(ask("GET", "/v2/team/demo/tags/list?last=v1").body)["tags"] == ["v10", "v2"]
    assert ask("GET", "/v2/team/demo/tags/list?n=many").status == 400


def test_the_catalog(ask):
    for name in ("team/demo", "alone", "team/demo/deeper"):
        ask.push_image(name, "v1")
    ask.push_blob("only/blobs", b"x")
    assert json.loads(ask("GET", "/v2/_catalog").body) == {"repositories": ["alone", "team/demo", "team/demo/deeper"]}
    page = ask("GET", "/v2/_catalog?n=1")
    assert page.headers["link"] == '</v2/_catalog?n=1&last=alone>; rel="next"'


def test_an_index(ask, made):
    one, data = ask.push_image("team/demo", "one")
    index = json.dumps(
        {"schemaVersion": 2, "mediaType": made.INDEX, "manifests": [made.descriptor(data, made.MANIFEST)]}
    )
    assert ask("PUT", "/v2/team/demo/manifests/all", index.encode(), Content_Type=made.INDEX).status == 201
    assert ask("GET", "/v2/team/demo/manifests/all").headers["content-type"] == made.INDEX
    refused = ask("PUT", "/v2/team/other/manifests/all", index.encode(), Content_Type=made.INDEX)
    assert refused.codes == ["MANIFEST_BLOB_UNKNOWN"]
    assert one in refused.body.decode()


def test_several_tags_at_once(ask, made):
    digest, data = ask.push_image("team/demo", "v1")
    answer = ask("PUT", f"/v2/team/demo/manifests/{digest}?tag=1&tag=1.2&tag=latest", data, Content_Type=made.MANIFEST)
    assert (answer.status, answer.headers["oci-tag"]) == (201, "1, 1.2, latest")
    assert json.loads(ask("GET", "/v2/team/demo/tags/list").body)["tags"] == ["1", "1.2", "latest", "v1"]


def test_referrers(ask, made):
    subject, data = ask.push_image("team/demo", "v1")
    about = {"subject": made.descriptor(data, made.MANIFEST)}
    bill, _ = ask.push_image("team/demo", "bill", artifactType="text/bill", annotations={"by": "us"}, **about)
    plain, _ = ask.push_image("team/demo", "plain", **about)
    answer = ask("GET", f"/v2/team/demo/referrers/{subject}")
    assert answer.headers["content-type"] == made.INDEX
    listed = {one["digest"]: one for one in json.loads(answer.body)["manifests"]}
    assert set(listed) == {bill, plain}
    assert listed[bill]["annotations"] == {"by": "us"}
    assert listed[plain]["artifactType"] == "application/vnd.oci.image.config.v1+json"
    some = ask("GET", f"/v2/team/demo/referrers/{subject}?artifactType=text/bill")
    assert [one["digest"] for one in json.loads(some.body)["manifests"]] == [bill]
    assert some.headers["oci-filters-applied"] == "artifactType"
    assert ask("DELETE", f"/v2/team/demo/manifests/{bill}").status == 202
    left = json.loads(ask("GET", f"/v2/team/demo/referrers/{subject}").body)["manifests"]
    assert [one["digest"] for one in left] == [plain]
    assert json.loads(ask("GET", f"/v2/never/seen/referrers/{subject}").body)["manifests"] == []
    assert ask("GET", "/v2/team/demo/referrers/sha256:abc").status == 400


def test_the_subject_is_told(ask, made):
    later = made.descriptor(b"not here yet", made.MANIFEST)
    config = b"{}"
    ask.push_blob("team/demo", config)
    data = made.manifest(config, subject=later)
    answer = ask("PUT", "/v2/team/demo/manifests/x", data, Content_Type=made.MANIFEST)
    assert (answer.status, answer.headers["oci-subject"]) == (201, later["digest"])


def test_many_referrers_come_in_pages(ask, made):
    subject, data = ask.push_image("team/demo", "v1")
    about = {"subject": made.descriptor(data, made.MANIFEST)}
    pushed = {
        ask.push_image("team/demo", f"t{number}", annotations={"long": f"{number}" * 300_000}, **about)[0]
        for number in range(8)
    }
    seen: list[str] = []
    pages, path = 0, f"/v2/team/demo/referrers/{subject}?artifactType=application/vnd.oci.image.config.v1%2Bjson"
    while path:
        answer = ask("GET", path)
        assert len(answer.body) < 2 << 20
        seen += [one["digest"] for one in json.loads(answer.body)["manifests"]]
        path, pages = answer.headers.get("link", "").partition("<")[2].partition(">")[0], pages + 1
    assert (set(seen), len(seen)) == (pushed, 8)
    assert pages > 1


def test_deletion(ask):
    digest, _ = ask.push_image("team/demo", "v1")
    ask.push_image("team/demo", "v2")
    assert ask("DELETE", "/v2/team/demo/manifests/v1").status == 202
    assert ask("DELETE", "/v2/team/demo/manifests/v1").codes == ["MANIFEST_UNKNOWN"]
    assert ask("GET", f"/v2/team/demo/manifests/{digest}").status == 200
    assert ask("DELETE", f"/v2/team/demo/manifests/{digest}").status == 202
    for reference in ("v2", digest):
        assert ask("GET", f"/v2/team/demo/manifests/{reference}").status == 404
    assert json.loads(ask("GET", "/v2/team/demo/tags/list").body)["tags"] == []
    assert ask("DELETE", f"/v2/team/demo/manifests/{digest}").status == 404


def test_a_blob_goes_with_its_last_repository(ask, registry):
    digest = ask.push_blob("team/one", b"content")
    ask.push_blob("team/two", b"content")
    assert ask("DELETE", f"/v2/team/one/blobs/{digest}").status == 202
    assert ask("GET", f"/v2/team/one/blobs/{digest}").status == 404
    assert ask("GET", f"/v2/team/two/blobs/{digest}").body == b"content"
    assert registry.storage.size() == 7
    assert ask("DELETE", f"/v2/team/two/blobs/{digest}").status == 202
    assert registry.storage.size() == 0


def test_requests_are_recorded_and_can_be_answered_instead(ask, registry):
    from contextkernel.testing.registry import Canned

    ask.push_image("team/demo", "v1")
    assert registry.requested("PUT", "/v2/team/demo/manifests/v1") == [201]
    registry.answer = lambda request: Canned(429, {"Retry-After": "7"}, b"busy") if request.method == "GET" else None
    answer = ask("GET", "/v2/team/demo/manifests/v1")
    assert (answer.status, answer.headers["retry-after"], answer.body) == (429, "7", b"busy")
    assert ask("HEAD", "/v2/team/demo/manifests/v1").status == 200
