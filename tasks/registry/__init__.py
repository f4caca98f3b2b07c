"""The model registry: versions of whole bundles, and which of them is the champion."""

from tasks.registry.registration import Registered, register

__all__ = ["Registered", "register"]
