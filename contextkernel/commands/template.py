"""Go templates: applying them to rows and documents, with docker's functions. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from contextkernel.commands.template_syntax import (
    Action,
    Branch,
    Dot,
    Field,
    Jump,
    Literal,
    Node,
    Operand,
    Pipeline,
    TextNode,
    Variable,
    Word,
    fail,
    parse_template,
)
from contextkernel.commands.template_values import (
    NO_VALUE,
    FunctionProblem,
    GoMap,
    functions,
    header_functions,
    lookup,
    omitted,
    show,
)

__all__ = ["Template"]
#: exit code, docker's: a text that is no template is 64
_CANNOT_BE_APPLIED = 1


class Template:
    """A parsed template.

    Args:
        source: the text of ``--format``, without ``table``.

    Raises:
        TemplateProblem: not a template; with the column.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._nodes = parse_template(source)

    def render(self, data: object, *, header: bool = False, own: Mapping[str, Callable[..., Any]] | None = None) -> str:
        """Apply the template.

        Args:
            data: mapping of field names to values (text, numbers, booleans, ``None``, lists, mappings, functions).
            header: ``data`` are column headings: functions such as ``json`` leave them as they are.
            own: functions that are others in this place than docker's usual ones.

        Raises:
            TemplateProblem: a field that does not exist, a function that cannot take its arguments.
        """
        out: list[str] = []
        scope: dict[str, Any] = {"": data}
        known = {**(header_functions() if header else functions()), **(own or {})}
        try:
            _Run(self.source, known, out).walk(self._nodes, data, scope)
        except RecursionError:
            fail(self.source, 1, "nested too deeply", exit_code=_CANNOT_BE_APPLIED)
        return "".join(out)


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Run:
    def __init__(self, source: str, known: Mapping[str, Callable[..., Any]], out: list[str]) -> None:
        self._source = source
        self._functions = known
        self._out = out

    def _fail(self, column: int, problem: str, hint: str | None = None) -> NoReturn:
        fail(self._source, column, problem, hint, exit_code=_CANNOT_BE_APPLIED)

    def walk(self, nodes: tuple[Node, ...], dot: Any, scope: dict[str, Any]) -> None:
        for node in nodes:
            match node:
                case TextNode(text):
                    self._out.append(text)
                case Action(pipeline):
                    value = self._evaluate(pipeline, dot, scope)
                    if pipeline.declares:
                        scope[pipeline.declares[0]] = value
                    else:
                        self._out.append(show(value))
                case Branch():
                    self._branch(node, dot, scope)
                case Jump(kind):
                    raise _Break if kind == "break" else _Continue

    def _branch(self, node: Branch, dot: Any, scope: dict[str, Any]) -> None:
        value = self._evaluate(node.pipeline, dot, scope)
        inner = _Scope(scope)
        if node.kind == "range":
            self._range(node, value, dot, inner)
            return
        if node.pipeline.declares:
            inner.own[node.pipeline.declares[0]] = value
        if value is not NO_VALUE and value:
            self.walk(node.body, value if node.kind == "with" else dot, inner.fresh())
        else:
            self.walk(node.otherwise, dot, inner.fresh())

    def _range(self, node: Branch, value: Any, dot: Any, inner: _Scope) -> None:
        if isinstance(value, Mapping):
            pairs: list[tuple[Any, Any]] = sorted(value.items())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            pairs = list(enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            if value > 1_000_000:
                self._fail(node.pipeline.column, f"range over {value} is too many")
            pairs = [(number, number) for number in range(value)]
        elif value is None or value is NO_VALUE:
            pairs = []
        else:
            self._fail(node.pipeline.column, f"range can't iterate over {show(value)}")
        names = node.pipeline.declares
        for key, element in pairs:
            scope = inner.fresh()
            if len(names) == 1:
                scope[names[0]] = element
            elif names:
                scope[names[0]], scope[names[1]] = key, element
            try:
                self.walk(node.body, element, scope)
            except _Continue:
                continue
            except _Break:
                break
        if not pairs:
            self.walk(node.otherwise, dot, inner.fresh())

    # -- values ---------------------------------------------------------------------------------

    def _evaluate(self, pipeline: Pipeline, dot: Any, scope: dict[str, Any]) -> Any:
        value: Any = None
        for position, command in enumerate(pipeline.commands):
            piped = (value,) if position else ()
            value = self._command(command, dot, scope, piped)
        return value

    def _command(self, command: tuple[Operand, ...], dot: Any, scope: dict[str, Any], piped: tuple[Any, ...]) -> Any:
        first, *rest = command
        if isinstance(first, Word):
            function = self._functions.get(first.name)
            if function is None:
                from contextkernel.commands.grammar import nearest

                near = nearest(first.name, self._functions)
                field = f"a field has a dot: .{first.name}" if first.name[:1].isupper() else ""
                known = "functions: " + " ".join(sorted(self._functions))
                self._fail(
                    first.column,
                    f'function "{first.name}" not defined',
                    f"did you mean {near}?" if near else field or known,
                )
            arguments = [self._operand(operand, dot, scope) for operand in rest]
            return self._call(first.name, function, (*arguments, *piped), first.column)
        value = self._operand(first, dot, scope, called=True)
        if callable(value):
            arguments = [self._operand(operand, dot, scope) for operand in rest]
            column = first.column if isinstance(first, Field) else 1
            return self._call(first.name if isinstance(first, Field) else "", value, (*arguments, *piped), column)
        if rest or piped:
            column = first.column if isinstance(first, Field | Variable | Pipeline) else 1
            self._fail(column, f"can't give argument to non-function {show(value)}")
        return value

    def _call(self, name: str, function: Callable[..., Any], arguments: tuple[Any, ...], column: int) -> Any:
        try:
            return function(*arguments)
        except FunctionProblem as problem:
            self._fail(column, f"{name}: {problem}")
        except TypeError:
            self._fail(column, f"{name}: cannot be used with {len(arguments)} argument(s) like these")

    def _operand(self, operand: Operand, dot: Any, scope: dict[str, Any], *, called: bool = False) -> Any:
        match operand:
            case Literal(value):
                return value
            case Dot():
                return dot
            case Variable(name, column):
                if name not in scope:
                    self._fail(column, f'undefined variable "${name}"')
                return scope[name]
            case Field(inner, name, column):
                value = self._field(self._operand(inner, dot, scope), name, column)
                if callable(value) and not called:
                    return self._call(name, value, (), column)
                return value
            case Word():
                return self._command((operand,), dot, scope, ())
            case Pipeline():
                pass
        return self._evaluate(operand, dot, scope)

    def _field(self, value: Any, name: str, column: int) -> Any:
        if value is None or value is NO_VALUE:
            self._fail(column, f'nil data; no field "{name}"')
        if not isinstance(value, Mapping):
            self._fail(column, f'can\'t evaluate field "{name}" in {_kind(value)} {show(value)[:40]!r}')
        if name not in value and not isinstance(value, GoMap) and not omitted(value, name):
            from contextkernel.commands.grammar import nearest

            known = [key for key in value if not callable(value[key])]
            near = nearest(name, known)
            hint = f"did you mean .{near}?" if near else "there are: " + " ".join(f".{key}" for key in known[:40])
            self._fail(column, f'no field "{name}"', hint)
        return lookup(value, name) if name in value or omitted(value, name) else NO_VALUE


class _Scope:
    """Variables of an enclosing block; assignments inside reach the outer ones as far as they exist there."""

    def __init__(self, outer: dict[str, Any]) -> None:
        self._outer = outer
        self.own: dict[str, Any] = {}

    def fresh(self) -> dict[str, Any]:
        return _Layered(self._outer, self.own)


class _Layered(dict[str, Any]):
    """A scope that writes variables of the outer scope through to it."""

    def __init__(self, outer: dict[str, Any], own: dict[str, Any]) -> None:
        super().__init__({**outer, **own})
        self._outer = outer
        self._shadowed = set(own)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        if name in self._outer and name not in self._shadowed:
            self._outer[name] = value


def _kind(value: Any) -> str:
    return {bool: "bool", int: "int", float: "float", str: "string", list: "list", tuple: "list"}.get(
        type(value), "value"
    )
