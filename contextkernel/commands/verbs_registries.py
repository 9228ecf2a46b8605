"""Verbs about registries elsewhere: logins, searching. Words and streams are docker's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.outcome import Outcome, Table, TableOptions, Text
from contextkernel.commands.secret_input import secret_from_stdin
from contextkernel.commands.verbs_image import shown
from contextkernel.errors import RegistryProblem

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.model.logins import LoginResult

_HUB = "https://index.docker.io/v1/"
_DASH = "-"  # standard input, as elsewhere
_SUCCEEDED = "Login Succeeded\n"


def login(call: Call) -> Outcome:
    """Log in with what is given, else with what is kept, else with what is asked for."""
    parsed = call.parsed
    user, password = parsed.text("username"), parsed.text("password")
    from_stdin = parsed.flag("password-stdin") or password == _DASH
    if from_stdin and parsed.flag("password-stdin") and password not in ("", _DASH):
        raise usage_problem("conflicting options: cannot specify both --password and --password-stdin", exit_code=1)
    if from_stdin and not parsed.given("username"):
        raise usage_problem("the --password-stdin option requires --username to be set", exit_code=1)
    if parsed.given("username") and not user.strip():
        raise usage_problem("username is empty", exit_code=1)
    if parsed.given("password") and not password:
        raise usage_problem("password is empty", exit_code=1)
    server = (call.parsed.arguments or ("",))[0]
    if from_stdin:
        password = secret_from_stdin(call.face.stdin)
        if not password.strip():
            raise usage_problem("password is empty", exit_code=1)
    elif password:
        call.face.write_err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    known = call.engine.known_user(server) if not user and not password else None
    if known is not None:
        call.face.write_err(
            "Authenticating with existing credentials..." + (f" [Username: {known}]\n" if known else "\n")
        )
        try:
            return _done(call, call.engine.login(registry=server))
        except RegistryProblem as problem:
            if problem.status != 401:
                raise
            call.face.write_err("Stored credentials invalid or expired\n")
    user = user.strip() or _asked(call, f"Username ({known}): " if known else "Username: ") or known or ""
    if not user:
        raise usage_problem("username is required", exit_code=1)
    password = password or _asked(call, "Password: ", secret=True)
    if not password:
        raise usage_problem("password is required", exit_code=1)
    return _done(call, call.engine.login(user, password, registry=server))


def _asked(call: Call, question: str, *, secret: bool = False) -> str:
    answer = call.face.ask(question, secret=secret)
    if answer is None:
        raise usage_problem(
            "cannot perform an interactive login from a non-TTY device",
            exit_code=1,
            more="give the user with -u and the password with --password-stdin",
        )
    return answer.strip() if not secret else answer


def _done(call: Call, result: LoginResult) -> Outcome:
    if not result.helper:
        call.face.write_err(
            f"\nWARNING! Your credentials are stored unencrypted in '{result.path}'.\n"
            "A credential helper (credsStore in that file) keeps them elsewhere.\n\n"
        )
    return Outcome(value=Text(_SUCCEEDED))


def logout(call: Call) -> Outcome:
    """Forget a login."""
    server = (call.parsed.arguments or ("",))[0]
    call.engine.logout(server)
    host = server.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return Outcome(value=Text(f"Removing login credentials for {host or _HUB}\n"))


def search(call: Call) -> Outcome:
    """Search a registry."""
    parsed = call.parsed
    limit = int(parsed.text("limit")) if parsed.given("limit") else 25
    filters: dict[str, list[str]] = {}
    for word in parsed.texts("filter"):
        key, equals, value = word.partition("=")
        if not equals:
            raise usage_problem(f"invalid argument {word!r} for --filter: expected KEY=VALUE", exit_code=125)
        filters.setdefault(key.strip().lower(), []).append(value.strip())
    rows = call.engine.search(parsed.arguments[0], limit=limit or 25, filters=filters)
    return shown(call, Table("search", rows, TableOptions(no_trunc=parsed.flag("no-trunc"))))
