"""Each build check: when it is found, and when it is not. The tricky cases are those of BuildKit's own suite."""

from __future__ import annotations

import msgspec
import pytest

from contextkernel.dockerfile.parse import read_instructions
from contextkernel.errors import InvalidInput
from contextkernel.model.oci import RunConfig
from contextkernel.plan.checks import RULES
from tests.unit.checks.looking import AMD64, image, look, rules, told

NAMES = [
    "StageNameCasing",
    "FromAsCasing",
    "NoEmptyContinuation",
    "ConsistentInstructionCasing",
    "DuplicateStageName",
    "ReservedStageName",
    "JSONArgsRecommended",
    "MaintainerDeprecated",
    "UndefinedArgInFrom",
    "WorkdirRelativePath",
    "UndefinedVar",
    "MultipleInstructionsDisallowed",
    "LegacyKeyValueFormat",
    "InvalidBaseImagePlatform",
    "RedundantTargetPlatform",
    "SecretsUsedInArgOrEnv",
    "InvalidDefaultArgInFrom",
    "FromPlatformFlagConstDisallowed",
    "CopyIgnoredFile",
    "InvalidDefinitionDescription",
    "ExposeProtoCasing",
    "ExposeInvalidFormat",
]

WITH_SHELL = msgspec.structs.replace(image(), config=RunConfig(shell=("/sh", "-c")))  # noqa: S604 - no call


def test_all_of_buildkits_rules_are_there() -> None:
    assert [rule.name for rule in RULES] == NAMES
    assert [rule.name for rule in RULES if rule.experimental] == ["InvalidDefinitionDescription"]
    assert [rule.name for rule in RULES if not rule.url] == ["InvalidBaseImagePlatform"]


def test_stage_names_and_as() -> None:
    text = "FROM scratch AS BadStageName\n\nFROM scratch as base2\nFROM scratch AS base3\n"
    assert told(text) == [
        (1, "StageNameCasing", "Stage name 'BadStageName' should be lowercase"),
        (3, "FromAsCasing", "'as' and 'FROM' keywords' casing do not match"),
    ]
    assert told("from scratch AS base\nfrom scratch as base2\n") == [
        (1, "FromAsCasing", "'AS' and 'from' keywords' casing do not match")
    ]
    # a FROM in mixed case is one finding, not two
    assert rules("From scratch as base\nFROM scratch AS base2\n") == ["ConsistentInstructionCasing"]


def test_an_empty_continuation_is_told_at_the_instructions_last_line() -> None:
    text = "FROM scratch\nCOPY Dockerfile \\\n\n.\nCOPY Dockerfile \\\n.\n"
    assert told(text) == [(4, "NoEmptyContinuation", "Empty continuation line")]
    assert told("FROM scratch\nCOPY <<EOF \\\n\n/x\n\nEOF\n") == [(4, "NoEmptyContinuation", "Empty continuation line")]
    assert rules("FROM scratch\nCOPY <<EOF /x\n\nEOF\n") == []


@pytest.mark.parametrize(
    ("text", "line", "word", "case"),
    [
        ("FROM scratch\ncopy a /foo\nCOPY a /bar\n", 2, "copy", "uppercase"),
        ("frOM scratch as base\nfrom scratch as base2\n", 1, "frOM", "lowercase"),
        ("from scratch\nCOPY a /foo\ncopy a /bar\n", 2, "COPY", "lowercase"),
        ("from scratch\nCOPY a /foo\nCOPY a /bar\n", 1, "from", "uppercase"),
        ("FROM scratch\ncopy a /foo\ncopy a /bar\n", 1, "FROM", "lowercase"),
        # as many of one as of the other: upper case it is
        ("FROM scratch\ncopy a /foo\n", 2, "copy", "uppercase"),
    ],
)
def test_casing_follows_the_majority(text: str, line: int, word: str, case: str) -> None:
    message = f"Command '{word}' should match the case of the command majority ({case})"
    assert told(text) == [(line, "ConsistentInstructionCasing", message)]


def test_global_arguments_have_no_casing() -> None:
    assert rules("arg A=1\nFROM scratch\n") == []


