"""The engine: one method per user verb, composed once from store, worker, runtime and builder.

Both faces (notebook and command line) and scripts use this object and nothing below it. Nothing is
started by creating one: helper processes come with the first verb that needs them.
"""

from __future__ import annotations

from contextkernel.engine.archives import Archives
from contextkernel.engine.builds import Builds
from contextkernel.engine.checks import Checks
from contextkernel.engine.cleaning import Cleaning
from contextkernel.engine.commits import Commits
from contextkernel.engine.debug import Debugging
from contextkernel.engine.happenings import Happenings
from contextkernel.engine.interaction import Interaction
from contextkernel.engine.looking import Looking
from contextkernel.engine.measurements import Measurements
from contextkernel.engine.packs import Packs
from contextkernel.engine.pushing import Pushing
from contextkernel.engine.records import Records
from contextkernel.engine.registries import Registries
from contextkernel.engine.remote import Remote
from contextkernel.engine.serving import Serving
from contextkernel.engine.system import System

__all__ = ["Engine"]


class Engine(
    System,
    Cleaning,
    Interaction,
    Looking,
    Archives,
    Packs,
    Builds,
    Checks,
    Commits,
    Debugging,
    Happenings,
    Measurements,
    Pushing,
    Records,
    Registries,
    Remote,
    Serving,
):
    """Build, run and look into images, in one store.

    The verbs are in the modules of this package, by what they are about; the arguments are those of
    :class:`contextkernel.engine.composition.Composition`.
    """
