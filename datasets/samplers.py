"""Batches for metric learning: several tracklets of each of several identities."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from datasets.clips import Draw


class IdentityBatchSampler(Sampler[list[Draw]]):
    """Batches of P distinct identities with K tracklets each.

    In an epoch, the tracklets of an identity are shuffled and cut in groups of K; what is left over waits for
    another epoch. An identity with fewer than K tracklets gives one group, in which they repeat as evenly as
    possible. Every identity comes at least once: a random order of all is cut in batches, of which the last
    is filled up with others. The remaining groups are then drawn as long as P identities have one, those with
    more groups being likelier, and all batches are shuffled.

    The list of batches depends on the seed and epoch alone. Process ``rank`` of ``world_size`` takes every
    ``world_size``-th of them from ``rank`` on; up to ``world_size - 1`` at the end are left out, so that all
    processes take the same number.

    Args:
        pids: Identity (or label) of each item, in the order of the dataset.
        batch_size: Items of a batch, per process: P * K.
        num_instances: Tracklets of each identity in a batch, K.
        seed: Of all random choices, with the epoch.
        rank: Number of this process.
        world_size: Number of processes.
    Raises:
        ValueError: If ``batch_size`` is not a multiple of K, if there are fewer than P identities, or if an
            epoch has fewer batches than there are processes.
    """

    def __init__(
        self,
        pids: Sequence[int],
        batch_size: int,
        num_instances: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1 or num_instances < 1 or batch_size % num_instances:
            raise ValueError(
                "SOLVER.STAGE2.IMS_PER_BATCH must be a positive multiple of DATALOADER.NUM_INSTANCE "
                f"({num_instances}), got {batch_size}."
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in 0..{world_size - 1} (world_size - 1), got {rank}.")
        self.batch_size = batch_size
        self.num_instances = num_instances
        self.identities_per_batch = batch_size // num_instances
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        pids = np.asarray(pids)
        self._items = [np.flatnonzero(pids == pid) for pid in np.unique(pids)]  # of each identity
        if len(self._items) < self.identities_per_batch:
            raise ValueError(
                f"SOLVER.STAGE2.IMS_PER_BATCH ({batch_size}) / DATALOADER.NUM_INSTANCE ({num_instances}) = "
                f"{self.identities_per_batch} identities a batch, but training has only {len(self._items)}."
            )
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        batches = self._make_batches(np.random.default_rng(np.random.SeedSequence([self.seed, epoch])))
        if len(batches) < self.world_size:
            raise ValueError(
                f"An epoch has {len(batches)} batch(es) of SOLVER.STAGE2.IMS_PER_BATCH ({self.batch_size}), "
                f"too few for {self.world_size} processes."
            )
        self.epoch = epoch
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches) // self.world_size

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch, batches = self.epoch, self._batches
        for number in range(self.rank, len(self) * self.world_size, self.world_size):
            first = number * self.batch_size
            yield [Draw(int(item), epoch, first + offset) for offset, item in enumerate(batches[number])]

    def _make_batches(self, rng: np.random.Generator) -> list[np.ndarray]:
        P = self.identities_per_batch
        groups = [self._make_groups(items, rng) for items in self._items]
        num_left = np.array([len(of_identity) for of_identity in groups])

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
                others = rng.permutation(order[:start])
                others = others[np.argsort(num_left[others] == 0, kind="stable")]  # unused groups first
                chosen = np.concatenate([chosen, others[: P - len(chosen)]])
            batches.append(np.concatenate([take(identity) for identity in chosen]))
        while np.count_nonzero(num_left) >= P:
            chosen = rng.choice(len(groups), size=P, replace=False, p=num_left / num_left.sum())
            batches.append(np.concatenate([take(identity) for identity in chosen]))
        return [batches[i] for i in rng.permutation(len(batches))]

    def _make_groups(self, items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Disjoint random groups of an identity's items, (num_groups, K), or one group with repetitions."""
        K = self.num_instances
        num_rounds = -(-K // len(items))
        shuffled = np.concatenate([rng.permutation(items) for _ in range(num_rounds)])
        num_groups = max(1, len(items) // K)
        return shuffled[: num_groups * K].reshape(num_groups, K)
