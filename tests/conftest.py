"""Settings of the whole test run."""

from hypothesis import HealthCheck, settings

# A busy machine must not fail a property: examples are limited by number, not by time.
settings.register_profile(
    "yosort",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("yosort")
