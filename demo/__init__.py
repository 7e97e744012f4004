"""The Gradio interface: Ask and Review. It imports `rarl` and never torch."""
