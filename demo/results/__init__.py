"""The Results page: what was measured, how sure it is, and every answer behind a figure.

Everything is read from the files of a run (see `rarl.evaluation.output`), so that the page needs no
model and shows what a reviewer can recompute.
"""

from demo.results.evaluations import Evaluations, Loaded, loaded_by
from demo.results.page import results_page
from demo.results.run import Results

__all__ = ["Evaluations", "Loaded", "Results", "loaded_by", "results_page"]
