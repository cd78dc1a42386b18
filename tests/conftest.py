"""Settings of the whole test run."""

import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

# A shell's job in the background ignores Ctrl-C, and so would the commands that tests start and
# interrupt: what a process ignores, its children ignore.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine must not fail a property: examples are limited by number, not by time.
settings.register_profile(
    "yosort",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("yosort")


@pytest.fixture
def patience() -> dict[str, str]:
    """The environment of an engine's job on a busy machine, where workers take minutes to start."""
    return {
        **os.environ,
        "RAY_raylet_start_wait_time_s": "600",
        "RAY_agent_register_timeout_ms": "600000",
        "RAY_gcs_server_request_timeout_seconds": "300",
        "PYSPARK_PYTHON": sys.executable,
    }
