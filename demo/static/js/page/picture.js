/* The picture of a stored case: zoom, pan, brightness and contrast, for the eye only. The view lives
   on the picture, so that another case starts afresh. */

import { freshView, movedView, relitView, zoomedView } from "./view.js";

function state(image) {
  if (!image.view || image.viewOf !== image.src) {
    image.view = freshView();
    image.viewOf = image.src;
  }
  return image.view;
}
function apply(image) {
  const view = state(image);
  image.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  image.style.filter = `brightness(${view.light}) contrast(${view.contrast})`;
}
const stageOf = (event) => event.target.closest?.('[data-page="stage"]');
function change(image, view) {
  image.view = view;
  apply(image);
}
document.addEventListener(
  "wheel",
  (event) => {
    const stage = stageOf(event);
    if (!stage) return;
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    const image = stage.querySelector("img");
    const fromMiddle = [
      event.clientX - box.left - box.width / 2,
      event.clientY - box.top - box.height / 2,
    ];
    const factor = event.deltaY < 0 ? 1.15 : 1 / 1.15;
    change(image, zoomedView(state(image), factor, fromMiddle));
  },
  { passive: false },
);
let held = null;
document.addEventListener("pointerdown", (event) => {
  const stage = stageOf(event);
  if (!stage || event.pointerType === "touch") return;
  held = { image: stage.querySelector("img"), window: event.button === 2 || event.shiftKey };
});
document.addEventListener("pointermove", (event) => {
  if (!held) return;
  const { image } = held;
  const moved = held.window ? relitView : movedView;
  change(image, moved(state(image), event.movementX, event.movementY));
});
document.addEventListener("pointerup", () => {
  held = null;
});
document.addEventListener("contextmenu", (event) => {
  if (stageOf(event)) event.preventDefault();
});
document.addEventListener("dblclick", (event) => {
  const image = stageOf(event)?.querySelector("img");
  if (image) change(image, freshView());
});

/** The keys of a picture that has the focus: plus and minus, 0, and the arrows. */
export function pressOnPicture(event) {
  const image = stageOf(event)?.querySelector("img");
  if (!image) return;
  const moves = {
    ArrowLeft: [40, 0],
    ArrowRight: [-40, 0],
    ArrowUp: [0, 40],
    ArrowDown: [0, -40],
  };
  if (event.key === "+" || event.key === "=") change(image, zoomedView(state(image), 1.25));
  else if (event.key === "-") change(image, zoomedView(state(image), 0.8));
  else if (event.key === "0") change(image, freshView());
  else if (moves[event.key] && state(image).scale > 1) {
    change(image, movedView(state(image), ...moves[event.key]));
    event.preventDefault();
  }
}
