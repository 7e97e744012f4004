"""The decoder: shared prompts, an adapter per row, continuous batching, CUDA graphs.

Importing this loads no torch; `rarl.generation.decoder`, `.rollout` and `.scheduler` do.
"""
