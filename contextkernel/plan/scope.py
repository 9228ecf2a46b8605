"""What an instruction that makes a layer sees of its stage."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from contextkernel.dockerfile.instructions import Dockerfile
from contextkernel.errors import DockerfileError
from contextkernel.plan import texts
from contextkernel.plan.arguments import expander
from contextkernel.plan.stages import Command


class StepScope(msgspec.Struct, frozen=True, kw_only=True):
    """What a layer-making instruction sees.

    Attributes:
        command: the instruction in its stage.
        dockerfile: for its source and escape character.
        env: variables in scope.
        arguments: ARGs declared so far.
        user, cwd, shell: of the stage so far.
        prefix: of the progress title, e.g. ``[build 2/5] ``.
    """

    command: Command
    dockerfile: Dockerfile
    env: Mapping[str, str]
    arguments: tuple[tuple[str, str | None], ...]
    user: str
    cwd: str
    shell: tuple[str, ...]
    prefix: str

    def title(self, *, note: str = "", run: bool = False) -> str:
        """The progress title."""
        text = self.command.instruction.original + note
        return self.prefix + texts.shown_command(text, self.env, escape=self.dockerfile.directives.escape, run=run)

    def expand(self, word: str) -> str:
        """A word with the variables in scope."""
        return expander(self.dockerfile, self.command.span)(word, self.env)

    def problem(self, text: str, *, hint: str | None = None) -> DockerfileError:
        """An error at the instruction."""
        return DockerfileError(text, hint=hint, span=self.command.span, source=self.dockerfile.source)
