"""binder/ is read by repo2docker: its rules, and what the two scripts do as an ordinary user in a fresh home.

Rules: jupyterhub/repo2docker, ``buildpacks/base.py`` (``BaseImage``), ``buildpacks/python/__init__.py``, ``utils.py``
(``is_local_pip_requirement``), ``buildpacks/conda/supported_python_version.py``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[3]
BINDER = ROOT / "binder"
SUPPORTED = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOBODY = 65534


def apt_packages(text: str) -> list[str]:
    found = []
    for line in text.splitlines():
        package = line.partition("#")[0].strip()
        if package:
            assert re.fullmatch(r"[a-z0-9.+-]+", package), f"{package!r} is no package name"
            found.append(package)
    return found


def test_packages_are_names_and_each_has_its_reason() -> None:
    packages = apt_packages((BINDER / "apt.txt").read_text())
    assert len(packages) == len(set(packages))
    readme = (BINDER / "README.md").read_text()
    rows = [line for line in readme.splitlines() if line.startswith("|")]
    assert [name for name in packages if not any(f"`{name}`" in row for row in rows)] == []


def test_packages_with_versions_or_shell_are_not_taken_for_names() -> None:
    with pytest.raises(AssertionError):
        apt_packages("proot\nproot=5.1; true")


def test_the_python_is_one_that_repo2docker_has_and_this_package_takes() -> None:
    name, version = (BINDER / "runtime.txt").read_text().strip().split("-")
    assert name == "python"
    assert version in SUPPORTED
    least = re.fullmatch(r">=3\.(\d+)", PROJECT["requires-python"])
    assert least is not None
    assert int(version.split(".")[1]) >= int(least[1])


def test_requirements_are_the_package_with_its_extras() -> None:
    lines = [line.split("#")[0].strip() for line in (BINDER / "requirements.txt").read_text().splitlines()]
    local = [line for line in lines if line.startswith(".")]
    assert local, "without a local requirement repo2docker installs before it copies the repository"
    extras = re.fullmatch(r"\.\[([\w,]+)\]", local[0])
    assert extras is not None
    assert set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"])
    assert not (ROOT / ".binder").exists(), "exclusive with binder/"
    shadowing = ("Dockerfile", "environment.yml", "environment.yaml", "Pipfile", "default.nix", "Project.toml")
    assert [name for name in shadowing if (BINDER / name).exists()] == []


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_are_bash_and_executable(name: str) -> None:
    script = BINDER / name
    assert script.read_text().startswith("#!/bin/bash\n")
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


def test_the_badge_opens_a_notebook_that_is_there() -> None:
    readme = (ROOT / "README.md").read_text()
    badge = re.search(r"mybinder\.org/v2/gh/([\w.-]+/[\w.-]+)/HEAD\?urlpath=([\w%.-]+)\)", readme)
    assert badge is not None
    path = unquote(badge[2])
    assert path.startswith("lab/tree/")
    assert (ROOT / path.removeprefix("lab/tree/")).is_file()
    address = PROJECT.get("urls", {}).get("Repository", "")
    assert badge[1] == (address.rstrip("/").removesuffix(".git").partition("github.com/")[2] or "OWNER/REPO")


def test_the_pack_has_the_base_images_of_the_course() -> None:
    wanted = set()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            for words in re.findall(
                r"base ensure (.*)", "".join(cell["source"]) if cell["cell_type"] == "code" else ""
            ):
                wanted |= set(words.split())
    listed = re.search(r"^bases=\((.*)\)$", (BINDER / "postBuild").read_text(), re.MULTILINE)
    assert listed is not None
    assert set(listed[1].split()) == wanted


# ---- what they do


class Home:
    """A fresh home with a copy of binder/, and programs that write down how they were called."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls = root / "calls"
        self.pack = root / "pack"
        shutil.copytree(BINDER, root / "binder")
        (root / "bin").mkdir()
        self.program(
            "contextkernel", 'case "$*" in *"save --output"*) echo archive of "${@: -1}" > "${@: -2:1}" ;; esac'
        )
        self.program("jupyter", "exit 0")
        self.program("python3", f'exec {sys.executable} "$@"')
        self.program("unshare", "exit 0")
        for path in (root, *root.rglob("*")):
            os.chown(path, *((NOBODY, NOBODY) if os.geteuid() == 0 else (-1, -1)))

    def program(self, name: str, does: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> {self.calls}\n{does}\n')
        path.chmod(0o755)

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        plain = {"HOME": str(self.root), "PATH": f"{self.root}/bin:/usr/bin:/bin", "TMPDIR": str(self.root)}
        root = os.geteuid() == 0
        return subprocess.run(
            words,
            cwd=self.root,
            env=plain | environment,
            capture_output=True,
            text=True,
            check=False,
            user=NOBODY if root else None,
            group=NOBODY if root else None,
            extra_groups=[] if root else None,
        )


@pytest.fixture
def home() -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="binder-") as place:  # pytest's own directories are its user's alone
        yield Home(Path(place))


