"""The costs that attention="auto" goes by: what they say, how they are measured, what ships."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from yosort import YosoConfig
from yosort.tuning import costs
from yosort.tuning.costs import DEFAULT_COSTS, Costs, measure_costs


@pytest.mark.parametrize(("num_hash", "bits"), [(1, 1), (8, 4), (64, 8), (32, 9), (256, 16)])
def test_sampling_starts_where_it_is_the_cheaper_form(num_hash: int, bits: int) -> None:
    for prices in (DEFAULT_COSTS, Costs(pair=0.5, token=0.25, bucket=2.0)):
        config = YosoConfig(hash_code_len=bits)
        found = prices.sampled_from(config, num_hash)

        def dearer(n: int, prices: Costs = prices) -> bool:
            sampled = num_hash * (prices.token * n + prices.bucket * 2**bits)
            return prices.pair * n**2 < sampled

        assert dearer(found - 1)
        assert not dearer(found)


def test_the_shipped_bounds_are_the_documented_ones() -> None:
    assert DEFAULT_COSTS.sampled_from(YosoConfig(hash_code_len=8), 64) == 530
    assert DEFAULT_COSTS.sampled_from(YosoConfig(hash_code_len=9), 32) == 327


class _Priced:
    """A backend that does nothing, and takes as long as given costs say, by its own clock.

    As on a device, a call returns at once: the time passes when its result is asked for. A first
    call of each form and length takes a second more, and some later ones take longer than others.
    """

    def __init__(self, prices: Costs) -> None:
        self.prices, self.now, self.calls = prices, 0.0, 0
        self.seen: set[tuple[str, int]] = set()

    def clock(self) -> float:
        return self.now

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        yield

    def parameter(self, rows: Any) -> Any:
        return rows

    def layout(self, layout: Any) -> Any:
        return layout

    def hash_functions(self, functions: Any) -> Any:
        return functions

    def attention(
        self, q: Any, k: Any, v: Any, layout: Any, functions: Any
    ) -> tuple[str, int, float]:
        n, width = q.shape
        assert k.shape == v.shape == q.shape
        assert layout.offsets.tolist() == layout.query_offsets.tolist() == [0, n]
        if not layout.sampled.all():
            return "exact", n, self.prices.pair * n**2 * width
        per_function = self.prices.token * n + self.prices.bucket * 2**layout.hash_code_len
        return "sampled", n, functions.num_hash * per_function * width

    def to_host(self, result: tuple[str, int, float]) -> None:
        form, n, nanoseconds = result
        self.now += nanoseconds * 1e-9 + ((form, n) not in self.seen)
        self.seen.add((form, n))
        self.calls += 1
        if self.calls % 3 == 0:
            self.now += nanoseconds * 1e-9


def test_measured_costs_are_those_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    ops: Any = _Priced(Costs(pair=0.5, token=3.0, bucket=0.125))
    monkeypatch.setattr(costs.time, "perf_counter", ops.clock)
    config = YosoConfig(hidden_size=64, num_attention_heads=4, hash_code_len=6)
    functions: Any = SimpleNamespace(num_hash=16)
    found = measure_costs(ops, config, functions, lengths=(10, 40, 90), rounds=2)
    np.testing.assert_allclose(
        [found.pair, found.token, found.bucket], [0.5, 3.0, 0.125], rtol=1e-9
    )
    # Two forms, three lengths, two rounds and one more to warm up.
    assert ops.calls == 2 * 3 * 3


def test_noise_makes_no_cost_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    ops: Any = _Priced(Costs(pair=0.5, token=3.0, bucket=-1.0))
    monkeypatch.setattr(costs.time, "perf_counter", ops.clock)
    config = YosoConfig(hidden_size=64, num_attention_heads=4, hash_code_len=2)
    functions: Any = SimpleNamespace(num_hash=16)
    found = measure_costs(ops, config, functions, lengths=(10, 40), rounds=2)
    assert found.bucket == 1e-6
    assert found.token == pytest.approx(3.0)


def test_both_forms_are_timed_at_short_and_at_long_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless told: the fastest of five rounds, from where the expectation is cheap to where not."""
    ops: Any = _Priced(Costs(pair=0.5, token=3.0, bucket=0.125))
    monkeypatch.setattr(costs.time, "perf_counter", ops.clock)
    config = YosoConfig(hidden_size=64, num_attention_heads=4, hash_code_len=6)
    found = measure_costs(ops, config, SimpleNamespace(num_hash=16))  # type: ignore[arg-type]
    assert found.token == pytest.approx(3.0)
    assert sorted(ops.seen) == sorted(
        (form, n) for form in ("exact", "sampled") for n in (128, 256, 512, 1024)
    )
    assert ops.calls == 2 * 4 * (5 + 1)
