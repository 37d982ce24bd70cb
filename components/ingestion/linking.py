"""Uniting groups that overlap."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item", bound=Any)  # hashable, and with an order


def linked(groups: Iterable[Sequence[Item]]) -> list[list[Item]]:
    """Returns `groups` with all that share an item united; each one sorted, without repeats."""
    parent: dict[Item, Item] = {}

    def root(item: Item) -> Item:
        while parent[item] != item:
            parent[item] = parent[parent[item]]  # shortens the way for the next
            item = parent[item]
        return item

    for group in groups:
        for item in group:
            parent.setdefault(item, item)
            parent[root(item)] = root(group[0])
    united: dict[Item, list[Item]] = {}
    for item in parent:
        united.setdefault(root(item), []).append(item)
    return [sorted(members) for members in united.values()]
