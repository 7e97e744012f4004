"""The Results page: figures with intervals, and the answers behind each figure.

Everything is read from the files of a run (see `rarl.evaluation.output`), so that the page needs no
model and shows what a reviewer can recompute.
"""

from demo.results.page import results_page
from demo.results.run import Results

__all__ = ["Results", "results_page"]
