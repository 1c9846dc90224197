"""Hypothesis profiles: reproducible everywhere, slower searches on request (HYPOTHESIS_PROFILE=thorough)."""

import os

from hypothesis import HealthCheck, settings

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=100, suppress_health_check=_QUIET)
settings.register_profile("thorough", deadline=None, max_examples=2000, suppress_health_check=_QUIET, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
