"""An index as a picture: one name, an image for each platform, each image's layers as blocks as wide as their size.

Plain HTML that needs no kernel: it opens and closes in a saved notebook too, and reads as a table where the style sheet
is stripped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contextkernel.commands.humanize import ellipsis, human_size
from contextkernel.model.oci import MEDIA_DOCKER_LIST
from contextkernel.notebook.frames import ContainerFrame, to_frame
from contextkernel.notebook.style import escape, wrap

if TYPE_CHECKING:
    from contextkernel.commands.outcome import Platforms
    from contextkernel.model.digest import Digest
    from contextkernel.model.remote import PlatformRow, RemoteImage, RemoteManifest

_BAR_WIDTH = 200
"""Pixels for the largest image."""
_MOST_BLOCKS = 60
"""Layers that are drawn; what comes after them is one block."""
_INSTRUCTION = 120
_STYLE = """<style>
.ck table.ck-index { border-collapse: collapse; border: 0; font-size: inherit; margin: 2px 0; }
.ck table.ck-index tr { background: none; }
.ck table.ck-index td { border: 0; padding: 3px 8px; text-align: left; vertical-align: middle; white-space: nowrap;
  background: none; max-width: none; }
.ck table.ck-index td.ck-top { vertical-align: middle; border: 1px solid rgba(128, 128, 128, .4); border-radius: 6px;
  padding: 8px 12px; background: rgba(128, 128, 128, .09); white-space: normal; overflow-wrap: break-word;
  min-width: 9em; max-width: 17em; }
.ck div.ck-index-box { overflow-x: auto; }
.ck table.ck-index td.ck-branch { padding: 0; width: 22px; min-width: 22px; position: relative; }
.ck table.ck-index td.ck-branch::before { content: ""; position: absolute; left: 0; right: 0; top: 50%;
  border-top: 1px solid rgba(128, 128, 128, .7); }
.ck table.ck-index td.ck-branch::after { content: ""; position: absolute; left: 10px; top: 0; bottom: 0;
  border-left: 1px solid rgba(128, 128, 128, .7); }
