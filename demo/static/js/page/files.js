/* Files that are dropped or pasted: the viewer sends them on. */

import { viewer } from "../viewer/main.js";
import { onAskPage } from "./dom.js";

async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = [];
  const read = (reader) => new Promise((done, fail) => reader.readEntries(done, fail));
  while (entries.length) {
    const entry = entries.shift();
    if (entry.isFile) found.push(await new Promise((done, fail) => entry.file(done, fail)));
    else {
      const reader = entry.createReader();
      // It hands out a hundred at a time.
      for (let some = await read(reader); some.length; some = await read(reader))
        entries.push(...some);
    }
  }
  return found;
}
const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
function glow(on) {
  document.body.classList.toggle("dropping", on);
}

document.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  glow(onAskPage());
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) glow(false);
});
// A file dropped on a field that takes files, or on another page, is no scan to open.
const takesScan = (event) =>
  onAskPage() && !event.target.closest?.('[data-testid="file-upload"], .import');
document.addEventListener(
  "drop",
  (event) => {
    if (!hasFiles(event)) return;
    glow(false);
    if (!takesScan(event)) {
      if (!onAskPage() && !event.target.closest?.("button, input")) event.preventDefault();
      return;
    }
    event.preventDefault();
    const beside = Boolean(event.target.closest?.(".viewer-tray"));
    filesOf(event.dataTransfer).then((files) => viewer.open(files, beside));
  },
  true,
);
document.addEventListener("paste", (event) => {
  const files = event.clipboardData?.files || [];
  if (files.length && onAskPage()) {
    event.preventDefault();
    viewer.open(files);
  }
});