def test_stage_names_repeated_and_reserved() -> None:
    assert told("FROM scratch AS b\nFROM scratch AS b\n") == [
        (2, "DuplicateStageName", 'Duplicate stage name "b", stage names should be unique')
    ]
    assert told("FROM scratch AS scratch\nFROM scratch AS context\n") == [
        (1, "ReservedStageName", 'Stage name should not use the same name as reserved stage "scratch"'),
        (2, "ReservedStageName", 'Stage name should not use the same name as reserved stage "context"'),
    ]


def test_command_lines_without_a_shell_of_ones_own() -> None:
    message = "JSON arguments recommended for {} to prevent unintended behavior related to OS signals"
    assert told("FROM scratch\nCMD run it\n") == [(2, "JSONArgsRecommended", message.format("CMD"))]
    assert told("FROM scratch\nENTRYPOINT run it\n") == [(2, "JSONArgsRecommended", message.format("ENTRYPOINT"))]
    # a SHELL counts wherever it comes from
    assert rules('FROM scratch AS base\nSHELL ["/sh"]\n\nFROM base\nCMD run it\n') == []
    assert rules("FROM a\nCMD run it\n", bases={0: WITH_SHELL}) == []
    assert rules("FROM a\nCMD run it\n", bases={0: image()}) == ["JSONArgsRecommended"]
    # HEALTHCHECK and RUN are meant for a shell
    assert rules("FROM scratch\nHEALTHCHECK CMD test -f /x\nRUN true\n") == []


def test_arguments_of_from() -> None:
    for text in (
        "ARG base=scratch\nFROM $base\n",
        "ARG BUILDPLATFORM=linux/amd64\nFROM --platform=$BUILDPLATFORM scratch\n",
        "FROM --platform=$BUILDPLATFORM scratch\n",
        "ARG DEBUG\nFROM scratch${DEBUG}\n",
        "ARG DEBUG\nFROM scra${DEBUG:-tch}\n",
        'ARG DEBUG=""\nFROM scratch${DEBUG-@bogus}\n',
    ):
        assert rules(text) == [], text
    assert told("ARG tag=latest\nFROM busybox:${tag}${version} AS b\n") == [
        (2, "UndefinedArgInFrom", "FROM argument 'version' is not declared")
    ]
    assert told("ARG MY_ARCH=amd64\nFROM --platform=linux/${MYARCH:-arm64} busybox\n") == [
        (2, "UndefinedArgInFrom", "FROM argument 'MYARCH' is not declared (did you mean MY_ARCH?)")
    ]


def test_working_directories() -> None:
    assert told("FROM scratch\nWORKDIR app/\nWORKDIR more\n") == [
        (2, "WorkdirRelativePath", 'Relative workdir "app/" can have unexpected results if the base image changes')
    ]
    assert rules("FROM scratch AS a\nWORKDIR /app\nFROM a AS b\nWORKDIR subdir/\n") == []
    assert rules("FROM scratch\nENV ROOT=/srv\nWORKDIR $ROOT/x\n") == []
    # what the base image says is not to be relied on
    assert rules("FROM a\nWORKDIR b\n", bases={0: image(working_dir="/x")}) == ["WorkdirRelativePath"]


def test_variables() -> None:
    for text in (
        "FROM scratch\nARG foo\nCOPY Dockerfile${foo} .\n",
        "FROM alpine AS base\nARG foo=Dockerfile\n\nFROM base\nCOPY $foo .\n",
        "FROM alpine\nRUN echo $UNKNOWN\n",
        "FROM alpine\nCMD echo $UNKNOWN\n# check=skip=all\nENTRYPOINT echo $UNKNOWN\n",
    ):
        assert [rule for rule in rules(text) if rule == "UndefinedVar"] == [], text
    assert told("FROM alpine\nCOPY $foo .\nARG foo=bar\nRUN echo $foo\n") == [
        (2, "UndefinedVar", "Usage of undefined variable '$foo'")
    ]
    assert told("FROM alpine\nARG DIR_BINARIES=binaries/\nARG DIR_ASSETS=assets/\nCOPY $DIR_ASSET .\n") == [
        (4, "UndefinedVar", "Usage of undefined variable '$DIR_ASSET' (did you mean $DIR_ASSETS?)")
    ]
    assert told("FROM alpine\nENV PATH=$PAHT:/tmp/bin\n") == [
        (2, "UndefinedVar", "Usage of undefined variable '$PAHT' (did you mean $PATH?)")
    ]


