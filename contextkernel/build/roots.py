"""The roots of the RUNs of a stage, and what they leave behind, on hosts with overlay and on those without.

Where layers are copied into a tree, the first RUN of a stage pays for the copy. The others take the tree over; layers
that came on top of it meanwhile (COPY, what the cache had) are put into it. The last one's changes are moved out of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.model.backing import PrepareRequest, Root, SettleRequest

if TYPE_CHECKING:
    from contextkernel.build.commits import Stack
    from contextkernel.build.tools import Tools


def prepare_root(stack: Stack, directory: str, tools: Tools) -> Root:
    """What a RUN on top of ``stack`` is launched with.

    Args:
        stack: what the stage has come to.
        directory: of the layer to be.
        tools: of the build.

    Raises:
        StoreFull: no room for a copy.
    """
    if tools.backing == "overlay":
        return Root(lowers=stack.lowers, upper=f"{directory}/diff", work=f"{directory}/work")
    above = stack.directories[stack.parked_height :]
    if not stack.parked or above:
        tools.committer.gather(stack, wait=True)  # trees are made by the indexes of layers
        above = stack.directories[stack.parked_height :]
    root = Root(lowers=stack.lowers, upper=f"{directory}/diff", work=f"{directory}/work")
    return tools.worker.prepare(
        PrepareRequest(root=root, parked=stack.parked, above=tuple(f"{one}/diff" for one in above))
    )


def settle_root(stack: Stack, directory: str, tools: Tools, *, more: bool) -> None:
    """Make the layer's ``diff`` of what a RUN has changed.

    Args:
        stack: what it stood on.
        directory: of the layer.
        tools: of the build.
        more: another RUN follows in this stage.
    """
    if tools.backing == "overlay":
        return
    stack.parked = stack.parked or tools.store.new_layer_dir()
    tools.worker.settle(SettleRequest(upper=f"{directory}/diff", park=stack.parked, keep=more))
    stack.parked_height = len(stack.directories) + 1


def release_root(stack: Stack, tools: Tools) -> None:
    """Remove the tree of a stage that needs it no more, beside whatever comes next."""
    parked, stack.parked = stack.parked, ""
    if parked:
        tools.committer.remove_later(parked)
