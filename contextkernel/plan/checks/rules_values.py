"""The rules that need values: variables, stages, bases, the ignore file. Words as in BuildKit's ``ruleset.go``."""

from __future__ import annotations

from contextkernel.plan.checks.rule import Example, Rule

JSON_ARGS_RECOMMENDED = Rule(
    name="JSONArgsRecommended",
    description="JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    message="JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
    slug="json-args-recommended",
    why="A command line is run by a shell, which is then process 1 and does not pass signals on: `stop` waits for its "
    "time-out and kills. As a JSON array the program itself is process 1. Where a shell is wanted, start the command "
    "with `exec`, or say so with SHELL.",
    bad=(
        Example(dockerfile="FROM alpine\nENTRYPOINT my-program start\n"),
        Example(dockerfile="FROM alpine\nCMD my-program start\n"),
    ),
    good=(
        Example(dockerfile='FROM alpine\nENTRYPOINT ["my-program", "start"]\n'),
        Example(dockerfile='FROM alpine\nSHELL ["/bin/sh", "-c"]\nCMD my-program start\n'),
    ),
)

UNDEFINED_ARG_IN_FROM = Rule(
    name="UndefinedArgInFrom",
    description="FROM command must use declared ARGs",
    message="FROM argument '{}' is not declared",
    slug="undefined-arg-in-from",
    why="FROM sees the arguments declared before the first FROM, and the predefined platform arguments. Anything else "
    "is empty, often because of a slip of the pen.",
    bad=(
        Example(dockerfile="FROM node:22${VARIANT}\n"),
        Example(dockerfile="ARG VARIANT=-alpine\nFROM node:22${VARANT}\n"),
    ),
    good=(
        Example(dockerfile='ARG VARIANT="-alpine"\nFROM node:22${VARIANT}\n'),
        Example(dockerfile="FROM --platform=$BUILDPLATFORM node:22\n"),
    ),
)

WORKDIR_RELATIVE_PATH = Rule(
    name="WorkdirRelativePath",
    description="Relative workdir without an absolute workdir declared within the build can have unexpected results "
    "if the base image changes",
    message="Relative workdir {} can have unexpected results if the base image changes",
    slug="workdir-relative-path",
    why="A relative path goes on from the base image's directory, which its next version may change.",
    bad=(Example(dockerfile="FROM nginx\nWORKDIR usr/share/nginx/html\n"),),
    good=(
        Example(dockerfile="FROM nginx\nWORKDIR /usr/share/nginx/html\n"),
        Example(dockerfile="FROM nginx\nWORKDIR /usr/share\nWORKDIR nginx/html\n"),
    ),
)

UNDEFINED_VAR = Rule(
    name="UndefinedVar",
    description="Variables should be defined before their use",
    message="Usage of undefined variable '${}'",
    slug="undefined-var",
    why="A variable that neither the base image nor an ENV or ARG before the line sets is empty there. Arguments "
    "declared before the first FROM have to be declared again in the stage. RUN, CMD and ENTRYPOINT are not looked "
    "into: their variables are the shell's.",
    bad=(
        Example(dockerfile="FROM alpine AS base\nCOPY $foo .\n"),
        Example(dockerfile="ARG foo=bin\nFROM alpine AS base\nCOPY $foo .\n"),
    ),
    good=(
        Example(dockerfile="FROM alpine AS base\nARG foo\nCOPY $foo .\n"),
        Example(dockerfile="FROM alpine AS base\nENV PATH=$PATH:/opt/bin\n"),
    ),
)

MULTIPLE_INSTRUCTIONS_DISALLOWED = Rule(
    name="MultipleInstructionsDisallowed",
    description="Multiple instructions of the same type should not be used in the same stage",
    message="Multiple {} instructions should not be used in the same stage because only the last one will be used",
    slug="multiple-instructions-disallowed",
    why="Of several CMD, ENTRYPOINT or HEALTHCHECK in one stage the last one counts; the others are only misleading.",
    bad=(
        Example(
            dockerfile='FROM alpine\nENTRYPOINT ["echo", "Hello, Norway!"]\nENTRYPOINT ["echo", "Hello, Sweden!"]\n'
        ),
    ),
    good=(
        Example(dockerfile='FROM alpine\nENTRYPOINT ["echo", "Hello, Norway!"]\n'),
        Example(dockerfile='FROM alpine AS base\nCMD ["a"]\n\nFROM base\nCMD ["b"]\n'),
    ),
)

