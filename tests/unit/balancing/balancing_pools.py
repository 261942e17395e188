"""Engines over one pool, on a clock that the test moves."""

import random

from seawall.core.request import Request
from seawall.systems.balancing.counters import Instance, Pool
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.model import BalancingSnapshot, InstanceSnapshot, PoolSnapshot


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def member(name, **fields):
    return InstanceSnapshot(id=name, url=fields.pop("url", f"http://{name}:80"), **fields)


def members(count, **fields):
    return tuple(member(f"i{number}", **fields) for number in range(count))


def one_pool(instances, version=1, routes=(), **fields):
    return BalancingSnapshot(
        version=version, pools=(PoolSnapshot(name="p", instances=tuple(instances), **fields),), routes=routes
    )


class Rig:
    """An engine with one pool `p`."""

    def __init__(self, instances=(), *, seed=1, geo=None, **fields) -> None:
        self.clock = Hand()
        self.engine = BalancingEngine(self.clock, random.Random(seed), geo)
        self.fields = fields
        self.version = 0
        self.apply(instances)

    def apply(self, instances, **fields) -> None:
        self.fields.update(fields)
        self.version += 1
        self.engine.apply(one_pool(instances, self.version, **self.fields))

    @property
    def pool(self) -> Pool:
        return self.engine.pools["p"]

    def instance(self, name) -> Instance:
        return self.pool.by_id[name]

    def pick(self, request=None, tried=()):
        return self.engine.pick(self.pool, request or get(), tried)

    def picks(self, count, request=None):
        return [self.pick(request).id for _ in range(count)]


def get(*headers, peer="192.0.2.1", method="GET", target=b"/", host=b"example.org"):
    return Request(method, target, headers, host=host, peer=peer)
