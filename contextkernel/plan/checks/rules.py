"""All rules, in BuildKit's order of names (``linter/ruleset.go``)."""

from __future__ import annotations

from contextkernel.plan.checks import rules_text as text
from contextkernel.plan.checks import rules_values as values
from contextkernel.plan.checks.rule import Rule

RULES: tuple[Rule, ...] = (
    text.STAGE_NAME_CASING,
    text.FROM_AS_CASING,
    text.NO_EMPTY_CONTINUATION,
    text.CONSISTENT_INSTRUCTION_CASING,
    text.DUPLICATE_STAGE_NAME,
    text.RESERVED_STAGE_NAME,
    values.JSON_ARGS_RECOMMENDED,
    text.MAINTAINER_DEPRECATED,
    values.UNDEFINED_ARG_IN_FROM,
    values.WORKDIR_RELATIVE_PATH,
    values.UNDEFINED_VAR,
    values.MULTIPLE_INSTRUCTIONS_DISALLOWED,
    text.LEGACY_KEY_VALUE_FORMAT,
    values.INVALID_BASE_IMAGE_PLATFORM,
    values.REDUNDANT_TARGET_PLATFORM,
    text.SECRETS_USED_IN_ARG_OR_ENV,
    values.INVALID_DEFAULT_ARG_IN_FROM,
    values.FROM_PLATFORM_FLAG_CONST_DISALLOWED,
    values.COPY_IGNORED_FILE,
    text.INVALID_DEFINITION_DESCRIPTION,
    values.EXPOSE_PROTO_CASING,
    values.EXPOSE_INVALID_FORMAT,
)
