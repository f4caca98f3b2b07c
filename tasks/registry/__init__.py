"""The model registry: versions of whole bundles, and which of them is the champion."""
