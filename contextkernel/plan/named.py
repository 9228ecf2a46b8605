"""Named contexts (``--build-context NAME=VALUE``): what each of them is.

Source of the rules: BuildKit's ``dockerui/namedcontext.go``, and buildx for the names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from contextkernel.errors import InvalidInput, InvalidReference
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.plan.remote import HttpOrigin, parse_git, redacted
from contextkernel.plan.steps import Base, ContextOrigin, ImageOrigin, ScratchOrigin

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")
_FILE = "context"  # what BuildKit calls the file behind the URL of a named context


class NamedContexts(msgspec.Struct, frozen=True, kw_only=True):
    """All named contexts of a build.

    Attributes:
        origins: by name, as :func:`context_name` writes it.
        directories: paths of those that are directories of this machine, as given.
    """

    origins: Mapping[str, Base] = msgspec.field(default_factory=dict)
    directories: Mapping[ContextOrigin, str] = msgspec.field(default_factory=dict)


def context_name(ref: ImageRef) -> str:
    """The name under which a context stands for ``ref``: short, and without the tag ``latest``."""
    return ref.familiar.removesuffix(":latest")


def parse_contexts(values: Mapping[str, str], platform: Platform | None = None) -> NamedContexts:
    """Read the values of ``--build-context``.

    Args:
        values: by name: a directory, ``docker-image://REF``, ``oci-layout://DIRECTORY[:TAG|@DIGEST]``, or a URL.
        platform: of images, where it is not this host's.

    Raises:
        InvalidInput: a name that is none, or a value of an unknown kind.
    """
    origins: dict[str, Base] = {}
    directories: dict[ContextOrigin, str] = {}
    for given, value in values.items():
        try:
            name = context_name(ImageRef.parse(given))
        except InvalidReference as problem:
            raise InvalidInput(
                f"build context {given!r}: {problem.problem}",
                hint="the name is one that FROM or --from may use, e.g. --build-context src=../src",
            ) from None
        origin = origins[name] = _origin(name, value, platform)
        if isinstance(origin, ContextOrigin):
            directories[origin] = value
    return NamedContexts(origins=origins, directories=directories)


def _origin(name: str, value: str, platform: Platform | None) -> Base:
    if not value:
        raise InvalidInput(f"build context {name!r} has no value", hint=f"--build-context {name}=DIRECTORY")
    git = parse_git(value, context=False)
    if git is not None:
        return git
    scheme = _SCHEME.match(value)
    match scheme[1] if scheme else "":
        case "":
            return ContextOrigin(name)
        case "docker-image":
            text = value.removeprefix("docker-image://")
            return ScratchOrigin() if text == "scratch" else ImageOrigin(_reference(name, text), platform)
        case "oci-layout":
            text = value.removeprefix("oci-layout://")
            if not text:
                raise InvalidInput(f"build context {name}={value}: there is no directory in it")
            return ImageOrigin(ImageRef.parse(name), platform, layout=text)
        case "http" | "https":
            return HttpOrigin(url=value, name=_FILE)
        case other:
            raise InvalidInput(
                f"build context {name}={redacted(value)}: {other}:// is not known",
                hint="a directory, docker-image://, oci-layout://, http(s):// or a Git URL",
            )


def _reference(name: str, text: str) -> ImageRef:
    try:
        return ImageRef.parse(text)
    except InvalidReference as problem:
        raise InvalidInput(
            f"build context {name}=docker-image://{text}: {problem.problem}", hint=problem.hint
        ) from None
