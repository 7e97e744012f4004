/* Everything of the page that runs in the browser, under the names that Gradio's handlers call. */

import { page } from "./page.js";
import { report } from "./report/main.js";
import { review } from "./review.js";
import { viewer } from "./viewer/main.js";

window.RarlPage = page;
window.RarlReport = report;
window.RarlReview = review;
window.RarlViewer = viewer;
