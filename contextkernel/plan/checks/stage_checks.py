"""The checks of a stage's instructions, in order, with the variables each one sees (``dispatch`` in ``convert.go``)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from contextlib import suppress

import msgspec

from contextkernel.dockerfile.expand import Expansion, process
from contextkernel.dockerfile.ignore import IgnoreMatcher
from contextkernel.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Dockerfile,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Run,
    Shell,
    ShellForm,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from contextkernel.dockerfile.suggest import closest
from contextkernel.errors import DockerfileError, InvalidInput, Span
from contextkernel.plan.checks import rules_text
from contextkernel.plan.checks import rules_values as rules
from contextkernel.plan.checks.rule import Rule
from contextkernel.plan.checks.settings import Collector
from contextkernel.plan.checks.text_checks import keyword, looks_secret
from contextkernel.plan.exposed import exposed_ports
from contextkernel.plan.remote import is_remote
from contextkernel.plan.texts import go_quote

_NO_VARIABLES = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})
_ROOTS = frozenset({".", "/"})
_EVERYTHING = {".": frozenset({"*", "**", "**/*"}), "/": frozenset({"**", "**/*"})}


class Inherited(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage leaves to those that are based on it, as far as checks care.

    Attributes:
        env: variables: ENV and ARG.
        declared: ARGs, those without a value too.
        shell: there was a SHELL.
        workdir: there was a WORKDIR.
    """

    env: Mapping[str, str]
    declared: frozenset[str] = frozenset()
    shell: bool = False
    workdir: bool = False


class StageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What all stages share.

    Attributes:
        dockerfile: for its text.
        scope: the global scope.
        build_args: ``--build-arg`` values.
        ignore: patterns of the ignore file.
    """

    dockerfile: Dockerfile
    scope: Mapping[str, str]
    build_args: Mapping[str, str]
    ignore: tuple[str, ...] = ()


class StageWalk:
    """Goes through one stage.

    Args:
        start: what the stage inherits.
        facts: of the build.
        found: collects.
    """

    def __init__(self, start: Inherited, facts: StageFacts, found: Collector) -> None:
        self._facts = facts
        self._found = found
        self._env = dict(start.env)
        self._declared = set(start.declared)
        self._shell = start.shell
        self._workdir = start.workdir
        self._last: dict[type, Span] = {}
        self._own = True
        self._matcher = None
        if facts.ignore and not any(pattern.startswith("!") for pattern in facts.ignore):
            self._matcher = IgnoreMatcher(facts.ignore)

    @property
    def end(self) -> Inherited:
        """What the stage leaves so far."""
        return Inherited(
            env=dict(self._env), declared=frozenset(self._declared), shell=self._shell, workdir=self._workdir
        )

    def visit(self, instruction: Instruction, trigger: Span | None = None) -> None:
        """Check the next instruction.

        Args:
            instruction: it.
            trigger: the FROM, if the instruction is an ONBUILD trigger of its base: that is where it is reported.

        Raises:
            DockerfileError: a word that cannot be expanded.
        """
        self._own = trigger is None
        span = trigger or instruction.span
        match instruction:
            case Env(pairs=pairs, legacy=legacy):
                values = [(self._expand(p.key, span), self._expand(p.value, span)) for p in pairs]
                for name, _ in values:
                    if legacy:
                        self._note(rules_text.LEGACY_KEY_VALUE_FORMAT, span, keyword(instruction))
                    self._secret("ENV", name, span)
                self._env.update(values)
            case Label(pairs=pairs, legacy=legacy):
                self._expand_all((word for p in pairs for word in (p.key, p.value)), span)
                if legacy:
                    self._note(rules_text.LEGACY_KEY_VALUE_FORMAT, span, keyword(instruction))
            case Arg():
                self._arg(instruction, span)
            case Copy() | Add():
                self._transfer(instruction, span)
            case Run(mounts=mounts):
                self._expand_all((value or "" for mount in mounts for _, value in mount.fields), span)
            case Workdir(path=word):
                path = self._expand(word, span)
                if not self._workdir and not path.startswith("/"):
                    self._note(rules.WORKDIR_RELATIVE_PATH, span, go_quote(path))
                self._workdir = True
            case Cmd(command=form) | Entrypoint(command=form):
                self._once(instruction, span)
                if isinstance(form, ShellForm) and not self._shell:
                    self._note(rules.JSON_ARGS_RECOMMENDED, span, keyword(instruction))
            case Healthcheck():
                self._once(instruction, span)
            case Shell():
                self._shell = True
            case Expose(ports=words):
                self._expose(words, span)
            case User(user=word) | Stopsignal(signal=word):
                self._expand(word, span)
            case Volume(paths=paths):
                self._expand_all(paths, span)
            case _:
                pass

    def _arg(self, instruction: Arg, span: Span) -> None:
        for item in instruction.items:
            self._secret("ARG", item.name, span)
            value: str | None
            if item.name in self._facts.build_args:
                value = self._facts.build_args[item.name]
            elif item.default is not None:
                value = self._expand(item.default, span)
            else:
                value = self._facts.scope.get(item.name)
            if value is not None and item.name not in _NO_VARIABLES:
                self._env[item.name] = value
            self._declared.add(item.name)

    def _transfer(self, instruction: Copy | Add, span: Span) -> None:
        self._expand(instruction.chown or "", span)
        self._expand(instruction.chmod or "", span)
        if isinstance(instruction, Add):
            self._expand(instruction.checksum or "", span)
        sources = self._expand_all(instruction.sources, span)
        self._expand(instruction.destination, span)
        for doc in instruction.files:
            if doc.expand:
                self._processed(doc.text, span, document=True)
        if isinstance(instruction, Copy) and instruction.source is not None:
            return
        word = "Add" if isinstance(instruction, Add) else "Copy"
        for source in sources:
            path = posixpath.normpath(source)
            if not is_remote(source) and self._left_out(path):
                self._note(rules.COPY_IGNORED_FILE, span, word, go_quote(path))

    def _left_out(self, path: str) -> bool:
        if self._matcher is None:
            return False
        if path in _ROOTS:
            # the context itself is there; only patterns that leave out all of it are worth a word
            return not _EVERYTHING[path].isdisjoint(self._facts.ignore)
        return self._matcher.excludes(path)

    def _expose(self, words: Iterable[str], span: Span) -> None:
        for word in words:
            # BuildKit does not report variables here: without a port the build fails
            for port in self._processed(word, span, report=False).words:
                address, _, container = port.rpartition(":")
                _, _, protocol = container.partition("/")
                if protocol != protocol.lower():
                    self._note(rules.EXPOSE_PROTO_CASING, span, port)
                if address:
                    self._note(rules.EXPOSE_INVALID_FORMAT, span, port)
                try:
                    exposed_ports(port)  # the build ends at the first that is none
                except InvalidInput as problem:
                    raise self._broken(problem, span) from None

    def _secret(self, word: str, name: str, span: Span) -> None:
        if looks_secret(name):
            self._note(rules_text.SECRETS_USED_IN_ARG_OR_ENV, span, word, go_quote(name))

    def _once(self, instruction: Instruction, span: Span) -> None:
        """The one before is what has no effect."""
        kind = type(instruction)
        if kind in self._last:
            self._note(rules.MULTIPLE_INSTRUCTIONS_DISALLOWED, self._last[kind], keyword(instruction), local=span)
        self._last[kind] = span

    def _note(self, rule: Rule, span: Span, *values: str, hint: str = "", local: Span | None = None) -> None:
        if self._own:
            self._found.add_here(rule, span, *values, hint=hint, local=local)
        else:
            self._found.add(rule, span, *values, hint=hint)

    def _expand_all(self, words: Iterable[str], span: Span) -> list[str]:
        return [self._expand(word, span) for word in words]

    def _expand(self, word: str, span: Span) -> str:
        return self._processed(word, span).text if word else ""

    def _processed(self, word: str, span: Span, *, document: bool = False, report: bool = True) -> Expansion:
        """Expand, and report variables that are not there; ``document``: the text of a here-document."""
        escape = "\\" if document else self._facts.dockerfile.directives.escape
        try:
            expansion = process(word, self._env, escape=escape, literal_quotes=document)
        except InvalidInput as problem:
            if report:  # ${x:?message} fails because there is no x
                with suppress(InvalidInput):
                    lenient = process(word, self._env, escape=escape, literal_quotes=document, lenient=True)
                    self._report(lenient.unmatched, span)
            raise self._broken(problem, span) from None
        if report:
            self._report(expansion.unmatched, span)
        return expansion

    def _broken(self, problem: InvalidInput, span: Span) -> DockerfileError:
        source = self._facts.dockerfile.source
        return DockerfileError(problem.problem, hint=problem.hint, span=span, source=source)

    def _report(self, unmatched: Iterable[str], span: Span) -> None:
        for name in sorted(set(unmatched) - self._declared - _NO_VARIABLES):
            near = closest(name, self._env)
            self._note(rules.UNDEFINED_VAR, span, name, hint=f"${near}" if near else "")
