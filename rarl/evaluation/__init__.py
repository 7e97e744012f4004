"""Evaluate variants on held-out questions, with confidence intervals.

Importing this loads no torch.
"""
