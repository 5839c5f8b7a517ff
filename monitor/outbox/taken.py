"""Mark messages as delivered, many in one transaction."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from uuid import UUID

from monitor.store.database import Database
from monitor.store.incidents import outbox


@dataclass(slots=True, eq=False)
class _Note:
    message: UUID
    written: bool = False


@dataclass(slots=True)
class Taken:
    """A group commit for the sending threads; each waits until its own mark is durable.

    While one thread commits, the others' notes gather, and the next thread writes them all. So a
    fast receiver costs one commit for many messages, and a slow one no waiting.
    """

    database: Database
    _notes: list[_Note] = field(default_factory=list)
    _gathering: threading.Lock = field(default_factory=threading.Lock)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def note(self, message: UUID) -> None:
        """Return once the database has stored that the message was delivered.

        Raises what the database raises. Another thread may still store this note then; storing it
        again changes nothing.
        """
        mine = _Note(message)
        with self._gathering:
            self._notes.append(mine)
        with self._writing:
            if not mine.written:
                self._write()

    def _write(self) -> None:
        with self._gathering:
            notes, self._notes = self._notes, []
        try:
            messages = [note.message for note in notes]
            self.database.run(lambda tx: outbox.mark_delivered(tx, *messages))
        except BaseException:
            with self._gathering:  # the others' notes stay, and each thread retries its own
                self._notes += notes
            raise
        for note in notes:
            note.written = True
