"""RARL: reasoning-aware reinforcement learning for medical vision-language models."""

__version__ = "0.2.0"