@pytest.mark.parametrize(
    "instruction",
    [
        "ENV A=$x",
        "ENV $x=a",
        "LABEL a=$x",
        "LABEL $x=a",
        "COPY --chown=$x a /b",
        "COPY --chmod=$x a /b",
        "ADD $x /b",
        "ADD a /b$x",
        "ADD --checksum=sha256:$x https://example.com/a /b",
        "RUN --mount=type=cache,target=/c/$x true",
        "USER $x",
        "VOLUME $x/a",
        "STOPSIGNAL ${x:-TERM}",
        "WORKDIR /a/$x",
        "ARG a=$x",
        "COPY <<EOF /b\n$x\nEOF",
    ],
)
def test_every_instruction_that_expands_is_looked_into(instruction: str) -> None:
    assert told(f"FROM scratch\n{instruction}\n") == [(2, "UndefinedVar", "Usage of undefined variable '$x'")]


@pytest.mark.parametrize("instruction", ["EXPOSE 80$x", "COPY <<'EOF' /b\n$x\nEOF", "ONBUILD ENV A=$x"])
def test_what_is_not_looked_into(instruction: str) -> None:
    assert rules(f"FROM scratch\n{instruction}\n") == []


def test_variables_of_the_base_are_known_if_the_base_is() -> None:
    text = "FROM golang\nWORKDIR $GOPATH/src\n"
    assert rules(text, bases={0: image(env=("GOPATH=/go",))}) == []
    assert rules(text, bases={0: image()}) == ["UndefinedVar"]


def test_triggers_are_checked_where_they_fire() -> None:
    text = "FROM scratch AS base\nONBUILD ENV A=$nothing\n\nFROM base\n"
    assert told(text) == [(4, "UndefinedVar", "Usage of undefined variable '$nothing'")]
    assert told("FROM a\n", bases={0: image(on_build=("ENV A=$nothing",))}) == [
        (1, "UndefinedVar", "Usage of undefined variable '$nothing'")
    ]


def test_of_several_the_ones_without_effect_are_told() -> None:
    text = (
        'FROM scratch\nENTRYPOINT ["/a"]\nCMD ["/a"]\nHEALTHCHECK CMD ["/a"]\nCOPY <<EOF /a.txt\nHello\nEOF\n'
        'ENTRYPOINT ["/b"]\nCMD ["/b"]\nHEALTHCHECK NONE\n'
    )
    message = "Multiple {} instructions should not be used in the same stage because only the last one will be used"
    assert told(text) == [
        (2, "MultipleInstructionsDisallowed", message.format("ENTRYPOINT")),
        (3, "MultipleInstructionsDisallowed", message.format("CMD")),
        (4, "MultipleInstructionsDisallowed", message.format("HEALTHCHECK")),
    ]


def test_legacy_pairs() -> None:
    assert told("FROM scratch\nENV testkey value\nLABEL key value\n") == [
        (2, "LegacyKeyValueFormat", '"ENV key=value" should be used instead of legacy "ENV key value" format'),
        (3, "LegacyKeyValueFormat", '"LABEL key=value" should be used instead of legacy "LABEL key value" format'),
    ]


def test_platforms() -> None:
    assert told("FROM --platform=${TARGETPLATFORM} scratch\n") == [
        (
            1,
            "RedundantTargetPlatform",
            "Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior",
        )
    ]
    assert told("FROM --platform=linux/amd64 scratch\n") == [
        (1, "FromPlatformFlagConstDisallowed", 'FROM --platform flag should not use constant value "linux/amd64"')
    ]
    assert rules("FROM --platform=linux/amd64 scratch AS my_amd64_stage\n") == []
    assert rules("FROM --platform=linux/amd64 scratch AS linux\n") == []
    assert told("FROM app\n", bases={0: image("linux/arm64")}) == [
        (
            1,
            "InvalidBaseImagePlatform",
            'Base image app was pulled with platform "linux/arm64", expected "linux/amd64" for current build',
        )
    ]
    # what the FROM asks for is what is expected
    text = "FROM --platform=linux/arm64 app AS arm64\n"
    assert rules(text, bases={0: image("linux/arm64")}) == []
    assert rules(text, bases={0: image()}) == ["InvalidBaseImagePlatform"]
    # the variant does not matter
    assert rules("FROM app\n", bases={0: image("linux/amd64/v3")}) == []


