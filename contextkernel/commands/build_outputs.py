"""What ``build`` makes of its result: outputs, annotations, statements, and files that say what came of it."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from contextkernel.commands.outcome import Built, Nothing, Outcome, Text
from contextkernel.errors import InvalidInput
from contextkernel.model.outputs import (
    Annotation,
    ArchiveOutput,
    Attest,
    ImageOutput,
    Output,
    TarOutput,
    parse_annotation,
    parse_attests,
    parse_output,
)

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.model.results import BuildResult


class ResultOptions:
    """The options about the result, checked before anything runs.

    Args:
        call: whose words are read.

    Attributes:
        outputs, annotations, attests: for ``Engine.build``.
        stdout: descriptor for an output that goes to standard output, if that is no screen.

    Raises:
        InvalidInput: a value that is not acceptable, or a file that cannot be written.
    """

    def __init__(self, call: Call) -> None:
        parsed = call.parsed
        outputs: list[Output] = [parse_output(text) for text in parsed.texts("output")]
        if parsed.flag("push"):
            outputs = [replace(one, push=True) if isinstance(one, ImageOutput) else one for one in outputs]
            if not any(isinstance(one, ImageOutput) for one in outputs):
                outputs.append(ImageOutput(push=True))
        if not outputs or (parsed.flag("load") and not any(isinstance(one, ImageOutput) for one in outputs)):
            outputs.append(ImageOutput())
        self.outputs = tuple(outputs)
        self.annotations: tuple[Annotation, ...] = tuple(
            one for text in parsed.texts("annotation") for one in parse_annotation(text)
        )
        self.attests: tuple[Attest, ...] = parse_attests(
            parsed.texts("attest"), provenance=parsed.maybe("provenance"), sbom=parsed.maybe("sbom")
        )
        self._to_stdout = any(isinstance(one, TarOutput | ArchiveOutput) and one.dest == "-" for one in outputs)
        self.stdout: int | None = None
        if self._to_stdout:
            descriptor, _ = call.face.output_descriptors()
            self.stdout = None if descriptor is None or os.isatty(descriptor) else descriptor
        self._iidfile, self._metadata = parsed.maybe("iidfile"), parsed.maybe("metadata-file")
        for path in (self._iidfile, self._metadata):
            if path is not None:
                _check_writable(path)

    def finish(self, result: BuildResult, *, quiet: bool) -> Outcome:
        """Write the files that were asked for, and say what to show.

        Raises:
            InvalidInput: a file cannot be written.
        """
        image = result.metadata.get("containerimage.config.digest") or result.metadata.get("containerimage.digest", "")
        if self._iidfile is not None:
            _write(self._iidfile, str(image))
        if self._metadata is not None:
            # docker names the build's record by builder, node and id
            ref = {"buildx.build.ref": f"contextkernel/local/{result.record}"} if result.record else {}
            document = dict(sorted({**result.metadata, **ref}.items()))
            _write(self._metadata, json.dumps(document, indent=2, ensure_ascii=False))
        if self._to_stdout:
            return Outcome(value=Nothing())
        if quiet and not result.stored:
            return Outcome(value=Text(f"{image}\n") if image else Nothing())
        return Outcome(value=Built(result, quiet))


def _write(path: str, text: str) -> None:
    try:
        if _special(path):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            return
        # nobody can have put a link under a name that nobody can guess
        temporary = f"{path}.{os.urandom(8).hex()}.partial"
        try:
            with open(temporary, "x", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as problem:
        raise InvalidInput(f"cannot write {path}: {(problem.strerror or str(problem)).lower()}") from None


def _special(path: str) -> bool:
    """Whether it is there and neither file nor directory: /dev/stdout, /dev/null, a named pipe. It is not replaced."""
    try:
        kind = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)) or os.path.realpath(path).startswith("/dev/")


def _check_writable(path: str) -> None:
    """A result nobody can write down is refused before the build; docker also removes an old file first."""
    try:
        if _special(path):
            return
        if os.path.exists(path):
            os.remove(path)
        elif not os.path.isdir(os.path.dirname(path) or "."):
            raise InvalidInput(f"cannot write {path}: no such directory", hint="make it first, or name another file")
        elif not os.access(os.path.dirname(path) or ".", os.W_OK):
            raise InvalidInput(f"cannot write {path}: permission denied", hint="name another file")
    except OSError as problem:
        raise InvalidInput(f"cannot write {path}: {(problem.strerror or str(problem)).lower()}") from None
