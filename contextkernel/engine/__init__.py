"""The engine: one method per user verb, composed once from store, worker, runtime and builder.

Both faces (notebook and command line) and scripts use this object and nothing below it. Nothing is
started by creating one: helper processes come with the first verb that needs them.
"""

from __future__ import annotations

from contextkernel.engine.builds import Builds
from contextkernel.engine.caches import Caches
from contextkernel.engine.checks import Checks
from contextkernel.engine.commits import Commits
from contextkernel.engine.containers import ContainerVerbs
from contextkernel.engine.debug import Debugging
from contextkernel.engine.happenings import Happenings
from contextkernel.engine.images import Images
from contextkernel.engine.lifecycle import Lifecycle
from contextkernel.engine.measurements import Measurements
from contextkernel.engine.networks import Networks
from contextkernel.engine.records import Records
from contextkernel.engine.system import System
from contextkernel.engine.usage import Usage
from contextkernel.engine.volumes import Volumes

__all__ = ["Engine"]


class Engine(
    Usage,
    ContainerVerbs,
    Builds,
    Caches,
    Checks,
    Commits,
    Debugging,
    Happenings,
    Images,
    Lifecycle,
    Measurements,
    Networks,
    Records,
    System,
    Volumes,
):
    """Build, run and look into images, in one store.

    The verbs are in the modules of this package, by what they are about; the arguments are those of
    :class:`contextkernel.engine.composition.Composition`.
    """