def test_secrets() -> None:
    text = (
        "FROM scratch\nARG SECRET_PASSPHRASE\nENV SUPER_Secret=foo\nENV password=bar secret=baz\n"
        "ARG super_duper_secret_token=foo auth=bar\nENV apikey=bar sunflower=foo\nENV git_key=\nENV PUBLIC_KEY=\n"
        "ARG public_token\nARG SECRET_PASSPHRASE_FILE\nENV password_file=bar secret_File=baz\nARG AUTH_MODULE_VERSION\n"
        "ARG monkey\nENV secretary=1\n"
    )
    message = 'Do not use ARG or ENV instructions for sensitive data ({} "{}")'
    assert told(text) == [
        (2, "SecretsUsedInArgOrEnv", message.format("ARG", "SECRET_PASSPHRASE")),
        (3, "SecretsUsedInArgOrEnv", message.format("ENV", "SUPER_Secret")),
        (4, "SecretsUsedInArgOrEnv", message.format("ENV", "password")),
        (4, "SecretsUsedInArgOrEnv", message.format("ENV", "secret")),
        (5, "SecretsUsedInArgOrEnv", message.format("ARG", "super_duper_secret_token")),
        (5, "SecretsUsedInArgOrEnv", message.format("ARG", "auth")),
        (6, "SecretsUsedInArgOrEnv", message.format("ENV", "apikey")),
        (7, "SecretsUsedInArgOrEnv", message.format("ENV", "git_key")),
    ]
    assert rules("ARG password\nFROM scratch\n") == []


def test_defaults_that_make_no_name() -> None:
    message = "Default value for ARG {} results in empty or invalid base image name"
    for text, name, arguments in (
        ("ARG VERSION\nFROM busybox:$VERSION\n", "busybox:$VERSION", {"VERSION": "latest"}),
        ("ARG IMAGE\nFROM $IMAGE\n", "$IMAGE", {"IMAGE": "busybox:latest"}),
        ('ARG SFX="box:"\nFROM busy${SFX}\n', "busy${SFX}", {"SFX": "box:latest"}),
    ):
        assert told(text, build_args=arguments) == [(2, "InvalidDefaultArgInFrom", message.format(name))]
    for text in (
        'ARG VERSION="latest"\nFROM busybox:${VERSION}\n',
        'ARG BUSYBOX_VARIANT=""\nFROM busybox:stable${BUSYBOX_VARIANT}\n',
        "ARG BUSYBOX_VARIANT\nFROM busybox:stable${BUSYBOX_VARIANT}\n",
    ):
        assert rules(text) == [], text


@pytest.mark.parametrize(
    ("ignore", "line", "expected"),
    [
        ("Dockerfile\n", "COPY Dockerfile .", 'Attempting to Copy file "Dockerfile" that is excluded by .dockerignore'),
        (
            "Dockerfile\n",
            "ADD ./Dockerfile /w",
            'Attempting to Add file "Dockerfile" that is excluded by .dockerignore',
        ),
        ("tmp\n", "COPY tmp/a/b /w", 'Attempting to Copy file "tmp/a/b" that is excluded by .dockerignore'),
        ("*.md\n", "COPY $NAME /w", 'Attempting to Copy file "README.md" that is excluded by .dockerignore'),
        ("*\n", "COPY . .", 'Attempting to Copy file "." that is excluded by .dockerignore'),
        ("**\n", "COPY / /w", 'Attempting to Copy file "/" that is excluded by .dockerignore'),
    ],
)
def test_ignored_files(ignore: str, line: str, expected: str) -> None:
    text = f"FROM scratch\nENV NAME=README.md\n{line}\n"
    assert told(text, ignore=ignore) == [(3, "CopyIgnoredFile", expected)]


@pytest.mark.parametrize(
    ("ignore", "line"),
    [
        (".*\n", "COPY . ."),
        ("**\n!Dockerfile\n", "COPY ./Dockerfile ."),
        ("**\n!Dockerfile\n", "COPY . ."),
        ("foobar\n", "COPY --from=0 /foobar /x"),
        ("foobar\n", "COPY <<foobar /x\nfoobar"),
        ("https:\n", "ADD https://example.com/a /x"),
        ("", "COPY a /x"),
    ],
)
def test_files_that_are_there(ignore: str, line: str) -> None:
    assert rules(f"FROM scratch\n\nFROM scratch\n{line}\n", ignore=ignore) == []


