"""What takes how much room: the rows of ``system df`` (docker/cli, ``cli/command/formatter/disk_usage.go``)."""

from __future__ import annotations

from contextkernel.model.cache import UsageRow
from contextkernel.store.database import Database

#: bytes of all layers that images have, each once
_LAYERS_SIZE = "SELECT coalesce(sum(size), 0) FROM layers WHERE diff_id IN (SELECT diff_id FROM image_layers)"


class ImageSizes:
    """What images take; see the functions of the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def usage(self) -> UsageRow:
        """The row of ``system df``."""
        return image_usage(self._database)

    def shares(self) -> dict[str, tuple[int, int]]:
        """For each image id: bytes it shares with other images, and bytes of its own."""
        return image_shares(self._database)


def image_usage(database: Database) -> UsageRow:
    """Images: layers once; what only unused images have can be reclaimed."""
    with database.snapshot() as sql:
        total = sql.execute("SELECT count(*) FROM images").fetchone()[0]
        active = sql.execute("SELECT count(*) FROM images WHERE id IN (SELECT image FROM containers)").fetchone()[0]
        size = sql.execute(_LAYERS_SIZE).fetchone()[0]
        needed = sql.execute(
            "SELECT coalesce(sum(size), 0) FROM layers WHERE diff_id IN (SELECT diff_id FROM image_layers"
            " WHERE image IN (SELECT image FROM containers))"
        ).fetchone()[0]
    return UsageRow(type="Images", total=total, active=active, size=size, reclaimable=size - needed)


def image_shares(database: Database) -> dict[str, tuple[int, int]]:
    """For each image: bytes of layers that another image has too, and bytes of those that are its alone."""
    rows = database.all(
        "SELECT image, sum(CASE WHEN others > 1 THEN size ELSE 0 END), sum(CASE WHEN others > 1 THEN 0 ELSE size END)"
        " FROM (SELECT DISTINCT image, diff_id FROM image_layers)"
        " JOIN layers USING (diff_id)"
        " JOIN (SELECT diff_id, count(DISTINCT image) AS others FROM image_layers GROUP BY diff_id) USING (diff_id)"
        " GROUP BY image"
    )
    return {image: (shared, unique) for image, shared, unique in rows}
