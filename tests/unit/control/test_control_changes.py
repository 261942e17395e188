"""What differs between two settings trees."""

from pydantic import BaseModel, SecretStr

from seawall.control.changes import changed_keys, restart_keys


class Pool(BaseModel):
    instances: tuple[str, ...] = ()
    secret: SecretStr = SecretStr("")


class Tree(BaseModel):
    pools: dict[str, Pool] = {}
    workers: int = 0


def test_equal_trees_have_no_changes():
    assert changed_keys(Tree(pools={"a": Pool(instances=("x",))}), Tree(pools={"a": Pool(instances=("x",))})) == []


def test_changes_are_named_by_path_sorted_and_without_values():
    before = Tree(pools={"a": Pool(secret=SecretStr("one")), "b": Pool(), "c": Pool()})
    after = Tree(pools={"a": Pool(secret=SecretStr("two")), "b": Pool(instances=("x",)), "d": Pool()}, workers=2)
    assert changed_keys(before, after) == ["pools.a.secret", "pools.b.instances", "pools.c", "pools.d", "workers"]


def test_what_decides_about_sockets_processes_and_the_store_waits_for_a_restart():
    keys = ["admin.listen", "balancing.strategy", "gateway.listen", "gateway.via", "state.url", "gateway.workers"]
    assert restart_keys(keys) == ["admin.listen", "gateway.listen", "state.url", "gateway.workers"]
    assert restart_keys(["administration", "gateway.listeners"]) == []
