"""RARL: reasoning-aware reinforcement learning for medical vision-language models."""

import os

__version__ = "0.2.0"

# Libraries that report to their makers unless they are told not to. onnxruntime does so from
# native code, as soon as it is loaded. Set here, since every process imports this package before
# it can load one of them, and child processes inherit the environment.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["DO_NOT_TRACK"] = "1"
