"""MambaTalk: speech to whole-body SMPL-X motion with selective state space models over discrete
motion codes.

Read in this order: motion, audio, text, data, models, training, metrics, evaluation, synthesis.
"""

__version__ = "0.1.0"
