"""An LMDB that is written once, in the order of the calls, and grows by itself."""

from pathlib import Path

import lmdb

COMMIT_BYTES = 64 << 20  # LMDB keeps a transaction's pages in memory
FIRST_ROOM = 16 << 20
PAGE = 4096


class GrowingLMDB:
    """A new LMDB in an empty folder, for one writer and no reader; the same puts give the same bytes.

    The map grows between transactions: while one is open it cannot, and what it holds would be lost.
    Nothing is forced to the disk before the end: the folder is worth nothing until it is whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.room = FIRST_ROOM
        # No lock file: there is one writer. Zeroed pages (meminit, the default) make the bytes repeatable.
        self.environment = lmdb.open(str(folder), map_size=self.room, lock=False, sync=False)
        self.transaction = None
        self.waiting = 0

    def put(self, key: str, value: bytes | memoryview) -> None:
        """Add an entry; raises lmdb.Error where the disk is full."""
        if self.transaction is not None and self.waiting + len(value) > COMMIT_BYTES:
            self._commit()
        if self.transaction is None:
            self._begin(len(value))
        if not self.transaction.put(key.encode(), value, overwrite=False):
            raise KeyError(f"two records have the key {key}")
        self.waiting += len(value)

    def _begin(self, first: int) -> None:
        pages = self.environment.info()["last_pgno"] + 1
        # A value takes whole pages, at most twice its size, and the tree above it a few more.
        needed = pages * PAGE + 2 * (COMMIT_BYTES + first) + FIRST_ROOM
        if needed > self.room:
            self.room = 1 << (needed - 1).bit_length()
            self.environment.set_mapsize(self.room)
        self.transaction = self.environment.begin(write=True)

    def _commit(self) -> None:
        transaction, self.transaction, self.waiting = self.transaction, None, 0
        transaction.commit()

    def __enter__(self) -> "GrowingLMDB":
        """Return itself."""
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        """Bring everything to the disk; after an error, close what there is."""
        try:
            if kind is None:
                if self.transaction is not None:
                    self._commit()
                self.environment.sync(True)
            elif self.transaction is not None:
                self.transaction.abort()
        finally:
            self.environment.close()


def file_size(records: int, value_bytes: float) -> int:
    """Return the size in bytes of an LMDB of `records` values of `value_bytes` each (2 kB or more)."""
    pages = -(-(value_bytes + 16) // PAGE)  # 16: the header of a run of pages
    return int((records * pages + records // 40 + 4) * PAGE)  # leaves hold 40 keys or more
