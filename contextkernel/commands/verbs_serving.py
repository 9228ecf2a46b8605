"""Verbs about registries of our own."""

from __future__ import annotations

from contextkernel.commands.call import Call, for_each_name
from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.outcome import Outcome, Served, Table, TableOptions
from contextkernel.commands.secret_input import secret_from_stdin
from contextkernel.commands.verbs_image import shown
from contextkernel.model.serving import DEFAULT_NAME


def start(call: Call) -> Outcome:
    """Start a registry; prints its address."""
    parsed = call.parsed
    user = parsed.maybe("user")
    row = call.engine.start_registry(
        parsed.text("name"),
        port=int(parsed.text("port")) if parsed.given("port") else None,
        images=True if parsed.flag("images") else None,
        user=user,
        password=_password(call) if user else "",
    )
    return Outcome(value=Served(f"{row.address}\n", address=row.address))


def _password(call: Call) -> str:
    if not call.parsed.flag("password-stdin"):
        raise usage_problem(
            "--user needs --password-stdin", exit_code=1, more="a password in a command can be seen by others"
        )
    return secret_from_stdin(call.face.stdin)


def stop(call: Call) -> Outcome:
    """Stop registries."""
    return for_each_name(call.parsed.arguments or (DEFAULT_NAME,), call.engine.stop_registry)


def remove(call: Call) -> Outcome:
    """Remove registries."""
    force = call.parsed.flag("force")
    return for_each_name(call.parsed.arguments, lambda name: call.engine.remove_registry(name, force=force))


def list_registries(call: Call) -> Outcome:
    """List registries."""
    return shown(call, Table("registries", call.engine.registries()))


def list_images(call: Call) -> Outcome:
    """List what is in a registry."""
    (name,) = call.parsed.arguments or (DEFAULT_NAME,)
    options = TableOptions(no_trunc=call.parsed.flag("no-trunc"))
    return shown(call, Table("registry_images", call.engine.registry_images(name), options))
