"""Packages, archives and users on a root file system that borrows the host's /usr: what they leave, and whose it is.

No network: the package, the archive and the wheel are made here, with owners that are not root's.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from .images import flatten

BASE = "ck-packages"
#: what is compared: where the script puts something
PLACES = ("opt/", "srv/", "home/", "etc/own", "var/mail")
#: in this order; each must work
SCRIPT = """
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive PIP_ROOT_USER_ACTION=ignore
dpkg -i /w/owned.deb
dpkg -i --force-confnew /w/owned.deb
tar -xpf /w/owned.tar -C /opt
tar -cf /tmp/again.tar --owner=40 --group=41 -C /opt made
mkdir /srv/again && tar -xpf /tmp/again.tar -C /srv/again
install -o 42 -g 43 -m 4755 /usr/bin/true /srv/installed
install -d -o 44 -g 45 -m 2775 /srv/shared && touch /srv/shared/inside
mkdir /srv/shared/deep && touch /srv/shared/deep/file
useradd --create-home --uid 1234 bob && groupadd --gid 77 club && usermod -aG club bob && chgrp club /home/bob
setpriv --reuid bob --regid bob --init-groups true
cp /opt/made/file /srv/copied && chown -h 46:47 /opt/made/link && mv /opt/made/file /opt/made/moved
sed -i s/made/changed/ /opt/made/moved
python3 /w/pip.whl/pip install --quiet --no-index --no-compile --target /opt/python /w/small-1-py3-none-any.whl
PYTHONPATH=/opt/python python3 -c 'import small'
rm -rf /opt/python/small/__pycache__ /opt/python/__pycache__
"""
_CONTROL = """\
Package: owned
Version: 1
Architecture: all
Maintainer: nobody <nobody@example.org>
Description: files of several owners
"""
_POSTINST = """\
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
id -u owner >/dev/null 2>&1 || useradd --system --uid 150 --user-group --home-dir /var/lib/owned owner
chown -R owner:owner /srv/state
chown root:mail /opt/owned/tool
chmod 2755 /opt/owned/tool
"""
_SKELETON = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nmail:x:8:\nwww-data:x:33:\nshadow:x:42:\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\nwww-data:*:19000:0:99999:7:::\n",
    "etc/gshadow": "root:*::\nmail:*::\nwww-data:*::\nshadow:*::\n",
    "etc/login.defs": "UID_MIN 1000\nGID_MIN 1000\nUSERGROUPS_ENAB yes\nUMASK 022\n",
    "etc/skel/.profile": "umask 022\n",
    "var/lib/dpkg/status": "",
    "etc/hosts": "",
    "etc/hostname": "",
    "etc/resolv.conf": "",
}
_DIRECTORIES = (
    *("dev", "etc", "etc/skel", "home", "opt", "proc", "root", "srv", "sys", "tmp", "usr", "var", "var/mail"),
    *("var/lib", "var/lib/dpkg", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"),
    *("var/log", "var/cache", "w"),
)
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


def prepare(folder: Path) -> Path:
    """Make what the script needs.

    Args:
        folder: an empty directory; what is to be at /w is in ``w`` below it.

    Returns:
        The root file system, as a tar.
    """
    shared = folder / "w"
    shared.mkdir()
    _package(shared / "owned.deb")
    with tarfile.open(shared / "owned.tar", "w") as tar:
        _directory(tar, "made", 33, 34, 0o2755)
        _file(tar, "made/file", b"made\n", 35, 36, 0o640)
        _link(tar, "made/link", "file", 37, 38)
    with zipfile.ZipFile(shared / "small-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("small/__init__.py", "answer = 42\n")
        wheel.writestr("small-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1\n")
        wheel.writestr("small-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("small-1.dist-info/RECORD", "")
    (pip,) = list(Path("/usr/share/python-wheels").glob("pip-*.whl"))[:1] or [None]
    if pip is None:
        raise FileNotFoundError("no wheel of pip on this machine (Debian: python3-venv)")
    (shared / "pip.whl").write_bytes(pip.read_bytes())
    base = folder / "base.tar"
    with tarfile.open(base, "w") as tar:
        for name in _DIRECTORIES:
            _directory(
                tar, name, 0, 8 if name == "var/mail" else 0, {"tmp": 0o1777, "var/mail": 0o2775}.get(name, 0o755)
            )
        for name, text in _SKELETON.items():
            secret = name in ("etc/shadow", "etc/gshadow")
            _file(tar, name, text.encode(), 0, 42 if secret else 0, 0o640 if secret else 0o644)
        for name, target in _LINKS.items():
            _link(tar, name, target, 0, 0)
    return base


def left(archive: Path) -> dict[str, str]:
    """What an image of the script has at :data:`PLACES`: type, mode, owner, link target."""
    files: dict[str, Any] = flatten(archive)[0]["files"]
    found = {}
    for path, line in files.items():
        if path.startswith(PLACES):
            words = line.partition(" @")[0].split(" ")
            found[path] = " ".join(words[:3] if words[0] == "file" else words)
    return found


def _package(path: Path) -> None:
    """A package whose files have owners of their own, and a script that makes a user."""
    control, data = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=control, mode="w:gz") as tar:
        _file(tar, "./control", _CONTROL.encode(), 0, 0, 0o644)
        _file(tar, "./postinst", _POSTINST.encode(), 0, 0, 0o755)
        _file(tar, "./conffiles", b"/etc/own.conf\n", 0, 0, 0o644)
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name in ("./", "./etc/", "./opt/", "./opt/owned/", "./srv/", "./srv/state/"):
            _directory(tar, name, 0, 0, 0o755)
        _file(tar, "./etc/own.conf", b"a = 1\n", 0, 33, 0o640)
        _file(tar, "./opt/owned/tool", b"#!/bin/sh\n", 0, 0, 0o755)
        _directory(tar, "./opt/owned/web/", 33, 33, 0o2750)
        _file(tar, "./opt/owned/web/page", b"hello\n", 33, 33, 0o600)
        _link(tar, "./opt/owned/web/link", "page", 33, 33)
        _file(tar, "./srv/state/data", b"1\n", 0, 0, 0o600)
    with path.open("wb") as stream:
        stream.write(b"!<arch>\n")
        for name, content in (
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", control.getvalue()),
            ("data.tar.gz", data.getvalue()),
        ):
            stream.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode())
            stream.write(content + b"\n" * (len(content) % 2))


def _info(name: str, uid: int, gid: int, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.uid, info.gid, info.mode, info.mtime = uid, gid, mode, 1_600_000_000
    return info


def _directory(tar: tarfile.TarFile, name: str, uid: int, gid: int, mode: int) -> None:
    info = _info(name, uid, gid, mode)
    info.type = tarfile.DIRTYPE
    tar.addfile(info)


def _link(tar: tarfile.TarFile, name: str, target: str, uid: int, gid: int) -> None:
    info = _info(name, uid, gid, 0o777)
    info.type, info.linkname = tarfile.SYMTYPE, target
    tar.addfile(info)


def _file(tar: tarfile.TarFile, name: str, content: bytes, uid: int, gid: int, mode: int) -> None:
    info = _info(name, uid, gid, mode)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
