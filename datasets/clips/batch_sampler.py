"""Batches for metric learning: several tracklets of each of several identities."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from ..tracklet import VIEWS
from .clip_dataset import ClipRequest


class IdentityBatchSampler(Sampler[list[ClipRequest]]):
    """Batches of P distinct identities with K tracklets each.

    In an epoch, the tracklets of an identity are shuffled and cut in groups of K; what is left over waits for
    another epoch. An identity with fewer than K tracklets gives one group, in which they repeat as evenly as
    possible. Every identity comes at least once: a random order of all is cut in batches, of which the last
    is filled up with others. The remaining groups are then drawn as long as P identities have one, those with
    more groups being likelier, and all batches are shuffled.

    On request, the views and altitudes of a group are balanced. A tracklet is still never in a group more often
    than in one without balance: with n tracklets, K / n times, rounded up or down. Within that freedom, aerial and
    ground tracklets are as many as each other, and altitudes as even as possible. Groups may then share tracklets
    of a view or an altitude that has few; those drawn least in the epoch come first.

    The list of batches depends on the seed and epoch alone. Process ``rank`` of ``world_size`` takes every
    ``world_size``-th of them from ``rank`` on. Where the processes do not divide the batches, up to
    ``world_size - 1`` more follow at the end, so that all processes take the same number and no batch is lost.

    Args:
        pids: Identity (or label) of each item, in the order of the dataset.
        batch_size: Items of a batch, per process: P * K.
        num_instances: Tracklets of each identity in a batch, K.
        seed: Of all random choices, with the epoch.
        rank: Number of this process.
        world_size: Number of processes.
        views: 'ground' or 'aerial' for each item; needed for either balance.
        altitudes: Altitude of each item, of any unit; needed to balance altitudes. Aerial items with None count
            as one altitude; of ground items it is not looked at.
        both_views: Balance aerial and ground items in a group, with at least one of each, where the identity
            has both.
        balance_altitudes: Balance the altitudes among the aerial items of a group. How many are aerial is left
            to chance, or to ``both_views``.
    Raises:
        ValueError: If ``batch_size`` is not a multiple of K, if there are fewer than P identities, if an epoch
            has fewer batches than there are processes, or if views or altitudes do not suffice for the balance.
    """

    def __init__(
        self,
        pids: Sequence[int],
        batch_size: int,
        num_instances: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        views: Sequence[str] | None = None,
        altitudes: Sequence[int | None] | None = None,
        both_views: bool = False,
        balance_altitudes: bool = False,
    ) -> None:
        if batch_size < 1 or num_instances < 1 or batch_size % num_instances:
            raise ValueError(
                "SOLVER.STAGE2.IMS_PER_BATCH must be a positive multiple of DATALOADER.NUM_INSTANCE "
                f"({num_instances}), got {batch_size}."
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in 0..{world_size - 1} (world_size - 1), got {rank}.")
        if both_views and num_instances < 2:
            raise ValueError(
                "DATALOADER.BOTH_VIEWS needs a DATALOADER.NUM_INSTANCE of at least 2: one tracklet of each view."
            )
        if both_views or balance_altitudes:
            _check_views(views, len(pids))
        if balance_altitudes and len(altitudes if altitudes is not None else ()) != len(pids):
            raise ValueError(f"DATALOADER.BALANCE_ALTITUDES needs an altitude or None for each of {len(pids)} items.")
        self.batch_size = batch_size
        self.num_instances = num_instances
        self.identities_per_batch = batch_size // num_instances
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.both_views = both_views
        self.balance_altitudes = balance_altitudes
        self._is_aerial = np.array([view == "aerial" for view in views or ()], dtype=bool)
        self._levels = np.zeros(len(pids))  # what to even out within a view: all the same unless asked for
        if balance_altitudes:
            known = np.array([-1 if altitude is None else altitude for altitude in altitudes])
            self._levels[self._is_aerial] = known[self._is_aerial]
        pids = np.asarray(pids)
        self._items = [np.flatnonzero(pids == pid) for pid in np.unique(pids)]  # of each identity
        if len(self._items) < self.identities_per_batch:
            raise ValueError(
                f"SOLVER.STAGE2.IMS_PER_BATCH ({batch_size}) / DATALOADER.NUM_INSTANCE ({num_instances}) = "
                f"{self.identities_per_batch} identities a batch, but training has only {len(self._items)}: "
                f"lower SOLVER.STAGE2.IMS_PER_BATCH to at most {len(self._items) * num_instances}."
            )
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        self._batches = self._make_batches(np.random.default_rng(np.random.SeedSequence([self.seed, epoch])))
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._batches) // self.world_size

    def __iter__(self) -> Iterator[list[ClipRequest]]:
        epoch, batches = self.epoch, self._batches
        for number in range(self.rank, len(batches), self.world_size):
            first = number * self.batch_size
            yield [ClipRequest(int(item), epoch, first + offset) for offset, item in enumerate(batches[number])]

    def _make_batches(self, rng: np.random.Generator) -> list[np.ndarray]:
        P = self.identities_per_batch
        groups = [self._make_groups(items, rng) for items in self._items]
        num_left = np.array([len(of_identity) for of_identity in groups])

        def unused_first(identities: np.ndarray | int) -> np.ndarray:
            shuffled = rng.permutation(identities)
            return shuffled[np.argsort(num_left[shuffled] == 0, kind="stable")]

        def take(identity: int) -> np.ndarray:
            if not num_left[identity]:  # filling up a batch with an identity that has given all it has
                return self._make_groups(self._items[identity], rng)[0]
            num_left[identity] -= 1
            return groups[identity][num_left[identity]]

        batches = []
        order = rng.permutation(len(groups))
        for start in range(0, len(order), P):
            chosen = order[start : start + P]
            if len(chosen) < P:
                chosen = np.concatenate([chosen, unused_first(order[:start])[: P - len(chosen)]])
            batches.append(np.concatenate([take(identity) for identity in chosen]))
        while np.count_nonzero(num_left) >= P:
            chosen = rng.choice(len(groups), size=P, replace=False, p=num_left / num_left.sum())
            batches.append(np.concatenate([take(identity) for identity in chosen]))
        if len(batches) < self.world_size:
            raise ValueError(
                f"An epoch has {len(batches)} batch(es) of SOLVER.STAGE2.IMS_PER_BATCH ({self.batch_size}), "
                f"too few for {self.world_size} processes."
            )
        batches = [batches[i] for i in rng.permutation(len(batches))]
        for _ in range(-len(batches) % self.world_size):
            batches.append(np.concatenate([take(identity) for identity in unused_first(len(groups))[:P]]))
        return batches

    def _make_groups(self, items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Random groups of an identity's items, (num_groups, K): disjoint where nothing is balanced and K suffice."""
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
        """How many of each group are aerial, (num_groups,): half of K, or as near as all items even in number allow."""
        K = self.num_instances
        fewest, most = K // len(items), -(-K // len(items))  # times that an item is in a group
        num_aerial = self._is_aerial[items].sum()
        num_ground = len(items) - num_aerial
        half = K // 2 + rng.integers(1 + K % 2, size=num_groups)  # an odd K: either side has one more
        low = max(num_aerial * fewest, K - num_ground * most)
        high = min(num_aerial * most, K - num_ground * fewest)
        return np.clip(half, low, high)

    def _balanced_group(
        self, items: np.ndarray, num_aerial: int, num_uses: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """K items, ``num_aerial`` of them aerial; adds to ``num_uses``, how often each item has been drawn."""
        repeats = self.num_instances // len(items)
        is_aerial = self._is_aerial[items]
        times = np.full(len(items), repeats)  # that each item is in the group
        for side, number in ((is_aerial, num_aerial), (~is_aerial, self.num_instances - num_aerial)):
            (places,) = np.nonzero(side)
            order = _spread(self._levels[items[places]], num_uses[places], repeats, rng)
            times[places[order[: number - repeats * len(places)]]] += 1
        num_uses += times
        return rng.permutation(np.repeat(items, times))


def _spread(levels: np.ndarray, num_uses: np.ndarray, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """Order items so that however many are taken from the front, their levels are as even as possible.

    Args:
        levels: What to even out, (n,): any number for each item.
        num_uses: How often each item was drawn before, (n,): of a level the least drawn come first, and of equal
            levels the least drawn.
        repeats: How often every item counts already.
        rng: Decides what is still equal.
    Returns:
        Places of the items, (n,).
    """
    _, level, sizes = np.unique(levels, return_inverse=True, return_counts=True)
    by_level = np.lexsort((rng.random(len(level)), num_uses, level))
    counts = np.empty_like(level)  # of its level, with the item and those before it
    counts[by_level] = np.arange(len(level)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    counts += repeats * sizes[level]
    level_uses = np.bincount(level, weights=num_uses)
    return np.lexsort((rng.random(len(sizes))[level], level_uses[level], counts))


def _check_views(views: Sequence[str] | None, num_items: int) -> None:
    if views is None or len(views) != num_items or not set(views) <= set(VIEWS):
        raise ValueError(
            "DATALOADER.BOTH_VIEWS and DATALOADER.BALANCE_ALTITUDES need a view "
            f"({' or '.join(VIEWS)}) for each of {num_items} items."
        )
