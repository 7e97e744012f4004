"""Rewards for GRPO: pure functions in the form that TRL calls."""

from rarl.rewards.accuracy import accuracy_reward
from rarl.rewards.form import format_reward
from rarl.rewards.reasoning import reasoning_reward

__all__ = ["accuracy_reward", "format_reward", "reasoning_reward"]
