"""The picture of an index, its text twin, and the frames of what a registry has."""

import msgspec
import pytest

from contextkernel.commands.execute import execute
from contextkernel.model.oci import Descriptor
from contextkernel.notebook.columns import DTYPES
from contextkernel.notebook.indexview import index_html, index_text
from contextkernel.notebook.outcomes import value_of
from contextkernel.testing.fake_engine import FakeEngine
from contextkernel.testing.fake_remote import remote_image


class _Face:
    program = "%container"
    stdin = None

    def write_err(self, text):
        pass


def do(line):
    return value_of(execute(FakeEngine(), line.split(), _Face()))


def test_the_text_is_a_tree():
    one, two, three = (each.descriptor.digest.short for each in remote_image().manifests)
    assert index_text(remote_image()).splitlines() == [
        f"demo:latest  index  {remote_image().descriptor.digest.short}",
        f"├─ linux/amd64   {one}    29MB in 2 layers  attested  <- this machine",
        f"├─ linux/arm64   {two}  28.4MB in 2 layers",
        f"└─ linux/arm/v7  {three}  25.1MB in 2 layers",
    ]


def test_the_picture():
    html = index_html(remote_image())
    assert html.count('ck-branch">') == 3
    assert html.count("this machine") == 1
    assert 'rowspan="3"' in html
    assert "COPY greet /greet" in html
    assert html.count('class="ck-bar ck-bar-shared" style="width:2px"') == 3
    assert "the same layer in several platforms" in html


def test_what_others_wrote_is_escaped():
    image = remote_image().manifests[0]
    config = image.config.replace(b"COPY greet", b"COPY <b>&")
    remote = msgspec.structs.replace(remote_image(), manifests=(msgspec.structs.replace(image, config=config),))
    html = index_html(remote)
    assert "COPY <b>" not in html
    assert "COPY &lt;b&gt;&amp;" in html


def test_entries_that_were_not_looked_at_are_named():
    left = Descriptor("application/vnd.example", remote_image().descriptor.digest, 1)
    remote = msgspec.structs.replace(remote_image(), others=(left,))
    assert index_text(remote).splitlines()[-1] == "└─ 1 more entry: application/vnd.example"
    assert "1 more entry: application/vnd.example" in index_html(remote)


def test_an_index_without_images():
    remote = msgspec.structs.replace(remote_image(), manifests=())
    assert "no images" in index_html(remote)


def test_the_value_is_a_frame_that_shows_the_picture():
    frame = do("image platforms demo")
    assert list(frame.columns) == list(DTYPES["platforms"])
    assert frame.dtypes.astype(str).to_dict() == DTYPES["platforms"]
    assert frame["download_size"].tolist() == [29_001_200, 28_401_200, 25_101_200]
    assert "ck-index" in frame._repr_html_()
    assert repr(frame) == index_text(remote_image())
    small = frame[frame.download_size < 29_000_000]
    assert "ck-index" not in small._repr_html_()
    assert "28.4MB" in repr(small)


@pytest.mark.parametrize(
    ("line", "kind"),
    [("layers greet", "layers"), ("layers --remote demo", "layers"), ("history --remote demo", "remote_history")],
)
def test_frames(line, kind):
    frame = do(line)
    assert frame.dtypes.astype(str).to_dict() == DTYPES[kind]
    assert frame.iloc[:0].dtypes.astype(str).to_dict() == DTYPES[kind]
    assert "<table" in frame._repr_html_()
    assert "nan" not in repr(frame).lower()
    assert (">size<" in frame._repr_html_()) is (line == "layers greet")


def test_a_manifest_is_a_document():
    assert do("manifest inspect demo")[0]["schemaVersion"] == 2
