"""Whose masks a data set holds."""

from __future__ import annotations

from segdino_deploy.errors import InputError
from segdino_deploy.manifest import HeadCard, ModelCard


def choose_head(card: ModelCard, name: str | None, has_masks: bool) -> HeadCard:
    """The head that masks score; the first where there are no masks. InputError: none named of several, unknown."""
    names = ", ".join(head.name for head in card.heads)
    if name is None:
        if has_masks and len(card.heads) > 1:
            raise InputError(f"--data: its masks belong to one head; name it with --head ({names})")
        return card.heads[0]
    if not has_masks:
        raise InputError(f"--head: {name!r} has no masks to be scored with; name a data set that has them with --data")
    for head in card.heads:
        if name == head.name:
            return head
    raise InputError(f"--head: {name!r} is none of this model's ({names or 'one head without a name'})")
