"""Train variants: recipes, SFT, and GRPO under the rewards (arXiv 2506.06600)."""
