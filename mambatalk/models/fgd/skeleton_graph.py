"""The skeleton as a graph of bones: which bones are neighbours, and how they are pooled.

A bone is an edge (parent, child). The root has a bone of its own, which ends at a joint that does
not exist. Source: skeleton-aware networks (Aberman et al. 2020), as the published FGD encoder uses
them.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Bone = tuple[int, int]


def bones_of(parents: Sequence[int]) -> list[Bone]:
    """Return one bone per joint of a kinematic tree, the root's first."""
    root = (0, len(parents))
    return [root, *((parent, joint) for joint, parent in enumerate(parents) if joint)]


def neighbours(bones: Sequence[Bone], distance: int = 2) -> NDArray[np.bool_]:
    """Return which bones (n, n) are at most `distance` shared joints apart, themselves included."""
    touch = [[not {*one}.isdisjoint(other) for other in bones] for one in bones]
    return np.linalg.matrix_power(np.array(touch, np.int64), distance) > 0


def pool(bones: Sequence[Bone]) -> tuple[list[Bone], list[tuple[int, ...]]]:
    """Merge pairs of bones along every unbranched chain.

    A chain of odd length keeps its first bone.

    Returns:
        The pooled bones, and for each of them the indices of the bones that it replaces.

    """
    groups = [group for chain in _chains(bones) for group in _pairs(chain)]
    pooled = [(bones[group[0]][0], bones[group[-1]][1]) for group in groups]
    return pooled, groups


def _chains(bones: Sequence[Bone]) -> list[list[int]]:
    """Return the chains of bones between root, branchings and leaves, depth first."""
    degree = Counter(joint for bone in bones for joint in bone)
    children: dict[int, list[int]] = {}
    for index, (start, _) in enumerate(bones):
        children.setdefault(start, []).append(index)
    chains: list[list[int]] = []

    def walk(index: int, chain: list[int]) -> None:
        chain.append(index)
        end = bones[index][1]
        following = children.get(end, [])
        if degree[end] == 2:
            walk(following[0], chain)
            return
        chains.append(chain)
        for child in following:
            walk(child, [])

    for index in children[0]:
        walk(index, [])
    return chains


def _pairs(chain: Sequence[int]) -> list[tuple[int, ...]]:
    """Group a chain in pairs; in a chain of odd length the first bone stays alone."""
    odd = len(chain) % 2
    return [tuple(chain[:1])] * odd + [tuple(chain[k : k + 2]) for k in range(odd, len(chain), 2)]
