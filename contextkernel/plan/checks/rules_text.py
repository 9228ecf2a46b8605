"""The rules that the text alone decides. Names, descriptions and messages are BuildKit's (``linter/ruleset.go``)."""

from __future__ import annotations

from contextkernel.plan.checks.rule import Example, Rule

STAGE_NAME_CASING = Rule(
    name="StageNameCasing",
    description="Stage names should be lowercase",
    message="Stage name '{}' should be lowercase",
    slug="stage-name-casing",
    why="Stage names are compared without regard to case, and shown in lower case. One spelling is easier to follow, "
    "and keeps them apart from variables.",
    bad=(Example(dockerfile="FROM alpine AS BuildBase\n"),),
    good=(Example(dockerfile="FROM alpine AS build-base\n"),),
)

FROM_AS_CASING = Rule(
    name="FromAsCasing",
    description="The 'as' keyword should match the case of the 'from' keyword",
    message="'{}' and '{}' keywords' casing do not match",
    slug="from-as-casing",
    why="Both spellings work. Mixed on one line, they hide which words are keywords.",
    bad=(Example(dockerfile="FROM alpine as builder\n"), Example(dockerfile="from alpine AS builder\n")),
    good=(Example(dockerfile="FROM alpine AS builder\n"), Example(dockerfile="from alpine as builder\n")),
)

NO_EMPTY_CONTINUATION = Rule(
    name="NoEmptyContinuation",
    description="Empty continuation lines will become errors in a future release",
    message="Empty continuation line",
    slug="no-empty-continuation",
    why="An empty line within a continued instruction is skipped today. A reader takes it for the instruction's end, "
    "and later versions will, too. Put a comment there, or nothing.",
    bad=(Example(dockerfile="FROM alpine\nRUN apk add \\\n\n    gnupg \\\n    curl\n"),),
    good=(
        Example(dockerfile="FROM alpine\nRUN apk add \\\n    gnupg \\\n    curl\n"),
        Example(dockerfile="FROM alpine\nRUN apk add \\\n    # for signatures\n    gnupg \\\n    curl\n"),
    ),
)

CONSISTENT_INSTRUCTION_CASING = Rule(
    name="ConsistentInstructionCasing",
    description="All commands within the Dockerfile should use the same casing (either upper or lower)",
    message="Command '{}' should match the case of the command majority ({})",
    slug="consistent-instruction-casing",
    why="The case of an instruction's name has no meaning. Files are easiest to read when all names are upper case, "
    "or all are lower case; what most instructions of the file do is taken as the wish.",
    bad=(
        Example(dockerfile="FROM alpine\nRun echo hello\n"),
        Example(dockerfile="from alpine\nrun echo hello\nRUN echo again\n"),
    ),
    good=(
        Example(dockerfile="FROM alpine\nRUN echo hello\n"),
        Example(dockerfile="from alpine\nrun echo hello\n"),
    ),
)

DUPLICATE_STAGE_NAME = Rule(
    name="DuplicateStageName",
    description="Stage names should be unique",
    message="Duplicate stage name {}, stage names should be unique",
    slug="duplicate-stage-name",
    why="The later stage hides the earlier one: `COPY --from` and `--target` reach only one of them by this name.",
    bad=(Example(dockerfile="FROM alpine AS builder\n\nFROM debian AS builder\n"),),
    good=(Example(dockerfile="FROM alpine AS build\n\nFROM debian AS test\n"),),
)

RESERVED_STAGE_NAME = Rule(
    name="ReservedStageName",
    description="Reserved words should not be used as stage names",
    message="Stage name should not use the same name as reserved stage {}",
    slug="reserved-stage-name",
    why="`scratch` is the empty image and `context` the build context. A stage of that name cannot be reached "
    "everywhere a stage can be named.",
    bad=(Example(dockerfile="FROM alpine AS scratch\n"), Example(dockerfile="FROM alpine AS context\n")),
    good=(Example(dockerfile="FROM alpine AS empty\n"),),
)