def test_ports() -> None:
    assert told("FROM scratch\nEXPOSE 80/TcP 8080/TCP 8080/udp\n") == [
        (2, "ExposeProtoCasing", "Defined protocol '80/TcP' in EXPOSE instruction should be lowercase"),
        (2, "ExposeProtoCasing", "Defined protocol '8080/TCP' in EXPOSE instruction should be lowercase"),
    ]
    message = "EXPOSE instruction should not define an IP address or host-port mapping, found '{}'"
    found = told("FROM scratch\nEXPOSE 127.0.0.1:80:80 [::1]:8080:8080 5000:5000 8000\n")
    assert sorted(found) == [
        (2, "ExposeInvalidFormat", message.format("127.0.0.1:80:80")),
        (2, "ExposeInvalidFormat", message.format("5000:5000")),
        (2, "ExposeInvalidFormat", message.format("[::1]:8080:8080")),
    ]


def test_descriptions() -> None:
    good = (
        "# check=skip=all;experimental=InvalidDefinitionDescription\n# foo this is the foo\nARG foo=bar\n\n"
        "# base this is the base image\nFROM scratch AS base\n\n# version this is the version number\n"
        "ARG version=latest\n\n# baz this is the baz\nARG foo=baz bar=qux baz=quux\n#\nARG bit=bat\n\n"
        "# comment for something other than ARG or FROM\nCOPY Dockerfile .\n"
    )
    assert rules(good) == []
    bad = (
        "# check=experimental=InvalidDefinitionDescription\n# bar this is the bar\nARG foo=bar\n"
        "# BasE this is the BasE image\nFROM scratch AS base\n# definitely a bad comment\nARG version=latest\n"
        "# definitely a bad comment\nARG foo=baz bar=qux baz=quux\n"
    )
    message = "Comment for {} should follow the format: `# {} <description>`"
    assert told(bad) == [
        (3, "InvalidDefinitionDescription", message.format("ARG", "foo")),
        (5, "InvalidDefinitionDescription", message.format("FROM", "base")),
        (7, "InvalidDefinitionDescription", message.format("ARG", "version")),
        (9, "InvalidDefinitionDescription", message.format("ARG", "<arg_key>")),
    ]
    assert (
        rules(bad.replace("experimental=InvalidDefinitionDescription", "experimental=all"))
        == ["InvalidDefinitionDescription"] * 4
    )
    assert rules(bad.partition("\n")[2]) == []


def test_only_the_stages_that_are_built_are_looked_into() -> None:
    text = "FROM scratch AS first\nCOPY $foo .\n\nFROM scratch AS second\nCOPY $bar .\n"
    assert [line for line, _, _ in told(text)] == [2, 5]
    assert [line for line, _, _ in told(text, stages=(1,))] == [5]


def test_options_of_the_file() -> None:
    text = "FROM scratch as base\ncopy Dockerfile .\n"
    both = ["FromAsCasing", "ConsistentInstructionCasing"]
    assert rules(text) == both
    assert rules(f"#check=skip=all\n{text}") == []
    assert rules(f"#check=skip=ConsistentInstructionCasing,FromAsCasing\n{text}") == []
    assert rules(f"# check = skip=ConsistentInstructionCasing;error=true\n{text}") == ["FromAsCasing"]


def test_findings_are_fatal_when_asked() -> None:
    text = "#check=skip=ConsistentInstructionCasing;error=true\nFROM scratch as base\ncopy Dockerfile .\n"
    found = look(text)
    assert found.fatal
    refusal = found.refusal(read_instructions(text))
    assert refusal is not None
    assert refusal.problem == "lint violation found for rules: FromAsCasing"
    assert refusal.span is not None
    assert refusal.span.line == 2
    assert look("#check=error=true\nFROM scratch\n").refusal(read_instructions("")) is None
    assert look("FROM scratch as base\n").refusal(read_instructions("")) is None


