/* Buttons, fields and keys of the viewer. */

import { act } from "./actions.js";

export function key(viewer, event) {
  if (event.ctrlKey || event.metaKey || !viewer.scan || !viewer.frame) return false;
  const arrows = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
  const arrow = arrows[event.key];
  const { state } = viewer;
  if (arrow) {
    const [dx, dy] = arrow;
    if (event.altKey) viewer.pan(-dx * 40, -dy * 40);
    else if (viewer.editable && viewer.nudge(dx, dy, event.shiftKey)) return true;
    else if (viewer.measuring.on && viewer.measuring.nudge(dx, dy, event.shiftKey)) return true;
    else if (event.shiftKey && !viewer.scan.color) {
      const [center, width] = viewer.shownWindow();
      const step = Math.max(viewer.scan.step, width / 25);
      viewer.setWindow(center - dy * step, width + dx * step);
    } else if (dx && viewer.scan.times > 1) viewer.go(state.frame, state.time + dx);
    else viewer.go(state.frame + dx + dy);
    return true;
  }
  if (event.altKey) return false;
  if (/^[1-9]$/.test(event.key)) {
    const preset = viewer.scan.presets[Number(event.key) - 1];
    if (preset && !viewer.scan.color) viewer.setPreset(preset.key);
    return true;
  }
  const steps = {
    PageUp: state.frame - 10,
    PageDown: state.frame + 10,
    Home: 0,
    End: viewer.frameCount - 1,
  };
  if (event.key in steps) {
    viewer.go(steps[event.key]);
    return true;
  }
  const does = {
    "+": "in",
    "=": "in",
    "-": "out",
    _: "out",
    0: "fit",
    z: "actual",
    i: "invert",
    o: "overlay",
    l: "large",
    b: "beside",
    j: "link",
    "?": "keys",
  };
  const tools = {
    w: "window",
    m: "move",
    r: "region",
    k: "mask",
    d: "ruler",
    g: "angle",
    t: "rectangle",
    e: "ellipse",
  };
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (does[name]) act(viewer, does[name]);
  else if (tools[name]) {
    viewer.setTool(tools[name], true);
    viewer.say(`${tools[name]} tool`);
  } else if (name === "a" && !viewer.scan.color) viewer.setPreset("auto");
  else if (name === "p") {
    const { planes } = viewer.scan;
    viewer.setPlane(planes[(planes.indexOf(state.plane) + 1) % planes.length]);
  } else if (name === "n" && viewer.order.length > 1)
    viewer.activate((viewer.at + 1) % viewer.order.length);
  else if (name === "Enter" && viewer.editable) viewer.placeBox();
  else if (name === "Enter" && viewer.measuring.on) viewer.measuring.place();
  else if (name === " " && event.target === viewer.canvas && viewer.measuring.on)
    viewer.measuring.nextHandle();
  else if ((name === "Delete" || name === "Backspace") && viewer.editable) viewer.dropBox();
  else if ((name === "Delete" || name === "Backspace") && viewer.measuring.drawing)
    viewer.measuring.drop();
  else return false;
  return true;
}

/** Undo and redo of what is drawn to be measured. */
function undoes(viewer, event) {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || !viewer.frame) return false;
  const name = event.key.toLowerCase();
  if (name === "z" && !event.shiftKey) viewer.measuring.undo();
  else if (name === "y" || name === "z") viewer.measuring.redo();
  else return false;
  return true;
}

export function listenToControls(viewer) {
  const { root, canvas } = viewer;
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (button) act(viewer, button.dataset.do, button);
  });
  root.addEventListener("change", (event) => {
    const { target } = event;
    if (target.matches("[data-input=files]")) {
      viewer.open(target.files, viewer.adding);
      target.value = "";
      viewer.adding = false;
    } else if (target.dataset.role) viewer.setRole(target.dataset.role, target.value);
    else if (target.dataset.input === "plane") viewer.setPlane(target.value);
    else if (target.dataset.input === "preset") viewer.setPreset(target.value);
    else if (target.dataset.input?.endsWith("-number") && viewer.frame) {
      const [center, width] = viewer.shownWindow();
      const value = Number(target.value);
      if (!Number.isFinite(value) || target.value === "") viewer.texts();
      else if (target.dataset.input === "level-number") viewer.setWindow(value, width);
      else viewer.setWindow(center, value);
    }
  });
  root.addEventListener("input", (event) => {
    const name = event.target.dataset.input;
    const value = Number(event.target.value);
    if (!viewer.frame) return;
    if (name === "frame") viewer.go(value);
    else if (name === "time") viewer.go(viewer.state.frame, value);
    else if (name === "level") viewer.setWindow(value, viewer.shownWindow()[1]);
    else if (name === "width")
      viewer.setWindow(viewer.shownWindow()[0], viewer.sliderToWidth(value));
  });
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if (!viewer.find(".viewer-keys").hidden) act(viewer, "keys");
      else if (viewer.measuring.chosen) {
        viewer.measuring.chosen = null;
        viewer.measuring.show();
      } else if (root.classList.contains("large")) viewer.setLarge(false);
      return;
    }
    const typing = event.target.matches("select, input");
    // A slider keeps its arrows, a button its Enter.
    if (typing || (event.key === "Enter" && event.target !== canvas)) return;
    if (undoes(viewer, event) || key(viewer, event)) event.preventDefault();
  });
}
