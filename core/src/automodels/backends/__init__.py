"""Backends: what installed plugins declare, what can run on this machine, and the choice."""

from automodels.backends.choice import AUTO, choose_backend, unavailable
from automodels.backends.machine import Machine, as_seen_by, cuda_capability, this_machine
from automodels.backends.probing import forget_probes, probed_apart
from automodels.backends.report import BackendCandidate, BackendReport
from automodels.backends.situation import Situation
from automodels.needs import AttentionNeeds

__all__ = [
    "AUTO",
    "AttentionNeeds",
    "BackendCandidate",
    "BackendReport",
    "Machine",
    "Situation",
    "as_seen_by",
    "choose_backend",
    "cuda_capability",
    "forget_probes",
    "probed_apart",
    "this_machine",
    "unavailable",
]
