"""The tables, one script per version; a store of an older version is brought up to date in one transaction."""

from __future__ import annotations

#: Statements that lead from version ``index`` to ``index + 1``.
SCRIPTS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE schema (version INTEGER NOT NULL)",
        "INSERT INTO schema (version) VALUES (0)",
        """CREATE TABLE layers (
            diff_id TEXT PRIMARY KEY,
            directory TEXT NOT NULL UNIQUE,  -- name below layers/
            size INTEGER NOT NULL,
            entries INTEGER NOT NULL,
            blob TEXT,
            media_type TEXT NOT NULL
        )""",
        """CREATE TABLE images (
            id TEXT PRIMARY KEY,
            origin TEXT NOT NULL,
            created INTEGER NOT NULL,  -- nanoseconds, as the config says
            added INTEGER NOT NULL,    -- nanoseconds, when it came here
            size INTEGER NOT NULL
        )""",
        """CREATE TABLE image_layers (
            image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            diff_id TEXT NOT NULL REFERENCES layers (diff_id),
            PRIMARY KEY (image, position)
        ) WITHOUT ROWID""",
        "CREATE INDEX image_layers_by_layer ON image_layers (diff_id)",
        """CREATE TABLE tags (
            registry TEXT NOT NULL,
            repository TEXT NOT NULL,
            tag TEXT NOT NULL,
            image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
            tagged INTEGER NOT NULL,
            PRIMARY KEY (registry, repository, tag)
        ) WITHOUT ROWID""",
        "CREATE INDEX tags_by_image ON tags (image)",
        """CREATE TABLE repo_digests (
            registry TEXT NOT NULL,
            repository TEXT NOT NULL,
            digest TEXT NOT NULL,
            image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
            PRIMARY KEY (registry, repository, digest)
        ) WITHOUT ROWID""",
        "CREATE INDEX repo_digests_by_image ON repo_digests (image)",
        """CREATE TABLE steps (
            key TEXT PRIMARY KEY,
            diff_id TEXT NOT NULL REFERENCES layers (diff_id),
            created INTEGER NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX steps_by_layer ON steps (diff_id)",
        """CREATE TABLE files (
            path BLOB NOT NULL UNIQUE ON CONFLICT REPLACE,
            dev INTEGER NOT NULL,
            inode INTEGER NOT NULL,
            size INTEGER NOT NULL,
            mtime INTEGER NOT NULL,
            ctime INTEGER NOT NULL,
            digest TEXT NOT NULL
        )""",
        """CREATE TABLE containers (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            image TEXT NOT NULL,
            image_removed INTEGER NOT NULL DEFAULT 0,  -- by force, from under the container
            created INTEGER NOT NULL,
            spec BLOB NOT NULL
        )""",
        "CREATE INDEX containers_by_image ON containers (image)",
        """CREATE TABLE container_layers (
            container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            diff_id TEXT NOT NULL REFERENCES layers (diff_id),
            PRIMARY KEY (container, position)
        ) WITHOUT ROWID""",
        "CREATE INDEX container_layers_by_layer ON container_layers (diff_id)",
        # what a live session works on and nothing refers to yet; kind is 'layer' or 'blob'
        """CREATE TABLE leases (
            session TEXT NOT NULL,
            kind TEXT NOT NULL,
            digest TEXT NOT NULL,
            PRIMARY KEY (session, kind, digest)
        ) WITHOUT ROWID""",
        "CREATE INDEX leases_by_digest ON leases (kind, digest)",
        # directories that nothing uses, to be removed by the layer worker; paths below the root
        "CREATE TABLE trash (path TEXT PRIMARY KEY) WITHOUT ROWID",
    ),
    (
        # when a cache entry was last found or made (nanoseconds), how often, and what it is, for tables
        "ALTER TABLE steps ADD COLUMN used INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE steps ADD COLUMN uses INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE steps ADD COLUMN description TEXT NOT NULL DEFAULT ''",
        "UPDATE steps SET used = created",
        # what explanations are made from: inputs of keys, where they were asked for, files by content
        """CREATE TABLE step_records (
            key TEXT PRIMARY KEY,
            seq INTEGER NOT NULL,
            document BLOB NOT NULL,
            content TEXT NOT NULL
        )""",
        "CREATE INDEX step_records_by_seq ON step_records (seq)",
        "CREATE INDEX step_records_by_content ON step_records (content)",
        """CREATE TABLE step_places (
            scope TEXT NOT NULL,
            position INTEGER NOT NULL,
            text TEXT NOT NULL,
            key TEXT NOT NULL,
            seq INTEGER NOT NULL,
            PRIMARY KEY (scope, position)
        ) WITHOUT ROWID""",
        "CREATE INDEX step_places_by_text ON step_places (text)",
        "CREATE INDEX step_places_by_seq ON step_places (seq)",
        "CREATE TABLE step_listings (content TEXT PRIMARY KEY, document BLOB NOT NULL)",
    ),
    (
        # directories of RUN --mount=type=cache; several may have one identity (sharing=private, or while in use)
        """CREATE TABLE cache_mounts (
            name TEXT PRIMARY KEY,   -- directory below caches/
            identity TEXT NOT NULL,  -- what makes it fit a mount
            id TEXT NOT NULL,        -- as the Dockerfile has it
            created INTEGER NOT NULL,
            used INTEGER NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX cache_mounts_by_identity ON cache_mounts (identity)",
        # what the failed step of a build left, for a look at it
        """CREATE TABLE failed_steps (
            id TEXT PRIMARY KEY,              -- of the build
            directory TEXT NOT NULL UNIQUE,   -- name below layers/
            created INTEGER NOT NULL,
            document BLOB NOT NULL
        )""",
        """CREATE TABLE failed_layers (
            failed TEXT NOT NULL REFERENCES failed_steps (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            diff_id TEXT NOT NULL REFERENCES layers (diff_id),
            PRIMARY KEY (failed, position)
        ) WITHOUT ROWID""",
        "CREATE INDEX failed_layers_by_layer ON failed_layers (diff_id)",
    ),
    (
        # what was built, when and how; session: who builds it, empty once it has ended
        """CREATE TABLE builds (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            session TEXT NOT NULL,
            document BLOB NOT NULL
        )""",
        """CREATE TABLE build_steps (
            build TEXT NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            document BLOB NOT NULL,
            log BLOB,
            PRIMARY KEY (build, number)
        ) WITHOUT ROWID""",
    ),
    (
        # what a build stated of an image, and the annotations it is to have wherever it goes
        """CREATE TABLE image_statements (
            image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            predicate_type TEXT NOT NULL,
            name TEXT NOT NULL,
            blob TEXT NOT NULL,
            PRIMARY KEY (image, position)
        ) WITHOUT ROWID""",
        """CREATE TABLE image_annotations (
            image TEXT PRIMARY KEY REFERENCES images (id) ON DELETE CASCADE,
            document BLOB NOT NULL
        ) WITHOUT ROWID""",
    ),
    (
        # images of other platforms than the tag's, beside it; platform: that was asked for
        """CREATE TABLE platform_images (
            reference TEXT NOT NULL,
            platform TEXT NOT NULL,
            image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
            PRIMARY KEY (reference, platform)
        ) WITHOUT ROWID""",
        "CREATE INDEX platform_images_by_image ON platform_images (image)",
    ),
    (
        """CREATE TABLE volumes (
            name TEXT PRIMARY KEY,
            created INTEGER NOT NULL,
            anonymous INTEGER NOT NULL,
            document BLOB NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE container_volumes (
            container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
            volume TEXT NOT NULL REFERENCES volumes (name),
            PRIMARY KEY (container, volume)
        ) WITHOUT ROWID""",
        "CREATE INDEX container_volumes_by_volume ON container_volumes (volume)",
    ),
    (
        """CREATE TABLE networks (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            created INTEGER NOT NULL,
            document BLOB NOT NULL
        ) WITHOUT ROWID""",
    ),
    (
        # packed forms of a layer that are known; recipe: how this package made it, empty for what others made
        """CREATE TABLE packed_layers (
            diff_id TEXT NOT NULL REFERENCES layers (diff_id) ON DELETE CASCADE,
            digest TEXT NOT NULL,
            size INTEGER NOT NULL,
            media_type TEXT NOT NULL,
            recipe TEXT NOT NULL,
            seen INTEGER NOT NULL,
            PRIMARY KEY (diff_id, digest)
        ) WITHOUT ROWID""",
        "CREATE INDEX packed_layers_by_digest ON packed_layers (digest)",
        # repositories that have a blob
        """CREATE TABLE blob_places (
            digest TEXT NOT NULL,
            registry TEXT NOT NULL,
            repository TEXT NOT NULL,
            seen INTEGER NOT NULL,
            PRIMARY KEY (digest, registry, repository)
        ) WITHOUT ROWID""",
        """CREATE TRIGGER blob_places_end AFTER DELETE ON packed_layers BEGIN
            DELETE FROM blob_places WHERE digest = OLD.digest
            AND NOT EXISTS (SELECT 1 FROM packed_layers WHERE digest = OLD.digest);
        END""",
        # manifests that an image came with or was pushed as, byte for byte
        """CREATE TABLE image_manifests (
            image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
            digest TEXT NOT NULL,
            media_type TEXT NOT NULL,
            document BLOB NOT NULL,
            seen INTEGER NOT NULL,
            PRIMARY KEY (image, digest)
        )""",
        # manifest lists that are being put together
        "CREATE TABLE manifest_lists (reference TEXT PRIMARY KEY, document BLOB NOT NULL)",
    ),
)

#: The version this package writes.
VERSION = len(SCRIPTS)
