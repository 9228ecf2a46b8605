"""Who one is at a registry: Docker's ``config.json``, its credential helpers, containers' ``auth.json`` (read only).

Sources: docker login's reference ("Credential stores", "Credential helpers"), docker-credential-helpers' protocol,
containers-auth.json(5). Asked in this order: ``$DOCKER_AUTH_CONFIG``, ``config.json`` (helper of the registry, else the
store, else the file itself), ``auth.json``.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
import tempfile
from contextlib import suppress
from typing import Any

import msgspec

from contextkernel.errors import InvalidInput, RegistryProblem

HUB = "https://index.docker.io/v1/"
"""Under which name the credentials of Docker Hub are kept, for historical reasons."""
_HUB_NAMES = {"docker.io", "index.docker.io", "registry-1.docker.io"}
_TOKEN_USER = "<token>"  # noqa: S105 - the user name that says that a helper's secret is an identity token
_NOT_FOUND = "credentials not found in native keychain"
_HELPER_TIME = 60.0  # seconds; a helper may ask the user for the key of its key ring
_MAX = 1 << 20
_MAX_SAID = 200
_MEND = "mend the file; until then nothing in it is read or changed"
_ELSEWHERE = "DOCKER_CONFIG names another directory"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown to a registry; no secret is in what is printed of this value.

    Attributes:
        username: user; empty with an identity token alone.
        password: password or access token.
        identity_token: a refresh token: from it the token server makes the tokens of requests.
        registry_token: a token that is sent as it is.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header with user and password."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")

    def __bool__(self) -> bool:
        return bool((self.username and self.password) or self.identity_token or self.registry_token)

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r})"

    __str__ = __repr__

    def __rich_repr__(self) -> list[tuple[str, str]]:  # msgspec's own would show everything
        return [("username", self.username)]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Where credentials were kept.

    Attributes:
        path: the configuration file.
        helper: the helper program that has the secret; empty: it is in the file, unencrypted.
    """

    path: str
    helper: str = ""


def key_of(server: str) -> str:
    """The name under which a server's credentials are kept: its host, or Docker Hub's historical address.

    Args:
        server: a registry as in references, or what somebody gave to ``login``: a host or a URL.
    """
    host = server.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return HUB if not host or host in _HUB_NAMES else host


