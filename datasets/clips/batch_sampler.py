"""Draw batches for metric learning: several tracklets of each of several identities."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from torch.utils.data import Sampler

from utils.mistake import Mistake
from utils.unknown import UNKNOWN

from .clip_dataset import ClipRequest


@dataclass(eq=False)
class IdentityBatchSampler(Sampler[list[ClipRequest]]):
    """Batches of P distinct identities with K tracklets each.

    In an epoch, the tracklets of an identity are shuffled and cut into groups of K; tracklets that are left over are
    not drawn in this epoch. An identity with fewer than K tracklets has one group, in which they repeat as evenly as
    possible. Every identity is drawn at least once: all identities, in random order, are cut into batches, and the last
    batch is filled up with others. The remaining groups are then drawn while P identities have one left; identities
    with more groups are more likely to be drawn. Finally, all batches are shuffled.

    On request, the views (``both_views``) and the altitudes of aerial tracklets (``balance_altitudes``) of a group are
    balanced. Balance does not repeat a tracklet more often: with n tracklets, each is in a group K / n times, rounded
    up or down. Within this limit, a group has equally many aerial and ground tracklets, and the altitudes are as even
    as possible; unknown ones count as one altitude. Groups may share tracklets; those drawn least come first.

    After ``prefer_neighbours``, the first identity of a batch is drawn as above, and the others are those most similar
    to it among those that could be drawn.

    The batches depend on the seed and epoch alone: each of several processes draws them all and takes its slice of
    every batch. A batch may be returned in several parts, one after another, each of which holds whole identities.

    ``pids``, ``views`` and ``altitudes`` are those of all items; ``batch_size`` is P * K, ``num_instances`` K.
    """

    pids: Sequence[int]
    batch_size: int
    num_instances: int
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    views: Sequence[str] = ()
    altitudes: Sequence[int | None] = ()
    both_views: bool = False
    balance_altitudes: bool = False
    num_parts: int = 1

    def __post_init__(self) -> None:
        self.identities_per_batch = self.batch_size // self.num_instances
        self._part_size = self.batch_size // self.num_parts
        self._is_aerial = np.array([view == "aerial" for view in self.views], dtype=bool)
        self._levels = np.zeros(len(self.pids))  # altitudes to balance within a view; all equal if they are not
        if self.balance_altitudes:
            known = np.array([UNKNOWN if altitude is None else altitude for altitude in self.altitudes])
            self._levels[self._is_aerial] = known[self._is_aerial]
        labels = np.asarray(self.pids)
        self._items = [np.flatnonzero(labels == label) for label in np.unique(labels)]  # of each identity
        self._similarity: np.ndarray | None = None  # of each pair of identities
        self._check_batch_size()
        self.set_epoch(0)

    def _check_batch_size(self) -> None:
        """Refuse a batch with more identities than there are, or that the processes cannot share out equally."""
        size, num_people = self._part_size, len(self._items)
        if size % self.world_size:
            keys = "SOLVER.STAGE2.IMS_PER_BATCH / SOLVER.STAGE2.ACCUMULATION_STEPS"
            raise Mistake(f"{keys} ({size}) clips cannot be shared out equally among {self.world_size} processes.")
        if num_people >= self.identities_per_batch:
            return
        if num_people < 2:  # a batch of one identity has no negatives; the configuration refuses it
            raise Mistake(f"Training needs at least two people, but the training set has {num_people}.")
        raise Mistake(
            f"SOLVER.STAGE2.IMS_PER_BATCH ({self.batch_size}) / DATALOADER.NUM_INSTANCE ({self.num_instances}) = "
            f"{self.identities_per_batch} identities a batch, but training has only {num_people}: lower "
            f"SOLVER.STAGE2.IMS_PER_BATCH to at most {num_people * self.num_instances}."
        )

    def prefer_neighbours(self, features: np.ndarray) -> None:
        """Fill batches with similar identities from the next ``set_epoch`` on; ``features`` are (identities, width).

        Their order is that of ascending pids.
        """
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        self._similarity = unit @ unit.T

    def set_epoch(self, epoch: int, done: int = 0) -> None:
        """Choose the epoch whose batches the next iteration returns, without the first ``done`` batches (parts)."""
        self.done = done
        self._draws = self._draw_items(np.random.default_rng(np.random.SeedSequence([self.seed, epoch])))
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches (parts) of the epoch, with those that the iteration leaves out."""
        return len(self._draws) // self._part_size

    def __iter__(self) -> Iterator[list[ClipRequest]]:
        epoch, draws = self.epoch, self._draws
        size = self._part_size // self.world_size
        for part in range(self.done, len(self)):
            start = part * self._part_size + self.rank * size
            items = draws[start : start + size].tolist()
            yield [ClipRequest(item, epoch, place) for place, item in enumerate(items, start)]

    def _draw_items(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the items of all batches of an epoch, one batch behind the other."""
        P = self.identities_per_batch
        groups = [self._make_groups(items, rng) for items in self._items]
        num_left = np.array([len(of_identity) for of_identity in groups])

        def unused_first(identities: np.ndarray) -> np.ndarray:
            shuffled = rng.permutation(identities)
            return shuffled[np.argsort(num_left[shuffled] == 0, kind="stable")]

        def take_group(identity: int) -> np.ndarray:
            if not num_left[identity]:  # fills up a batch with an identity whose groups have all been drawn
                return self._make_groups(self._items[identity], rng)[0]
            num_left[identity] -= 1
            return groups[identity][num_left[identity]]

        def with_neighbours(first: int, others: np.ndarray) -> np.ndarray:
            similarity = cast(np.ndarray, self._similarity)[first, others]
            return np.append(first, others[np.argsort(-similarity, kind="stable")[: P - 1]])

        batches = []
        order, waiting = rng.permutation(len(groups)), np.empty(0, dtype=np.int64)
        while len(order):
            chosen = order[:P] if self._similarity is None else with_neighbours(order[0], order[1:])
            if len(chosen) < P:
                chosen = np.concatenate([chosen, unused_first(waiting)[: P - len(chosen)]])
            order, waiting = order[~np.isin(order, chosen)], np.append(waiting, chosen)
            batches.append(np.concatenate([take_group(identity) for identity in chosen]))
        while np.count_nonzero(num_left) >= P:
            chosen = rng.choice(len(groups), size=P, replace=False, p=num_left / num_left.sum())
            if self._similarity is not None:
                chosen = with_neighbours(chosen[0], np.setdiff1d(np.flatnonzero(num_left), chosen[:1]))
            batches.append(np.concatenate([take_group(identity) for identity in chosen]))
        return np.concatenate([batches[i] for i in rng.permutation(len(batches))])

    def _make_groups(self, items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw random groups of an identity's items, (num_groups, K); disjoint without balance and with K items."""
        K = self.num_instances
        num_rounds = -(-K // len(items))
        shuffled = np.concatenate([rng.permutation(items) for _ in range(num_rounds)])
        num_groups = max(1, len(items) // K)
        groups = shuffled[: num_groups * K].reshape(num_groups, K)
        if not (self.both_views or self.balance_altitudes):
            return groups
        num_aerial = self._is_aerial[groups].sum(axis=1)
        if self.both_views:
            num_aerial = self._balanced_num_aerial(items, num_groups, rng)
        num_uses = np.zeros(len(items), dtype=np.int64)
        return np.stack([self._balanced_group(items, number, num_uses, rng) for number in num_aerial])

    def _balanced_num_aerial(self, items: np.ndarray, num_groups: int, rng: np.random.Generator) -> np.ndarray:
        """Return how many items of each group are aerial, (num_groups,): half of K, or as close as repeats allow."""
        K = self.num_instances
        fewest, most = K // len(items), -(-K // len(items))  # copies of an item in a group
        num_aerial = self._is_aerial[items].sum()
        num_ground = len(items) - num_aerial
        half = K // 2 + rng.integers(1 + K % 2, size=num_groups)  # with an odd K, a random side has one more
        low = max(num_aerial * fewest, K - num_ground * most)
        high = min(num_aerial * most, K - num_ground * fewest)
        return np.clip(half, low, high)

    def _balanced_group(
        self, items: np.ndarray, num_aerial: int, num_uses: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw K items, ``num_aerial`` of them aerial, and add them to ``num_uses``, the draws of each item so far."""
        repeats = self.num_instances // len(items)
        is_aerial = self._is_aerial[items]
        times = np.full(len(items), repeats)  # copies of each item in the group
        for side, number in ((is_aerial, num_aerial), (~is_aerial, self.num_instances - num_aerial)):
            (places,) = np.nonzero(side)
            order = _order_evenly(self._levels[items[places]], num_uses[places], repeats, rng)
            times[places[order[: number - repeats * len(places)]]] += 1
        num_uses += times
        return rng.permutation(np.repeat(items, times))


def _order_evenly(levels: np.ndarray, num_uses: np.ndarray, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """Order items so that the first m of them have levels that are as even as possible, for every m.

    Within a level, items with fewer draws so far, ``num_uses``, come first; among levels that are equally frequent,
    those with fewer. ``repeats`` copies of every item are already in the group.
    """
    _, level, sizes = np.unique(levels, return_inverse=True, return_counts=True)
    by_level = np.lexsort((rng.random(len(level)), num_uses, level))
    counts = np.empty_like(level)  # items of the same level, up to and including this one
    counts[by_level] = np.arange(len(level)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    counts += repeats * sizes[level]
    level_uses = np.bincount(level, weights=num_uses)
    return np.lexsort((rng.random(len(sizes))[level], level_uses[level], counts))
