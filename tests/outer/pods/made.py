"""What the environments are made of: the wheel, what it depends on, the image, the course's base images."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from contextkernel.build.recipes import host_recipe
from pods.daemon import Docker

CHECKOUT = Path(__file__).parents[3]
#: the system's: ordinary users can run it, and the image has the same one
PYTHON = "/usr/bin/python3"
HOME = "/home/jovyan"
#: as binder/apt.txt brings them
PACKAGES = ("python3", "python3-venv", "proot", "uidmap", "busybox-static", "mmdebstrap", "ca-certificates")
#: what executes notebooks; the rest is what contextkernel asks for
EXECUTES = ("nbclient", "nbformat")


def run(*words: str | Path) -> str:
    """Run a program; gives its output.

    Raises:
        RuntimeError: it failed, with what it said.
    """
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(map(str, words))}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return done.stdout


def make_wheel(folder: Path) -> Path:
    """The project as users get it."""
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, CHECKOUT)
    (wheel,) = folder.glob("contextkernel-*.whl")
    return wheel


def make_packages(wheel: Path, folder: Path) -> Path:
    """All that the wheel depends on, but without it; environments see it read-only beside what they install."""
    packages = folder / "packages"
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", PYTHON)
    run(*pip, "install", "--target", packages, "pip", *EXECUTES, wheel)
    for ours in packages.glob("contextkernel*"):
        shutil.rmtree(ours)
    return packages


def make_system(cache: Path, proxy: str) -> Path:
    """A tar with the image's system: this machine's distribution, uid 1000; kept between sessions."""
    recipe = host_recipe(())
    if recipe is None:
        raise RuntimeError("only on Debian and Ubuntu an image of the same system can be made")
    hooks = (
        f'--customize-hook=chroot "$1" useradd --create-home --uid 1000 --shell /bin/bash {Path(HOME).name}',
        '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*',
    )
    words = ("--variant=minbase", f"--include={','.join(PACKAGES)}", *hooks, recipe.suite)
    key = hashlib.sha256(repr((words, recipe.sources)).encode()).hexdigest()[:12]
    tar = cache / f"outer-{key}.tar"
    if not tar.exists():
        fresh = tar.with_suffix(".part")
        run("mmdebstrap", "--mode=root", "--format=tar", f'--aptopt=Acquire::http::Proxy "{proxy}"', *words[:-1],
            words[-1], fresh, *recipe.sources)  # fmt: skip
        fresh.rename(tar)
    return tar


def make_image(docker: Docker, system: Path) -> str:
    """The image of all pods; gives its name."""
    changes = (f"ENV HOME={HOME}", "ENV LANG=C.UTF-8", "USER 1000", f"WORKDIR {HOME}")
    docker.run("import", *(f"--change={change}" for change in changes), "-", "pod", stdin=system)
    return "pod"


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named_by_digest(folder: Path, name: str) -> str:
    fresh = f"blobs/sha256/{digest_of(folder / name)}"
    (folder / name).rename(folder / fresh)
    return fresh


def make_bases(archive: Path, folder: Path, proxy: str) -> Path:
    """The course's base images, with the proxy in apt's settings of the one that has apt; an archive to load.

    Args:
        archive: with the base images as they are, one layer each.
        folder: for what is made.
        proxy: its URL as environments reach it.
    """
    made = folder / "bases.tar"
    opened = folder / "opened"
    run("tar", "--extract", "--one-top-level=opened", "--directory", folder, "--file", archive)
    manifest = json.loads((opened / "manifest.json").read_text())
    (image,) = (entry for entry in manifest if "ubuntu:20.04" in entry["RepoTags"])
    (layer,) = image["Layers"]
    setting = f'Acquire::http::Proxy "{proxy}";\n'.encode()
    with tarfile.open(opened / layer, "a") as tar:
        entry = tarfile.TarInfo("etc/apt/apt.conf.d/01proxy")
        entry.size = len(setting)
        tar.addfile(entry, io.BytesIO(setting))
    config = json.loads((opened / image["Config"]).read_text())
    config["rootfs"]["diff_ids"] = [f"sha256:{digest_of(opened / layer)}"]
    (opened / image["Config"]).write_text(json.dumps(config))
    image["Config"] = _named_by_digest(opened, image["Config"])
    image["Layers"] = [_named_by_digest(opened, layer)]
    (opened / "manifest.json").write_text(json.dumps(manifest))
    (opened / "index.json").unlink()  # so it is a docker-archive only
    (opened / "oci-layout").unlink()
    run("tar", "--create", "--directory", opened, "--file", made, ".")
    shutil.rmtree(opened)
    return made