def test_the_build_argument_takes_the_directives_place() -> None:
    text = "#check=skip=all\nFROM scratch as base\ncopy Dockerfile .\n"
    found = look(text, build_args={"BUILDKIT_DOCKERFILE_CHECK": "skip=ConsistentInstructionCasing;error=true"})
    assert found.fatal
    assert [finding.rule for finding in found.findings] == ["FromAsCasing"]
    assert rules("#check=error=true\nFROM scratch as x\n", build_args={"BUILDKIT_DOCKERFILE_CHECK": "skip=all"}) == []
    assert rules(text, build_args={"BUILDKIT_DOCKERFILE_CHECK": ""}) == ["FromAsCasing", "ConsistentInstructionCasing"]
    with pytest.raises(InvalidInput) as caught:
        look(text, build_args={"BUILDKIT_DOCKERFILE_CHECK": "skp=all"})
    assert caught.value.problem == "build argument BUILDKIT_DOCKERFILE_CHECK: invalid check option 'skp=all'"
    assert caught.value.hint == "did you mean skip?"


@pytest.mark.parametrize(
    "text",
    [
        "\nFROM scratch\n# check=skip=JSONArgsRecommended\nCMD mycommand\n",
        "\nFROM scratch\n# check=skip=MaintainerDeprecated\nMAINTAINER me@example.com\n",
        "\nFROM scratch\n# check=skip=WorkdirRelativePath\nWORKDIR app/\n",
        "\nFROM scratch\n# check=skip=LegacyKeyValueFormat\nENV testkey value\n# check=skip=all // both\nLABEL a b\n",
        "\n# check=skip=RedundantTargetPlatform\nFROM --platform=$TARGETPLATFORM scratch\n",
        "\n# check=skip=FromAsCasing,StageNameCasing\nFROM scratch as Base\n",
        "\nFROM scratch\n# check=skip=SecretsUsedInArgOrEnv // ok\nENV password=bar\n# check=skip=all\nARG password\n",
        "\nFROM scratch\n# check=skip=UndefinedVar\n# one more\nCOPY $foo .\n",
    ],
)
def test_a_comment_leaves_rules_out_for_one_instruction(text: str) -> None:
    assert rules(text) == []


def test_a_comment_counts_for_its_instruction_alone() -> None:
    text = "FROM scratch\n# check=skip=all\nCOPY $a .\nCOPY $a .\n# check=skip=UndefinedVar\n#\nCOPY $a .\n"
    assert [line for line, _, _ in told(text)] == [4, 7]
    # a malformed one does nothing, and neither leaves out what belongs to the whole file
    assert rules("FROM scratch\n# check=skp=all\nCOPY $a .\n") == ["UndefinedVar"]
    assert rules("\n# check=skip=DuplicateStageName\nFROM scratch AS a\n# check=skip=all\nFROM scratch AS a\n") == [
        "DuplicateStageName"
    ]


def test_a_broken_file_is_checked_up_to_its_problem() -> None:
    found = look("FROM scratch AS BadStageName\nMAINTAINER me@example.com\nBADCMD\nMAINTAINER x\n")
    assert [(finding.rule, finding.span.line) for finding in found.findings] == [
        ("StageNameCasing", 1),
        ("MaintainerDeprecated", 2),
    ]
    assert found.problem is not None
    assert found.problem.problem == "unknown instruction 'BADCMD'"
    found = look("FROM scratch\nENV A=$x\nENV B=${y\nENV C=$z\n")
    assert [finding.span.line for finding in found.findings] == [2]
    assert found.problem is not None
    assert found.problem.span is not None
    assert found.problem.span.line == 3


def test_a_variable_that_must_be_there_is_told_before_the_problem() -> None:
    found = look("FROM scratch\nENV A=${B:?missing}\n")
    assert [finding.message for finding in found.findings] == ["Usage of undefined variable '$B'"]
    assert found.problem is not None


def test_ports_are_told_up_to_the_first_that_is_none() -> None:
    found = look("FROM scratch\nEXPOSE 1/TCP nine 9/TCP\n")
    assert [finding.message.split("'")[1] for finding in found.findings] == ["1/TCP", "9/TCP"]
    assert found.problem is not None


def test_a_word_used_twice_is_told_twice_as_docker_does() -> None:
    assert rules("FROM scratch\nCOPY $foo $foo\n") == ["UndefinedVar", "UndefinedVar"]


def test_findings_know_their_page() -> None:
    (finding,) = look("FROM scratch as a\n", platform=AMD64).findings
    assert finding.url == "https://docs.docker.com/go/dockerfile/rule/from-as-casing/"
    assert finding.page == "docs/rules/FromAsCasing.md"
    assert finding.short == "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)"
