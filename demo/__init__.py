"""The Gradio interface. It imports `rarl`, and never torch, transformers or SQL."""