.ck table.ck-index tr.ck-first td.ck-branch::after { top: 50%; }
.ck table.ck-index tr.ck-last td.ck-branch::after { bottom: 50%; }
.ck table.ck-index tr.ck-first.ck-last td.ck-branch::after { display: none; }
.ck table.ck-index td.ck-branch span { visibility: hidden; }
.ck table.ck-index .ck-bar { margin-right: 1px; height: 1em; vertical-align: middle; }
.ck table.ck-index td.ck-r { text-align: right; }
.ck table.ck-index tr.ck-chosen td.ck-name { font-weight: 600; }
</style>"""


class PlatformFrame(ContainerFrame):
    """The platforms of an index, one in a row; shows the index as a picture.

    What is picked out of it (``df[df.download_size < 10**8]``) is a plain table.

    Attributes:
        remote: what it was made of.
    """

    _metadata = ("remote",)
    remote: RemoteImage | None = None

    def __repr__(self) -> str:
        return super().__repr__() if self.remote is None else index_text(self.remote)

    def _repr_html_(self) -> str | None:
        return super()._repr_html_() if self.remote is None else index_html(self.remote)


def show(platforms: Platforms) -> Any:
    """The frame for what was found."""
    frame = PlatformFrame(to_frame(platforms))
    object.__setattr__(frame, "remote", platforms.remote)
    return frame


def index_text(remote: RemoteImage) -> str:
    """The picture as text: a tree."""
    rows = remote.platforms()
    lines = [f"{remote.reference.familiar}  {_kind(remote)}  {remote.descriptor.digest.short}"]
    name = max((len(row.platform) for row in rows), default=0)
    size = max((len(human_size(row.size)) for row in rows), default=0)
    more = _more(remote)
    for number, row in enumerate(rows, 1):
        branch = "└─" if number == len(rows) and not more else "├─"
        notes = [*(["attested"] if row.attested else []), *(["<- this machine"] if row.chosen else [])]
        lines.append(
            f"{branch} {row.platform:<{name}}  {row.digest.short}  {human_size(row.size):>{size}} in "
            f"{_count(row.layers, 'layer')}{'  ' if notes else ''}{'  '.join(notes)}"
        )
    if more:
        lines.append(f"└─ {more}")
    return "\n".join(lines)


def index_html(remote: RemoteImage) -> str:
    """The picture: index, platforms, layers."""
    rows = remote.platforms()
    largest = max([row.size for row in rows] + [1])
    times: dict[Digest, int] = {}
    for one in remote.manifests:
        for digest in {layer.digest for layer in one.manifest.layers}:
            times[digest] = times.get(digest, 0) + 1
    shared = {digest for digest, count in times.items() if count > 1}
    more = _more(remote)
    count = max(len(rows) + bool(more), 1)
    lines = [
        _line(row, one, remote, largest=largest, shared=shared) for row, one in zip(rows, remote.manifests, strict=True)
    ]
    if more:
        lines.append(f'<td colspan="5" class="ck-muted">{escape(more)}</td>')
    body = []
    for number, line in enumerate(lines or ['<td class="ck-muted">no images</td>']):
        css = [*(["ck-first"] if number == 0 else []), *(["ck-last"] if number == count - 1 else [])]
        if number < len(rows) and rows[number].chosen:
            css.append("ck-chosen")
        top = f'<td class="ck-top" rowspan="{count}">{_top(remote)}</td>' if number == 0 else ""
        branch = '<td class="ck-branch"><span>─</span></td>'
        body.append(f'<tr class="{" ".join(css)}">{top}{branch}{line}</tr>')
    details = "".join(_layers(remote, one) for one in remote.manifests if one.manifest.layers)
    legend = (
        '<div class="ck-muted"><span class="ck-bar ck-bar-unique" style="width:1em"></span> a layer, as wide as its '
        "download"
        + (
            ' <span class="ck-bar ck-bar-shared" style="width:1em"></span> the same layer in several platforms'
            if shared
            else ""
        )
        + "</div>"
    )
    table = f'<table class="ck-index"><tbody>{"".join(body)}</tbody></table>'
    return wrap(f'{_STYLE}<div class="ck-index-box">{table}</div>{legend}{details}')


def _top(remote: RemoteImage) -> str:
    name, digest = escape(remote.reference.familiar), remote.descriptor.digest
    code = f'<code title="{escape(digest)}">{escape(digest.short)}</code>'
    return f"<b>{name}</b><div>{_kind(remote)}</div><div>{code}</div>"


def _kind(remote: RemoteImage) -> str:
    if not remote.is_index:
        return "image, no index"
    return "manifest list" if remote.descriptor.media_type == MEDIA_DOCKER_LIST else "index"


def _line(row: PlatformRow, one: RemoteManifest, remote: RemoteImage, *, largest: int, shared: set[Digest]) -> str:
    notes = ""
    if row.chosen:
        notes += '<span class="ck-badge ck-ok">this machine</span>'
    if row.attested:
        about = remote.attestations[row.digest].digest
        notes += f'<span class="ck-badge ck-muted" title="{escape(about)}">attested</span>'
    return (
        f'<td class="ck-name">{escape(row.platform)}</td>'
        f'<td><code title="{escape(row.digest)}">{escape(row.digest.short)}</code></td>'
        f"<td>{_bar(one, largest, shared)}</td>"
        f'<td class="ck-r" title="{row.size:,} bytes">{human_size(row.size)} '
        f'<span class="ck-muted">in {_count(row.layers, "layer")}</span></td><td>{notes}</td>'
    )


def _bar(one: RemoteManifest, largest: int, shared: set[Digest]) -> str:
    blocks = []
    layers = one.manifest.layers
    for layer in layers[:_MOST_BLOCKS]:
        width = max(2, round(_BAR_WIDTH * max(layer.size, 0) / largest))
        css = "shared" if layer.digest in shared else "unique"
        blocks.append(
            f'<span class="ck-bar ck-bar-{css}" style="width:{width}px" '
            f'title="{escape(layer.digest.short)} {human_size(layer.size)}"></span>'
        )
    if len(layers) > _MOST_BLOCKS:
        rest = sum(layer.size for layer in layers[_MOST_BLOCKS:])
        width = max(2, round(_BAR_WIDTH * rest / largest))
        blocks.append(
            f'<span class="ck-bar ck-bar-shared" style="width:{width}px" '
            f'title="{len(layers) - _MOST_BLOCKS} more, {human_size(rest)}"></span>'
        )
    return "".join(blocks)


def _layers(remote: RemoteImage, one: RemoteManifest) -> str:
    """What is in the layers of one platform, to be opened."""
    platform = one.platform
    rows = "".join(
        f'<tr><td class="ck-num">{row.layer}</td><td><code title="{escape(row.digest or "")}">'
        f"{escape(row.digest.short if row.digest else '')}</code></td>"
        f'<td class="ck-time">{human_size(row.download_size or 0)}</td>'
        f'<td><code title="{escape(row.created_by)}">{escape(ellipsis(row.created_by, _INSTRUCTION))}</code></td></tr>'
        for row in remote.layers_of(one)
    )
    return (
        f"<details><summary>layers of {escape(platform or 'this image')}</summary>"
        f'<table class="ck-steps">{rows}</table></details>'
    )


def _more(remote: RemoteImage) -> str:
    """Entries of the index that were not looked at."""
    if not remote.others:
        return ""
    from contextkernel.model.indexes import platform_of

    names = ", ".join(str(platform_of(entry) or entry.artifact_type or entry.media_type) for entry in remote.others[:8])
    return f"{_count(len(remote.others), 'more entry', 'more entries')}: {names}"


def _count(number: int, word: str, several: str = "") -> str:
    return f"{number} {word if number == 1 else several or word + 's'}"
