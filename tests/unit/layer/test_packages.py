import pytest

from contextkernel.layer.packages import find_packages, is_database, is_unread

DPKG = b"""Package: libc6
Status: install ok installed
Maintainer: GNU Libc Maintainers <glibc@example.org>
Architecture: amd64
Version: 2.36-9+deb12u4
Description: a library
 Package: not-one

Package: gone
Status: deinstall ok config-files
Version: 1

Package: broken
"""
APK = b"P:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\nm:A <a@example.org>\nF:lib\nR:ld.so\nZ:Q1\n\nP:busybox\nV:1.36\n"
PYTHON = b"Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.0\nLicense-Expression: MIT\n\nName: not-this\n"
NPM = b'{"name": "@scope/thing", "version": "3.0.0-rc1", "license": "ISC"}'


def test_packages_of_every_manager():
    found = find_packages(
        {
            "etc/os-release": b'NAME="Debian"\nID=debian\n',
            "var/lib/dpkg/status": DPKG,
            "lib/apk/db/installed": APK,
            "usr/lib/python3/dist-packages/foo_bar-1.0.dist-info/METADATA": PYTHON,
            "app/node_modules/@scope/thing/package.json": NPM,
        }
    )
    assert [(one.kind, one.name, one.version, one.purl) for one in found] == [
        ("apk", "busybox", "1.36", "pkg:apk/debian/busybox@1.36"),
        ("apk", "musl", "1.2.4-r2", "pkg:apk/debian/musl@1.2.4-r2?arch=x86_64"),
        ("deb", "libc6", "2.36-9+deb12u4", "pkg:deb/debian/libc6@2.36-9+deb12u4?arch=amd64"),
        ("npm", "@scope/thing", "3.0.0-rc1", "pkg:npm/%40scope/thing@3.0.0-rc1"),
        ("pypi", "Foo_Bar", "1.0", "pkg:pypi/foo-bar@1.0"),
    ]
    assert [one.license for one in found] == ["", "MIT", "", "ISC", "MIT"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("var/lib/dpkg/status", True),
        ("var/lib/dpkg/status.d/base", True),
        ("var/lib/dpkg/status-old", False),
        ("x/var/lib/dpkg/status", False),
        ("usr/lib/apk/db/installed", True),
        ("opt/v/lib/a-1.dist-info/METADATA", True),
        ("opt/v/lib/a-1.dist-info/RECORD", False),
        ("node_modules/a/package.json", True),
        ("node_modules/a/lib/package.json", False),
        ("package.json", False),
    ],
)
def test_which_files_are_databases(path, expected):
    assert is_database(path) is expected


def test_rpm_is_known_but_not_read():
    assert is_unread("var/lib/rpm/rpmdb.sqlite")
    assert not is_unread("var/lib/rpm/other")


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\0", b"[" * 100_000, b"{}", b'{"name": 1, "version": []}', b"\n\n\n:"])
def test_damaged_databases_tell_of_nothing(data):
    names = ("var/lib/dpkg/status", "lib/apk/db/installed", "a-1.dist-info/METADATA", "node_modules/a/package.json")
    assert find_packages(dict.fromkeys(names, data)) == ()