INVALID_BASE_IMAGE_PLATFORM = Rule(
    name="InvalidBaseImagePlatform",
    description="Base image platform does not match expected target platform",
    message="Base image {} was pulled with platform {}, expected {} for current build",
    slug="",
    why="The name leads to an image for another platform only; its programs do not run here without an emulator. Use "
    "an image that exists for the platform, or say with `--platform` that this one is meant.",
    bad=(Example(dockerfile="FROM app:1\nRUN true\n", bases=(("app:1", "linux/arm64"),)),),
    good=(
        Example(dockerfile="FROM app:1\nRUN true\n", bases=(("app:1", "linux/amd64"),)),
        Example(dockerfile="FROM app:1\nRUN true\n", platform="linux/arm64", bases=(("app:1", "linux/arm64"),)),
    ),
)

REDUNDANT_TARGET_PLATFORM = Rule(
    name="RedundantTargetPlatform",
    description="Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    message="Setting platform to predefined {} in FROM is redundant as this is the default behavior",
    slug="redundant-target-platform",
    why="A stage is for the target platform unless it says otherwise.",
    bad=(Example(dockerfile="FROM --platform=$TARGETPLATFORM alpine AS builder\n"),),
    good=(
        Example(dockerfile="FROM alpine AS builder\n"),
        Example(dockerfile="FROM --platform=$BUILDPLATFORM alpine AS builder\n"),
    ),
)

INVALID_DEFAULT_ARG_IN_FROM = Rule(
    name="InvalidDefaultArgInFrom",
    description="Default value for global ARG results in an empty or invalid base image name",
    message="Default value for ARG {} results in empty or invalid base image name",
    slug="invalid-default-arg-in-from",
    why="Without `--build-arg` the file cannot be built: the name of the base image is empty or malformed then. Give "
    "the ARG a default that works.",
    bad=(Example(dockerfile="ARG TAG\nFROM busybox:${TAG}\n"),),
    good=(
        Example(dockerfile="ARG TAG=latest\nFROM busybox:${TAG}\n"),
        Example(dockerfile="ARG TAG\nFROM busybox:${TAG:-latest}\n"),
    ),
)

FROM_PLATFORM_FLAG_CONST_DISALLOWED = Rule(
    name="FromPlatformFlagConstDisallowed",
    description="FROM --platform flag should not use a constant value",
    message="FROM --platform flag should not use constant value {}",
    slug="from-platform-flag-const-disallowed",
    why="The file can then be built for this platform only, and on others needs an emulator. Use a platform argument, "
    "leave the flag out, or, where the stage is meant to be so, say it in the stage's name.",
    bad=(Example(dockerfile="FROM --platform=linux/amd64 alpine AS base\n"),),
    good=(
        Example(dockerfile="FROM --platform=$BUILDPLATFORM alpine AS base\n"),
        Example(dockerfile="FROM --platform=linux/amd64 alpine AS build_amd64\n"),
    ),
)

COPY_IGNORED_FILE = Rule(
    name="CopyIgnoredFile",
    description="Attempting to Copy file that is excluded by .dockerignore",
    message="Attempting to {} file {} that is excluded by .dockerignore",
    slug="copy-ignored-file",
    why="What `.dockerignore` leaves out is not part of the context, so COPY and ADD cannot find it and the build "
    "fails. Files with exceptions (`!pattern`) are not looked into.",
    bad=(
        Example(dockerfile="FROM scratch\nCOPY tmp/notes.txt /notes.txt\n", ignore="tmp\n"),
        Example(dockerfile="FROM scratch\nADD . /src\n", ignore="*\n"),
    ),
    good=(
        Example(dockerfile="FROM scratch\nCOPY src/notes.txt /notes.txt\n", ignore="tmp\n"),
        Example(dockerfile="FROM scratch\nCOPY tmp/notes.txt /notes.txt\n", ignore="tmp\n!tmp/notes.txt\n"),
    ),
)

EXPOSE_PROTO_CASING = Rule(
    name="ExposeProtoCasing",
    description="Protocol in EXPOSE instruction should be lowercase",
    message="Defined protocol '{}' in EXPOSE instruction should be lowercase",
    slug="expose-proto-casing",
    why="The protocol is stored in lower case, whatever was written.",
    bad=(Example(dockerfile="FROM alpine\nEXPOSE 80/TcP\n"),),
    good=(Example(dockerfile="FROM alpine\nEXPOSE 80/tcp\n"),),
)

EXPOSE_INVALID_FORMAT = Rule(
    name="ExposeInvalidFormat",
    description="IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error "
    "in a future release",
    message="EXPOSE instruction should not define an IP address or host-port mapping, found '{}'",
    slug="expose-invalid-format",
    why="EXPOSE says which ports the program in the image uses. Which address and port of the host lead there is for "
    "`run -p` to say; in EXPOSE it is dropped.",
    bad=(Example(dockerfile="FROM alpine\nEXPOSE 127.0.0.1:80:80\n"),),
    good=(Example(dockerfile="FROM alpine\nEXPOSE 80\n"),),
)
