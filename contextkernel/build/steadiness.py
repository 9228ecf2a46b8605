"""Whether what a COPY copied is what its cache key says: a context is a living directory, others may write in it.

Docker copies a context before it looks at it. Here a key is made of the files where they lie, and they are copied from
there, perhaps much later; so after the copy they are looked at again. Only where something seems to have moved since is
it all read again: a file that was merely touched is still the same.
"""

from __future__ import annotations

from contextkernel.build.context import DirectoryContext
from contextkernel.build.copying import ResolvedCopy, resolve_copy
from contextkernel.errors import InvalidInput, SourceNotFound
from contextkernel.plan.steps import CopyStep


def check_unchanged(step: CopyStep, copy: ResolvedCopy, context: DirectoryContext) -> None:
    """Look at what was copied once more.

    Args:
        step: what was asked for.
        copy: what was found for it, and is in its key.
        context: where.

    Raises:
        InvalidInput: a file was changed, added or removed between the key and the end of the copy.
    """
    if not context.moved(copy.paths()):
        return
    try:
        now = resolve_copy(step, context.again())
    except SourceNotFound as problem:
        raise _changed(context, f"{problem.problem} any more: that happened") from problem
    if now.content == copy.content:
        return
    before, after = dict(copy.rows), dict(now.rows)
    path = next((path for path in (*before, *after) if before.get(path) != after.get(path)), ".")
    what = "was removed" if path not in after else "was added" if path not in before else "was changed"
    raise _changed(context, f"{path!r} of {context.label} {what}")


def _changed(context: DirectoryContext, what: str) -> InvalidInput:
    return InvalidInput(
        f"{what} while it was copied",
        hint=f"build again when nothing writes to {context.root}, or leave the file out with .dockerignore;"
        " the steps before this one stay cached",
    )