MAINTAINER_DEPRECATED = Rule(
    name="MaintainerDeprecated",
    description="The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    message="Maintainer instruction is deprecated in favor of using label",
    slug="maintainer-deprecated",
    why="A label can be read by every tool, and there can be several. `org.opencontainers.image.authors` is the "
    "agreed one.",
    bad=(Example(dockerfile="FROM alpine\nMAINTAINER ada@example.com\n"),),
    good=(Example(dockerfile='FROM alpine\nLABEL org.opencontainers.image.authors="ada@example.com"\n'),),
)

LEGACY_KEY_VALUE_FORMAT = Rule(
    name="LegacyKeyValueFormat",
    description="Legacy key/value format with whitespace separator should not be used",
    message='"{0} key=value" should be used instead of legacy "{0} key value" format',
    slug="legacy-key-value-format",
    why="Without `=` the whole rest of the line is the value: `ENV A=1 B 2` and `ENV A 1 B=2` surprise their "
    "readers. With `=` one line can set several variables.",
    bad=(Example(dockerfile="FROM alpine\nENV DIR /my-directory\n"), Example(dockerfile="FROM alpine\nLABEL a b\n")),
    good=(
        Example(dockerfile="FROM alpine\nENV DIR=/my-directory\n"),
        Example(dockerfile='FROM alpine\nENV GREETING="hello world"\n'),
    ),
)

SECRETS_USED_IN_ARG_OR_ENV = Rule(
    name="SecretsUsedInArgOrEnv",
    description="Sensitive data should not be used in the ARG or ENV commands",
    message="Do not use ARG or ENV instructions for sensitive data ({} {})",
    slug="secrets-used-in-arg-or-env",
    why="Values of ARG and ENV stay in the image's history and configuration, where everybody who has the image can "
    "read them. A secret mount is there for one RUN and leaves no trace. Names with one of the words apikey, auth, "
    "credential, credentials, key, password, pword, passwd, secret, token are looked at; those that also have the word "
    "public, file or version are let pass.",
    bad=(
        Example(dockerfile="FROM scratch\nARG AWS_SECRET_ACCESS_KEY\n"),
        Example(dockerfile="FROM scratch\nENV DATABASE_PASSWORD=changeme\n"),
    ),
    good=(
        Example(
            dockerfile="FROM alpine\nRUN --mount=type=secret,id=aws,env=AWS_SECRET_ACCESS_KEY \\\n    ./upload.sh\n"
        ),
        Example(dockerfile="FROM scratch\nENV PUBLIC_KEY_FILE=/etc/key.pub\n"),
    ),
)

INVALID_DEFINITION_DESCRIPTION = Rule(
    name="InvalidDefinitionDescription",
    description="Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. "
    "If this is not intended to be a description comment, add an empty line or comment between the instruction and "
    "the comment.",
    message="Comment for {} should follow the format: `# {} <description>`",
    slug="invalid-definition-description",
    why="A comment right before an ARG or a named FROM is shown by `build --call=outline` and `build --call=targets` "
    "when it begins with the name it describes. A line `#` without text ends a comment that is not meant so.",
    bad=(
        Example(
            dockerfile="# check=experimental=InvalidDefinitionDescription\n\n# a non-root user\nARG APP_USER=app\n"
            "FROM alpine\n"
        ),
        Example(
            dockerfile="# check=experimental=InvalidDefinitionDescription\nFROM alpine\n# the compiler\n"
            "FROM alpine AS build\n"
        ),
    ),
    good=(
        Example(
            dockerfile="# check=experimental=InvalidDefinitionDescription\n\n# APP_USER is a non-root user\n"
            "ARG APP_USER=app\nFROM alpine\n"
        ),
        Example(
            dockerfile="# check=experimental=InvalidDefinitionDescription\n\n# about the whole file\n#\n"
            "ARG APP_USER=app\nFROM alpine\n"
        ),
    ),
    experimental=True,
)
