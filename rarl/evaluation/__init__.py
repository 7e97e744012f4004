"""Measuring arms on held-out questions: the run, its metrics, and how sure they are.

Importing this loads no torch.
"""
