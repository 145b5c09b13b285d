"""What holds for every test."""

from hypothesis import HealthCheck, settings

# How long an example takes says what else the machine does: no test asserts it, and Hypothesis is not to either.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")
