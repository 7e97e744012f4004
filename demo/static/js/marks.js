/* The place that a reader of a study marks: Shift and drag over the picture. */

import { pixelBox } from "./viewer/geometry.js";

let mark = null;
let begun = null;

function shareOfImage(event, image) {
  const box = image.getBoundingClientRect();
  const within = (value) => Math.min(1, Math.max(0, value));
  return [
    within((event.clientX - box.left) / box.width),
    within((event.clientY - box.top) / box.height),
  ];
}

function drawMark() {
  document.querySelectorAll("#task .mark").forEach((old) => old.remove());
  if (!mark) return;
  const image = document.querySelectorAll("#task .stage img")[mark.picture];
  if (!image) return;
  const [left, top, right, bottom] = mark.part;
  const box = image.getBoundingClientRect();
  const around = image.parentElement.getBoundingClientRect();
  const shownMark = document.createElement("div");
  shownMark.className = "mark";
  Object.assign(shownMark.style, {
    left: `${box.left - around.left + left * box.width}px`,
    top: `${box.top - around.top + top * box.height}px`,
    width: `${(right - left) * box.width}px`,
    height: `${(bottom - top) * box.height}px`,
  });
  image.parentElement.append(shownMark);
}

document.addEventListener(
  "pointerdown",
  (event) => {
    const stage = event.shiftKey && event.target.closest?.("#task .case[data-marks] .stage");
    const image = stage && stage.querySelector("img");
    if (!image) return;
    event.preventDefault();
    event.stopPropagation();
    begun = { image, from: shareOfImage(event, image) };
  },
  true,
);
document.addEventListener(
  "pointermove",
  (event) => {
    if (!begun) return;
    event.stopPropagation();
    const [x, y] = shareOfImage(event, begun.image);
    const [u, v] = begun.from;
    const picture = [...document.querySelectorAll("#task .stage img")].indexOf(begun.image);
    const part = [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)];
    mark = { place: document.querySelector("#task .case")?.dataset.place, picture, part };
    drawMark();
  },
  true,
);
document.addEventListener(
  "pointerup",
  () => {
    begun = null;
  },
  true,
);

/** "picture left top right bottom" in pixels of the picture; empty where nothing is marked. */
export function marked() {
  const open = document.querySelector("#task .case[data-marks]");
  if (!open || !mark || mark.place !== open.dataset.place) return "";
  const [columns, rows] = open.dataset.marks.split(" ")[mark.picture].split("x").map(Number);
  const pixels = pixelBox(mark.part, { columns, rows });
  return pixels ? [mark.picture, ...pixels].join(" ") : "";
}
