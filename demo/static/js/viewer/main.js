/* The page's one viewer. */

import { Viewer } from "./viewer.js";

let mounted = null;

export const viewer = {
  mount(...parts) {
    mounted = new Viewer(...parts);
  },
  /** What a question needs; called by Gradio before a handler runs. */
  report: () => mounted?.report() ?? null,
  /** Wait for files on their way: a question sent meanwhile is about them. */
  settled: () => mounted?.opening,
  open: (files, add) => mounted?.open(files, add),
  recall: (views) => mounted?.recall(views),
};
