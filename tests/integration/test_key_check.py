"""A store knows the key of its ids again; in the real engine."""

import pytest

from enricher.subscribers import key_check
from sinks.embedded import EmbeddedStore
from sinks.rekey import OtherKey, agree_on_key, change_under_way, key_in_force, refuse_half_changed

OLD, NEW = b"the old key of the tests, 32 long", b"the new key of the tests, 32 long"


def test_the_first_key_is_remembered_and_another_refused(fresh_store: EmbeddedStore) -> None:
    agree_on_key(fresh_store, key_check(NEW), remember=False)
    assert key_in_force(fresh_store) == ""
    agree_on_key(fresh_store, key_check(OLD))
    agree_on_key(fresh_store, key_check(OLD))
    with pytest.raises(OtherKey, match=r"set enricher.key, or restore state/subscriber.key") as refused:
        agree_on_key(fresh_store, key_check(NEW))
    assert OLD.decode() not in str(refused.value) and NEW.decode() not in str(refused.value)
    assert fresh_store.query("SELECT count() AS n FROM setting WHERE name = 'key_check'").to_pylist() == [{"n": 1}]


def test_a_store_without_tables_has_no_key(empty_store: EmbeddedStore) -> None:
    assert key_in_force(empty_store) == "" and change_under_way(empty_store) is None
    refuse_half_changed(empty_store)