def config_path() -> str:
    """Docker's ``config.json``: in ``$DOCKER_CONFIG``, else in ``~/.docker``."""
    return os.path.join(os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"), "config.json")


def find_credentials(registry: str, repository: str = "") -> Credentials | None:
    """Look credentials up.

    Args:
        registry: as in references, e.g. ``docker.io`` or ``localhost:5000``.
        repository: containers' ``auth.json`` may have some for a part of a registry.

    Raises:
        InvalidInput: a file that cannot be understood; names it.
        RegistryProblem: the helper that should know fails; names it.
    """
    key = key_of(registry)
    given = os.environ.get("DOCKER_AUTH_CONFIG")
    if given and (found := _in_auths(_document(given, "$DOCKER_AUTH_CONFIG"), key)):
        return found
    path = config_path()
    config = _load(path)
    helper = _helper_of(config, key)
    found = _ask(helper, key, registry) if helper else _in_auths(config, key)
    return found or _containers(registry, repository)


def check_config() -> None:
    """Look whether credentials can be kept with what the file has now, before anybody is asked for a password.

    Raises:
        InvalidInput: the file cannot be read or understood: replacing it would lose what is in it.
    """
    path = config_path()
    _auths(_own(path), path)


def keep_credentials(registry: str, credentials: Credentials) -> Kept:
    """Keep credentials as ``docker login`` does: with the helper that the file names, else in the file itself.

    Raises:
        InvalidInput: the file cannot be understood or written. RegistryProblem: the helper fails.
    """
    path, key = config_path(), key_of(registry)
    config = _own(path)
    helper = _helper_of(config, key)
    auths = config["auths"] = _auths(config, path)
    if helper:
        secret = credentials.identity_token or credentials.password
        user = _TOKEN_USER if credentials.identity_token else credentials.username
        document = {"ServerURL": key, "Username": user, "Secret": secret}
        _run(helper, "store", json.dumps(document).encode())
        auths[key] = {}  # so that one sees whom one is logged in to
    else:
        entry = {}
        if credentials.username:
            # with an identity token the password is not kept: the token stands for it
            pair = f"{credentials.username}:{'' if credentials.identity_token else credentials.password}"
            entry["auth"] = base64.b64encode(pair.encode()).decode("ascii")
        if credentials.identity_token:
            entry["identitytoken"] = credentials.identity_token
        auths[key] = entry
    _save(path, config)
    return Kept(path=path, helper=helper)


def erase_credentials(server: str) -> bool:
    """Forget credentials, as ``docker logout`` does.

    Args:
        server: as for ``login``.

    Returns:
        Whether there were any.

    Raises:
        InvalidInput: the file cannot be understood or written. RegistryProblem: the helper fails.
    """
    path, key = config_path(), key_of(server)
    config = _own(path)
    auths = _auths(config, path)
    # older files may have them under these names
    names = [key] if key == HUB else [key, f"https://{key}", f"http://{key}", server]
    helper = _helper_of(config, key)
    there = [name for name in dict.fromkeys(names) if name in auths]
    if helper:
        _run(helper, "erase", key.encode())
    for name in there:
        del auths[name]
    if there:
        _save(path, config)
    return bool(there or helper)


def _auths(config: dict[str, Any], path: str) -> dict[str, Any]:
    auths = config.get("auths")
    if auths is None:
        return {}
    if not isinstance(auths, dict):
        raise InvalidInput(f"{path}: 'auths' is not a JSON object")
    return auths


def _helper_of(config: dict[str, Any], key: str) -> str:
    helpers = config.get("credHelpers")
    special = helpers.get(key) or helpers.get(_plain(key)) if isinstance(helpers, dict) else None
    name = special if special is not None else config.get("credsStore") or ""
    if not isinstance(name, str) or "/" in name:
        raise InvalidInput(f"{config_path()}: {str(name)[:_MAX_SAID]!r} is not the name of a credential helper")
    return name


def _plain(key: str) -> str:
    return "docker.io" if key == HUB else key


def _in_auths(config: dict[str, Any], key: str) -> Credentials | None:
    auths = config.get("auths")
    if not isinstance(auths, dict):
        return None
    names = [key, _plain(key)] + [name for name in auths if key != HUB and "//" in name and key_of(name) == key]
    for name in names:
        entry = auths.get(name)
        if isinstance(entry, dict) and (found := _entry(entry)):
            return found
    return None


def _entry(entry: dict[str, Any]) -> Credentials | None:
    fields = {name: value for name, value in entry.items() if isinstance(value, str)}
    user, password = fields.get("username", ""), fields.get("password", "")
    with suppress(binascii.Error, UnicodeDecodeError):
        name, colon, secret = base64.b64decode(fields.get("auth", ""), validate=True).decode().partition(":")
        if colon:
            user, password = name, secret.strip("\0")
    return (
        Credentials(
            username=user,
            password=password,
            identity_token=fields.get("identitytoken", ""),
            registry_token=fields.get("registrytoken", ""),
        )
        or None
    )


def _containers(registry: str, repository: str) -> Credentials | None:
    """What podman, buildah and skopeo were told: the longest name that the repository begins with."""
    names = [registry]
    parts = repository.split("/") if repository else []
    names = [f"{registry}/{'/'.join(parts[:count])}" for count in range(len(parts), 0, -1)] + names
    for path in _containers_paths():
        config = _load(path)
        helpers = config.get("credHelpers")
        if isinstance(helpers, dict) and isinstance(name := helpers.get(registry), str) and "/" not in name:
            return _ask(name, registry, registry)
        auths = config.get("auths")
        for name in names if isinstance(auths, dict) else ():
            entry = auths.get(name) if isinstance(auths, dict) else None
            if isinstance(entry, dict) and (found := _entry(entry)):
                return found
        if found := _in_auths(config, key_of(registry)):
            return found
    return None


def _containers_paths() -> list[str]:
    named = os.environ.get("REGISTRY_AUTH_FILE")
    if named:
        return [named]
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return [f"{runtime}/containers/auth.json", f"{config}/containers/auth.json"]


def _load(path: str) -> dict[str, Any]:
    """What a file says; one that must not be read says nothing."""
    try:
        return _parsed(path)
    except PermissionError:
        return {}


def _own(path: str) -> dict[str, Any]:
    """What a file says that is to be written again: what must not be read must not be lost either."""
    try:
        return _parsed(path)
    except PermissionError as problem:
        raise InvalidInput(f"cannot read {path}: {_text(problem)}", hint=_ELSEWHERE) from None


def _parsed(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except UnicodeDecodeError as problem:
        raise InvalidInput(f"{path} is not text: byte {problem.start} is not UTF-8", hint=_MEND) from None
    except PermissionError:
        raise
    except OSError as problem:
        raise InvalidInput(f"cannot read {path}: {_text(problem)}", hint=_ELSEWHERE) from None
    if len(text) > _MAX:
        raise InvalidInput(f"{path} is larger than {_MAX} characters", hint=_MEND)
    return _document(text, path)


def _document(text: str, name: str) -> dict[str, Any]:
    try:
        document = json.loads(text or "{}")
    except json.JSONDecodeError as problem:  # its message does not repeat what is in the file, unlike its `doc`
        where = f"line {problem.lineno}, column {problem.colno}"
        raise InvalidInput(f"{name}, {where}: {problem.msg[:1].lower()}{problem.msg[1:]}", hint=_MEND) from None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InvalidInput(f"{name} is not a JSON object", hint="docker login and `login` write it")
    return document


def _save(path: str, config: dict[str, Any]) -> None:
    """Replace the file, readable by its owner alone if it is new; where it is a link, what it leads to."""
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o600
        descriptor, temporary = tempfile.mkstemp(prefix="config.json", dir=folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(config, file, indent="\t", ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, mode)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as problem:
        raise InvalidInput(f"cannot write {path}: {_text(problem)}", hint=_ELSEWHERE) from None


def _ask(helper: str, key: str, registry: str) -> Credentials | None:
    answer = _run(helper, "get", key.encode(), may_lack=True)
    if answer is None:
        return None
    try:
        document = json.loads(answer)
        user, secret = str(document["Username"]), str(document["Secret"])
    except (ValueError, KeyError, TypeError):
        raise RegistryProblem(f"docker-credential-{helper}: its answer for {registry} cannot be understood") from None
    if user == _TOKEN_USER:
        return Credentials(identity_token=secret) or None
    return Credentials(username=user, password=secret) or None


def _run(helper: str, verb: str, said: bytes, *, may_lack: bool = False) -> bytes | None:
    """Run a helper. What it prints is repeated only where it failed, and never for ``store``, which is told secrets."""
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(  # the user's own configuration names it
            [program, verb], input=said, capture_output=True, timeout=_HELPER_TIME, check=False
        )
    except FileNotFoundError:
        raise RegistryProblem(
            f"{program} is not installed, and {config_path()} says that it keeps the credentials",
            hint="install it, or take credsStore or credHelpers out of the file",
        ) from None
    except (OSError, subprocess.TimeoutExpired) as problem:
        text = "no answer in time" if isinstance(problem, subprocess.TimeoutExpired) else _text(problem)
        raise RegistryProblem(f"{program} {verb}: {text}") from None
    if done.returncode == 0:
        return done.stdout[:_MAX]
    text = (done.stdout.strip() or done.stderr.strip()).decode("utf-8", "replace")[:_MAX_SAID]
    if _NOT_FOUND in text and (may_lack or verb == "erase"):
        return None
    if verb == "store":
        text = "what it said is not repeated, since it was told the password"
    raise RegistryProblem(f"{program} {verb} failed with exit code {done.returncode}: {text or 'it said nothing'}")


def _text(problem: Exception) -> str:
    text = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return text[:1].lower() + text[1:]
