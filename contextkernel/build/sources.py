"""Where the Dockerfile and its ignore file come from."""

from __future__ import annotations

import os

from contextkernel.errors import InvalidInput, SourceNotFound

_MAX_DOCKERFILE = 16 * 1024 * 1024
_DEFAULT = "Dockerfile"


def read_dockerfile(context: str | None, dockerfile: str | None, text: str | None) -> tuple[str | bytes, str]:
    """The Dockerfile's content and the name to show for it.

    Args:
        context: directory of the build context, or ``None``.
        dockerfile: path given by ``-f``, relative to the working directory, else to the context.
        text: the content itself; then nothing is read.

    Raises:
        SourceNotFound: there is no such file. InvalidInput: it is no file, or too large.
    """
    if text is not None:
        return text, dockerfile or _DEFAULT
    if context is not None and not os.path.isdir(context):
        raise SourceNotFound(
            f"build context {context!r} is not a directory", hint="the last argument of build is a directory, often ."
        )
    if dockerfile is not None:
        inside = os.path.join(context, dockerfile) if context is not None else dockerfile
        path, name = (dockerfile if os.path.exists(dockerfile) else inside), dockerfile
    elif context is not None:
        path, name = _default_file(context), _DEFAULT
    else:
        raise InvalidInput("there is neither a Dockerfile nor a build context", hint="name one with -f")
    try:
        with open(path, "rb") as stream:
            content = stream.read(_MAX_DOCKERFILE + 1)
    except FileNotFoundError:
        where = f" in {context!r}" if context is not None else ""
        raise SourceNotFound(
            f"there is no {name}{where}", hint="name the Dockerfile with -f, or change to its directory"
        ) from None
    except OSError as problem:
        hint = "name a file with -f" if os.path.isdir(path) else "make it readable for this user"
        raise InvalidInput(f"cannot read {path}: {(problem.strerror or str(problem)).lower()}", hint=hint) from None
    if len(content) > _MAX_DOCKERFILE:
        raise InvalidInput(f"{path} is larger than {_MAX_DOCKERFILE} bytes", hint="is it a Dockerfile?")
    return content, name


def _default_file(context: str) -> str:
    """``Dockerfile``, or ``dockerfile`` where only that exists, as BuildKit has it."""
    path = os.path.join(context, _DEFAULT)
    lower = os.path.join(context, _DEFAULT.lower())
    return lower if not os.path.exists(path) and os.path.exists(lower) else path


def read_ignore(context: str | None, dockerfile_name: str) -> tuple[bytes, str] | None:
    """Content and path of the ignore file: ``<Dockerfile>.dockerignore`` beside it, else the context's own.

    Args:
        context: directory, or ``None``.
        dockerfile_name: as in the request.

    Returns:
        ``None`` if there is neither.

    Raises:
        InvalidInput: it exists and cannot be read.
    """
    candidates = []
    if context is not None:
        candidates.append(os.path.join(context, f"{dockerfile_name}.dockerignore"))
    if os.path.isfile(dockerfile_name):
        candidates.append(f"{dockerfile_name}.dockerignore")
    if context is not None:
        candidates.append(os.path.join(context, ".dockerignore"))
    for path in candidates:
        try:
            with open(path, "rb") as stream:
                return stream.read(_MAX_DOCKERFILE), path
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            raise InvalidInput(f"cannot read {path}: {reason}", hint="make it a readable file, or remove it") from None
    return None
