"""The Results page: figures with intervals, and the answers behind each figure.

Everything is read from the files of a run (see `rarl.evaluation.run_files`), so that the page needs
no model and shows what a reviewer can recompute.
"""

from demo.pages.results.evaluations import Evaluations, Loaded, loaded_by
from demo.pages.results.page import results_page
from demo.pages.results.run import Results

__all__ = ["Evaluations", "Loaded", "Results", "loaded_by", "results_page"]
