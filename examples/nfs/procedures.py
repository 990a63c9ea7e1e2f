"""`Procedures`: what the procedures of NFS have in common. They open the objects of handles, and answer errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from handlers import Delay

from . import nfs3 as x
from .errors import NFSError, status_of
from .listing import Listings
from .tree import Lost, Node

if TYPE_CHECKING:
    from .handles import Identity
    from .tree import Tree

TRANSFER = 1 << 17
"""Bytes that one READ gives and one WRITE should have: work on the disk is done in the loop, and this bounds it.

More is slower: at this size, buffers stay in the cache of the processor, and malloc(3) need not map new pages for each.
"""


class Export:
    """What a server exports: a tree, and what its procedures remember from one call to the next."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.listings = Listings(tree)
        self.verifier = os.urandom(8)
        """Of what was written and not committed (RFC 1813, section 3.3.7): another one says that it may be lost."""

    @contextmanager
    def syncing(self) -> Iterator[None]:
        """If what is done meanwhile fails, the system may have dropped what it could not write (fsync(2)).

        Clients must write again what they have not committed.
        """
        try:
            yield
        except OSError:
            self.verifier = os.urandom(8)
            raise


class Procedures(x.NFS_V3):
    """Has what `reading` and `writing` need. The attribute ``export`` of the server is an `Export`."""

    @property
    def export(self) -> Export:
        """What the server exports."""
        export: Export = self.server.export
        return export

    @property
    def tree(self) -> Tree:
        """The exported directory."""
        return self.export.tree

    def act(
        self,
        result: Callable[[x.nfsstat3, Any], Any],
        handles: list[x.nfs_fh3],
        work: Callable[..., Any],
        failure: Callable[..., Any],
    ) -> Any:
        """Open the objects of the handles, and answer with what ``work`` returns for them.

        If it fails, the answer is what ``failure`` returns for the objects; None in the place of one that could not be
        opened. An object that is not where it was is searched for, while other calls go on.
        """
        again = partial(self.act, result, handles, work, failure)
        with ExitStack() as stack:
            nodes: list[Node | None] = [None] * len(handles)
            try:
                for index, handle in enumerate(handles):
                    nodes[index] = stack.enter_context(closing(self.tree.open(handle.data)))
                return result(x.nfsstat3.NFS3_OK, work(*nodes))
            except Lost as lost:
                return Delay(0), partial(self._search, self.tree.search(lost.identity), again)
            except (NFSError, OSError) as error:
                return result(status_of(error), failure(*nodes))

    def _search(self, search: Iterator[None], again: Callable[[], Any], _: object) -> Any:
        """One step of a search, and the next one when others have had their turn; at its end the call is made."""
        for _step in search:
            return Delay(0), partial(self._search, search, again)
        return again()

    def handle_of(self, which: Identity) -> x.nfs_fh3:
        """The handle of the object."""
        return x.nfs_fh3(self.tree.handles.write(which))
