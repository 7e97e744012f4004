/* Mouse, pen and fingers on the canvas. */

import { act } from "./actions.js";
import { imagePoint, pinched, shifted, span } from "./geometry.js";

function devicePoint(viewer, event) {
  const box = viewer.canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
}

function pointUnder(viewer, event) {
  return imagePoint(viewer.geometry(), devicePoint(viewer, event));
}

/** The pane under a pointer becomes the one that is worked on. */
function enter(viewer, event) {
  const [px] = devicePoint(viewer, event);
  const under = viewer.visible.find(({ area }) => px >= area.left && px < area.left + area.width);
  if (under && under !== viewer.pane) viewer.activate(viewer.order.indexOf(under.scan));
}

function press(viewer, event) {
  if (!viewer.pointers.size) enter(viewer, event);
  if (!viewer.frame) return;
  viewer.busy("");
  viewer.canvas.focus({ preventScroll: true });
  viewer.canvas.setPointerCapture(event.pointerId);
  viewer.pointers.set(event.pointerId, [event.clientX, event.clientY]);
  event.preventDefault();
  if (viewer.pointers.size > 1) {
    // a second finger: nothing is drawn, two fingers zoom
    viewer.drawing = null;
    viewer.measuring.cancel();
    viewer.held = { kind: "pinch" };
    return;
  }
  const kind = event.button === 0 && !event.shiftKey ? viewer.tool : "move";
  const scrolls =
    event.pointerType === "touch" &&
    !viewer.chosenTool &&
    !viewer.editable &&
    !(kind === "move" && viewer.state.zoom);
  viewer.held = { kind: scrolls ? "scroll" : kind };
  if (event.button === 0 && !event.shiftKey && viewer.measuring.on) {
    viewer.held = { kind: "measure" };
    viewer.measuring.press(pointUnder(viewer, event), event.pointerType);
  } else if (event.button === 0 && viewer.editable) {
    const point = pointUnder(viewer, event);
    const hit = viewer.hit(point);
    viewer.held = hit?.box
      ? { kind: "shift", start: point, ...hit }
      : { kind: "stretch", anchor: hit?.anchor ?? point, index: hit?.index ?? null };
    if (hit) viewer.chosen = hit.index;
  }
}

function drag(viewer, event) {
  if (!viewer.frame) return;
  const [px] = devicePoint(viewer, event);
  const { area } = viewer.pane;
  const over = px >= area.left && px < area.left + area.width;
  viewer.cursor = event.pointerType === "touch" || !over ? null : pointUnder(viewer, event);
  const { held } = viewer;
  const before = viewer.pointers.get(event.pointerId);
  if (!held || !before) {
    viewer.texts();
    return;
  }
  if (held.kind === "pinch") {
    pinch(viewer, event);
    return;
  }
  if (held.kind === "scroll") return;
  const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
  viewer.pointers.set(event.pointerId, [event.clientX, event.clientY]);
  const ratio = window.devicePixelRatio || 1;
  if (held.kind === "window" && !viewer.scan.color) {
    const [center, width] = viewer.shownWindow();
    const reach = Math.max(width, viewer.scan.step * 50) / 250;
    viewer.setWindow(center + dy * reach, width + dx * reach);
  } else if (held.kind === "move" || held.kind === "window") {
    viewer.pan(dx * ratio, dy * ratio);
  } else if (held.kind === "measure") {
    viewer.measuring.drag(pointUnder(viewer, event));
  } else if (held.kind === "stretch") {
    viewer.drawing = span(held.anchor, pointUnder(viewer, event), viewer.frame);
    viewer.overlay();
  } else {
    const point = pointUnder(viewer, event);
    const [right, down] = [point[0] - held.start[0], point[1] - held.start[1]];
    viewer.putBox(held.index, shifted(held.box, right, down, viewer.frame));
  }
}

/** Two fingers: their distance zooms, their middle moves. */
function pinch(viewer, event) {
  const before = [...viewer.pointers.values()].slice(0, 2);
  viewer.pointers.set(event.pointerId, [event.clientX, event.clientY]);
  const after = [...viewer.pointers.values()].slice(0, 2);
  const { move, middle, spread } = pinched(before, after);
  const ratio = window.devicePixelRatio || 1;
  viewer.pan(move[0] * ratio, move[1] * ratio);
  const point = devicePoint(viewer, { clientX: middle[0], clientY: middle[1] });
  viewer.zoomTo(viewer.geometry().x * spread, point);
}

function release(viewer, event) {
  viewer.pointers.delete(event.pointerId);
  const { held, drawing } = viewer;
  viewer.held = viewer.drawing = null;
  if (held?.kind === "measure") viewer.measuring.release();
  // A click without a drag draws nothing.
  if (
    held?.kind === "stretch" &&
    drawing &&
    drawing[2] - drawing[0] >= 2 &&
    drawing[3] - drawing[1] >= 2
  ) {
    viewer.putBox(held.index, drawing);
  } else if (viewer.frame) {
    viewer.overlay();
  }
}

export function listenToPointer(viewer) {
  const { canvas } = viewer;
  canvas.addEventListener("pointerdown", (event) => press(viewer, event));
  canvas.addEventListener("pointermove", (event) => drag(viewer, event));
  canvas.addEventListener("pointerup", (event) => release(viewer, event));
  canvas.addEventListener("pointercancel", (event) => release(viewer, event));
  canvas.addEventListener("pointerleave", () => {
    viewer.cursor = null;
    viewer.texts();
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => {
    if (!viewer.editable && !viewer.measuring.on) act(viewer, "fit");
  });
  let turned = 0;
  canvas.addEventListener(
    "wheel",
    (event) => {
      enter(viewer, event);
      if (!viewer.frame) return;
      event.preventDefault();
      if (event.ctrlKey || viewer.frameCount < 2) {
        viewer.zoomTo(
          viewer.geometry().x * (event.deltaY < 0 ? 1.15 : 1 / 1.15),
          devicePoint(viewer, event),
        );
        return;
      }
      // A mouse wheel sends large steps, a touchpad many small ones.
      turned += event.deltaMode ? event.deltaY * 40 : event.deltaY;
      const steps = Math.trunc(turned / 40);
      if (steps) {
        turned = 0;
        viewer.go(viewer.state.frame + Math.sign(steps));
      }
    },
    { passive: false },
  );
}
