"""`python served_model.py FOLDER PORT`: transformers' own server with a model folder.

The one thing added to the library's `Serve` is our processor, which needs no torchvision.
"""

import sys

from transformers import AutoProcessor, Qwen2VLConfig
from transformers.cli.serve import Serve

from rarl.models.processor import ImageProcessor

if __name__ == "__main__":
    AutoProcessor.register(Qwen2VLConfig, ImageProcessor, exist_ok=True)
    Serve(sys.argv[1], host="127.0.0.1", port=int(sys.argv[2]), device="cpu", dtype="float32")
