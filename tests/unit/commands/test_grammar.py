import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.commands.declaration import GRAMMAR
from contextkernel.errors import UsageProblem

WORDS = sorted(
    {word for command in GRAMMAR.commands for words in (command.path, *command.aliases) for word in words}
    | {f"--{option.name}" for command in GRAMMAR.commands for option in command.options}
    | {
        "--help",
        "-h",
        "-it",
        "-f",
        "-",
        "--",
        "-n5",
        "-n=5",
        "--rm=false",
        "--rm=maybe",
        "greet",
        "",
        "-=",
        "--=",
        "---",
    }
)


def parse(line):
    return GRAMMAR.parse(line.split(), "docker")


def problem(line):
    with pytest.raises(UsageProblem) as caught:
        parse(line)
    return caught.value


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("images", ("image", "ls")),
        ("image ls", ("image", "ls")),
        ("image list", ("image", "ls")),
        ("image history greet", ("image", "history")),
        ("history greet", ("image", "history")),
        ("rmi a", ("image", "rm")),
        ("image rm a", ("image", "rm")),
        ("ps", ("container", "ls")),
        ("container ps", ("container", "ls")),
        ("container list", ("container", "ls")),
        ("builder build .", ("image", "build")),
        ("buildx build .", ("image", "build")),
        ("build .", ("image", "build")),
        ("image inspect a", ("image", "inspect")),
        ("inspect a", ("inspect",)),
        ("container run greet", ("container", "run")),
        ("info", ("system", "info")),
    ],
)
def test_aliases(line, path):
    assert parse(line).command.path == path


@pytest.mark.parametrize(
    ("line", "option", "values"),
    [
        ("build --tag a .", "tag", ("a",)),
        ("build --tag=a .", "tag", ("a",)),
        ("build -t a .", "tag", ("a",)),
        ("build -ta .", "tag", ("a",)),
        ("build -t=a .", "tag", ("a",)),
        ("build -qta .", "tag", ("a",)),
        ("build -t a --tag b -tc .", "tag", ("a", "b", "c")),
        ("build . -t a", "tag", ("a",)),
        ("build --tag -x .", "tag", ("-x",)),
        ("build --tag= .", "tag", ("",)),
        ("ps -aqn=3", "last", ("3",)),
        ("ps -n -1", "last", ("-1",)),
        ("run --rm=false greet", "rm", ("false",)),
        ("run -d=0 greet", "detach", ("0",)),
        ("run -h web greet", "hostname", ("web",)),
    ],
)
def test_flag_forms(line, option, values):
    assert parse(line).values[option] == values


def test_run_stops_at_the_image():
    parsed = parse("run --rm greet -d --name x -- y")
    assert parsed.arguments == ("greet", "-d", "--name", "x", "--", "y")
    assert not parsed.flag("detach")


def test_double_dash_ends_options():
    assert parse("rm -f -- -a --b").arguments == ("-a", "--b")
    assert parse("run -- greet -x").arguments == ("greet", "-x")


def test_a_single_dash_is_an_argument():
    parsed = parse("build -f - -")
    assert parsed.text("file") == "-"
    assert parsed.arguments == ("-",)


def test_typed_access():
    parsed = parse("ps -a --no-trunc=false -n 0x10 -f a=b --filter c=d")
    assert parsed.flag("all")
    assert not parsed.flag("no-trunc")
    assert parsed.number("last") == 16
    assert parsed.texts("filter") == ("a=b", "c=d")
    assert parsed.maybe("format") is None
    assert parse("run greet").flag("sig-proxy")
    assert not parse("run --sig-proxy=false greet").flag("sig-proxy")
    assert parse("build .").text("progress") == "auto"
    assert parse("build --progress plain --progress json .").text("progress") == "json"


@pytest.mark.parametrize("line", ["run --help", "run --rm --help x", "images -h", "image ls --help extra words"])
def test_help_wins(line):
    assert parse(line).help