def test_post_build_fills_the_pack_once(home: Home) -> None:
    settings = {"CONTEXTKERNEL_PACK": str(home.pack)}
    first = home.run("binder/postBuild", **settings)
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    assert sorted(path.name for path in home.pack.iterdir()) == ["alpine_3.15.0.tar", "ubuntu_20.04.tar"]
    assert "ubuntu:20.04" in (home.pack / "ubuntu_20.04.tar").read_text()
    assert "jupyter server extension enable --sys-prefix jupyter_server_proxy" in home.calls.read_text()
    home.calls.unlink()
    again = home.run("binder/postBuild", **settings)
    assert again.returncode == 0
    assert "contextkernel" not in home.calls.read_text()
    assert sorted(path.name for path in home.root.iterdir()) == ["bin", "binder", "calls", "pack"]


def test_post_build_goes_on_without_a_registry(home: Home) -> None:
    home.program("contextkernel", "exit 1")
    done = home.run("binder/postBuild", CONTEXTKERNEL_PACK=str(home.pack))
    assert done.returncode == 0
    assert "ubuntu:20.04 is not in the pack" in done.stderr
    assert list(home.pack.iterdir()) == []
    assert "jupyter server extension" in home.calls.read_text()


def test_a_broken_extension_stops_the_image(home: Home) -> None:
    home.program("jupyter", "exit 3")
    assert home.run("binder/postBuild", CONTEXTKERNEL_PACK=str(home.pack)).returncode == 3


SHOW = ("bash", "-c", 'echo "${CONTEXTKERNEL_ROOT-unset} ${CONTEXTKERNEL_MAX_SIZE-unset} $*"', "sh", "a b", "c")


def started(home: Home, **environment: str) -> tuple[str, str]:
    """The choice of a start; the program gets its words as they were, and nothing else is printed."""
    done = home.run(
        "binder/start", *SHOW, **{"CONTEXTKERNEL_VOLUMES": "", "CONTEXTKERNEL_SHM": "/nonexistent"} | environment
    )
    assert done.returncode == 0
    assert done.stderr == ""
    choice, bound, rest = done.stdout.split(" ", 2)
    assert rest == "a b c\n"
    return choice, bound


@pytest.fixture
def kinds(home: Home) -> Callable[..., None]:
    """Makes ``stat -f`` tell what a directory is on: ``kinds(shm=("tmpfs", 2048))``, free space in MiB."""

    def tell(**places: tuple[str, int]) -> None:
        cases = "".join(
            f'*/{name}) echo "{kind} {free * 256} 4096" ;;\n' for name, (kind, free) in places.items() if name != "home"
        )
        kind, free = places.get("home", ("overlayfs", 50_000))
        home.program("stat", f'case "${{@: -1}}" in {cases}*) echo "{kind} {free * 256} 4096" ;; esac')
        for name in places:
            (home.root / name).mkdir(exist_ok=True)
            (home.root / name).chmod(0o777)

    return tell


def test_the_operators_choice_stands(home: Home, kinds: Callable[..., None]) -> None:
    kinds(scratch=("ext2/ext3", 9000))
    volumes = {"CONTEXTKERNEL_VOLUMES": f"{home.root}/scratch"}
    assert started(home, CONTEXTKERNEL_ROOT="/srv/store", **volumes) == ("/srv/store", "unset")


def test_a_home_on_a_volume_is_kept(home: Home, kinds: Callable[..., None]) -> None:
    kinds(home=("xfs", 9000), scratch=("ext2/ext3", 9000))
    assert started(home, CONTEXTKERNEL_VOLUMES=f"{home.root}/scratch") == ("unset", "unset")


def test_a_volume_is_taken_where_the_home_is_the_images(home: Home, kinds: Callable[..., None]) -> None:
    kinds(full=("ext2/ext3", 100), far=("nfs", 9000), scratch=("ext2/ext3", 9000))
    names = " ".join(f"{home.root}/{name}" for name in ("none", "full", "far", "scratch"))
    user = NOBODY if os.geteuid() == 0 else os.geteuid()
    assert started(home, CONTEXTKERNEL_VOLUMES=names) == (f"{home.root}/scratch/contextkernel-{user}", "unset")


def test_without_user_namespaces_the_home_is_as_good(home: Home, kinds: Callable[..., None]) -> None:
    kinds(scratch=("ext2/ext3", 9000))
    home.program("unshare", "exit 1")
    assert started(home, CONTEXTKERNEL_VOLUMES=f"{home.root}/scratch") == ("unset", "unset")


@pytest.mark.parametrize(
    ("free", "memory", "taken"), [(2048, "4294967296", True), (64, "4294967296", False), (2048, "2147483648", False)]
)
def test_memory_is_taken_only_where_enough_of_it_is_left(
    home: Home, kinds: Callable[..., None], free: int, memory: str, *, taken: bool
) -> None:
    kinds(shm=("tmpfs", free))
    home.program("cat", f"echo {memory}")
    choice = started(home, CONTEXTKERNEL_SHM=f"{home.root}/shm")
    if taken:
        assert choice[0].startswith(f"{home.root}/shm/contextkernel-")
        assert int(choice[1]) == (free << 20) // 10 * 9
    else:
        assert choice == ("unset", "unset")


def test_the_server_starts_whatever_happens(home: Home) -> None:
    for name in ("stat", "unshare", "cat"):
        home.program(name, "echo nonsense; echo nonsense >&2; exit 1")
    assert started(home, CONTEXTKERNEL_SHM="/dev/shm") == ("unset", "unset")


def test_the_exit_code_is_the_programs(home: Home) -> None:
    assert home.run("binder/start", "sh", "-c", "exit 7").returncode == 7
