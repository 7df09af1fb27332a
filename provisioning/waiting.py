"""Messages that have arrived and wait for their turn. Pure.

A device that has no answer asks again, and in a fleet that was switched on together all do. "Accepted" is an answer to all that it
has asked, so what else it has asked until then need not be handled: else a long queue would make itself longer. A rejection is
none: whoever has the same claim may ask nonsense in another's name, and must not keep the real question from being heard.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Waiting(Generic[Item]):
    """A queue from which all that is about the same can be taken out.

    Attributes:
        came: How many have come so far.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[int, tuple[str, Item]] = OrderedDict()
        self._about: defaultdict[str, set[int]] = defaultdict(set)
        self.came = 0

    def __len__(self) -> int:
        return len(self._held)

    def put(self, about: str, item: Item) -> None:
        """Another one has come, about this."""
        self.came += 1
        self._held[self.came] = (about, item)
        self._about[about].add(self.came)

    def take(self) -> Item:
        """The one that has waited longest. Raises KeyError when there is none."""
        number, (about, item) = self._held.popitem(last=False)
        self._forget(about, {number})
        return item

    def take_all(self, about: str) -> list[Item]:
        """All that are about this, in the order in which they came."""
        numbers = sorted(self._about.get(about, ()))
        self._forget(about, set(numbers))
        return [self._held.pop(number)[1] for number in numbers]

    def clear(self) -> None:
        """Forget all of them."""
        self._held.clear()
        self._about.clear()

    def _forget(self, about: str, numbers: set[int]) -> None:
        self._about[about] -= numbers
        if not self._about[about]:
            del self._about[about]