@pytest.mark.parametrize(
    ("line", "text", "hint", "code"),
    [
        ("run --foo x", "unknown flag: --foo", "see docker run --help", 125),
        ("run --nmae x y", "unknown flag: --nmae", "did you mean --name? see docker run --help", 125),
        ("image ls --formt x", "unknown flag: --formt", "did you mean --format? see docker image ls --help", 125),
        ("images -x", "unknown shorthand flag: 'x' in -x", "see docker images --help", 125),
        ("images -ax", "unknown shorthand flag: 'x' in -ax", "see docker images --help", 125),
        ("run -name x", "unknown shorthand flag: 'n' in -name", "did you mean --name? see docker run --help", 125),
        ("build -t", "flag needs an argument: 't' in -t", "see docker build --help", 125),
        ("build . --target", "flag needs an argument: --target", "see docker build --help", 125),
        ("images --=a", "bad flag syntax: --=a", "see docker images --help", 125),
        ("images ---a", "bad flag syntax: ---a", "see docker images --help", 125),
        (
            "run --rm=maybe x",
            'invalid argument "maybe" for "--rm" flag: must be true or false',
            "see docker run --help",
            125,
        ),
        ("ps -n x", 'invalid argument "x" for "-n, --last" flag: must be a whole number', "see docker ps --help", 125),
        (
            "build --progress plan .",
            'invalid argument "plan" for "--progress" flag: must be one of auto, plain, tty, json, rawjson, quiet',
            "did you mean plain? see docker build --help",
            125,
        ),
        ("build", '"docker build" requires exactly 1 argument', "usage: docker build [OPTIONS] PATH | URL | -", 1),
        (
            "build a b",
            '"docker build" requires exactly 1 argument, got 2: a b',
            "usage: docker build [OPTIONS] PATH | URL | -",
            1,
        ),
        (
            "image tag a",
            '"docker image tag" requires exactly 2 arguments, got 1: a',
            "usage: docker image tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
            1,
        ),
        (
            "run",
            '"docker run" requires at least 1 argument',
            "usage: docker run [OPTIONS] IMAGE [COMMAND] [ARG...]",
            1,
        ),
        ("ps a", '"docker ps" accepts no arguments, got 1: a', "usage: docker ps [OPTIONS]", 1),
        (
            "images a b",
            '"docker images" requires at most 1 argument, got 2: a b',
            "usage: docker images [OPTIONS] [REPOSITORY[:TAG]]",
            1,
        ),
        ("bild .", "unknown command: docker bild", "did you mean build? docker --help lists the commands", 1),
        (
            "image lss",
            "unknown command: docker image lss",
            "did you mean ls? docker image --help lists the commands",
            1,
        ),
        ("image", "unknown command: docker image", "did you mean image? docker --help lists the commands", 1),
    ],
)
def test_problems(line, text, hint, code):
    error = problem(line)
    assert (error.problem, error.hint, error.exit_code) == (text, hint, code)


def test_globals_come_before_the_command():
    values, rest = GRAMMAR.split_globals(["--root", "/x", "-D", "run", "-D", "a"], "docker")
    assert values == {"root": ("/x",), "debug": ("true",)}
    assert rest == ("run", "-D", "a")
    with pytest.raises(UsageProblem, match="unknown flag: --rot"):
        GRAMMAR.split_globals(["--rot", "/x", "run"], "docker")


def parsed_or_problem(words):
    try:
        return GRAMMAR.parse(words, "%container"), None
    except UsageProblem as error:
        return None, error


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=8)), min_size=1, max_size=7))
def test_parse_raises_nothing_but_usage_problems(words):
    parsed, error = parsed_or_problem(words)
    if parsed is None:
        assert error.problem
        assert error.exit_code in (1, 125)
        return
    for name in parsed.values:
        option = parsed.command.option(name)
        assert option is not None
        if option.kind == "int":
            assert isinstance(parsed.number(name), int)
        assert isinstance(parsed.flag(name), bool)


@given(
    st.sampled_from(GRAMMAR.commands).flatmap(
        lambda command: st.tuples(
            st.just(command),
            st.lists(
                st.sampled_from(
                    [o for o in command.options if o.kind in ("string", "list") and not o.choices] or [None]
                ),
                max_size=4,
            ),
            st.text(min_size=1, max_size=6),
        )
    )
)
def test_rendered_options_parse_to_the_same_values(case):
    command, options, value = case
    words = list(command.path)
    for option in options:
        if option is not None:
            words += [f"--{option.name}={value}"]
    words += ["--", *["x"] * command.minimum]
    parsed = GRAMMAR.parse(words, "docker")
    assert parsed.arguments == ("x",) * command.minimum
    for option in options:
        if option is not None:
            assert set(parsed.texts(option.name)) == {value}


def test_the_declaration_is_consistent():
    seen = {}
    for command in GRAMMAR.commands:
        names = [option.name for option in command.options]
        letters = [option.short for option in command.options if option.short]
        assert len(names) == len(set(names)), command.path
        assert len(letters) == len(set(letters)), command.path
        assert not command.summary.endswith(".")
        assert command.summary[0].isupper()
        for option in command.options:
            assert option.hidden or option.help, (command.path, option.name)
            assert option.kind == "bool" or option.metavar
            assert not option.help.endswith(".")
        for words in (command.path, *command.aliases):
            assert words not in seen, words
            seen[words] = command
            assert len(words) == 1 or GRAMMAR.group(words[0]), words


def test_every_verb_exists():
    from importlib import import_module

    for command in GRAMMAR.commands:
        module, _, function = command.verb.partition(":")
        assert callable(getattr(import_module(f"contextkernel.commands.{module}"), function)), command.verb
