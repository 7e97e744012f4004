"""The scan viewer: a canvas in the page that applies the window to raw values.

The page fetches frames as they are (16 bits where the scan has them) and does windowing, zoom and
boxes on the spot, so that a change is on the screen within one repaint. The picture that a model
gets is always made in Python, by `Stack.scan`, from what the page reports of its state; both do
the same arithmetic, and a browser test compares them pixel by pixel.

Cornerstone3D and NiiVue were weighed against this. Both are good, and both want to open the files
themselves: the identity in a DICOM header would reach the browser, what it decodes would be
another program's picture than the one the model gets, and a reader's window and masks would have
to be carried back and repeated in Python anyway. Both come as npm packages of several megabytes
with WebAssembly decoders, so a clinician's machine would need Node at set-up or a copy would have
to lie in this repository; NiiVue also needs WebGL 2, which remote desktops in hospitals often lack.
What is left to do on top of `Stack` is a look-up table and a canvas, small enough to be read.
"""

from demo.viewer.component import REPORT, viewer_panel
from demo.viewer.frames import FrameServer
from demo.viewer.measuring import question_words
from demo.viewer.opening import open_scan
from demo.viewer.report import take_report
from demo.viewer.spec import page_spec, thumbnail_url

__all__ = [
    "REPORT",
    "FrameServer",
    "open_scan",
    "page_spec",
    "question_words",
    "take_report",
    "thumbnail_url",
    "viewer_panel",
]
