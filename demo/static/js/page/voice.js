/* Short words from the page itself, and what a screen reader is told. */

import { find, narrow } from "./dom.js";

let quiet = 0;
/** A few words from the page itself, for four seconds. */
export function say(words) {
  let box = find("#page-says");
  if (!box) {
    box = document.createElement("p");
    box.id = "page-says";
    box.setAttribute("role", "status");
    document.body.append(box);
  }
  box.textContent = words;
  clearTimeout(quiet);
  quiet = setTimeout(() => {
    box.textContent = "";
  }, 4000);
}

let lastRead = "";
/** The board is drawn anew while answers grow; its line is read out when its words change. */
export function readOut() {
  const line = find("#board .verdict");
  if (!line || line.textContent === lastRead) return;
  let voice = find("#page-voice");
  if (!voice) {
    voice = document.createElement("p");
    voice.id = "page-voice";
    voice.className = "sr-only";
    voice.setAttribute("role", "status");
    document.body.append(voice);
  }
  lastRead = line.textContent;
  voice.textContent = lastRead;
  // On a phone the answers stand below the scan: what was asked moves up to make room for them.
  const news = find(".columns[data-running]") || line.matches(".trouble");
  if (narrow.matches && news) find("#ask-line")?.scrollIntoView({ block: "start" });
}
