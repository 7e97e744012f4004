/* One open scan: how it is being looked at, and its share of the stage's canvas. */

import { svg } from "./dom.js";
import { History } from "./drawings.js";
import {
  boxOnScreen,
  depthOf,
  layout,
  lengthLabel,
  pixelIndex,
  sameZoom,
  scaleLength,
  sliceAt,
} from "./geometry.js";
import { paint, paintBits } from "./lut.js";
import { drawnOn } from "./measuring.js";

export class Pane {
  /** scan: as `page_spec` describes it; labels: an element for letters, corners, scale, boxes. */
  constructor(scan, labels) {
    this.scan = scan;
    this.labels = labels;
    this.frame = null; // the one on the canvas, and where in the scan it lies
    this.place = null;
    this.area = { left: 0, width: 0, height: 0 }; // device pixels of the canvas
    // What is drawn, and the numbers of each drawing, by key.
    const drawings = scan.drawings ?? [];
    this.drawn = new History(
      drawings.map(({ key, kind, points, plane, slice, frame }) => ({
        key,
        kind,
        points,
        plane,
        slice,
        frame,
      })),
    );
    this.numbers = new Map(
      drawings.map((one) => [one.key, { ...one, points: JSON.stringify(one.points) }]),
    );
    this.bitmap = document.createElement("canvas");
    this.state = {
      role: scan.role,
      plane: scan.planes[0],
      frame: scan.start,
      time: 0,
      preset: scan.preset,
      window: null,
      invert: false,
      overlay: true,
      zoom: null,
      regions: {},
      masks: Object.fromEntries(scan.planes.map((plane) => [plane, []])),
      decided: Object.fromEntries(scan.planes.map((plane) => [plane, !scan.suspect])),
    };
  }

  get frameCount() {
    return this.scan.frames[this.state.plane];
  }

  /** The place that the reader has asked for; `this.place` follows once it has arrived. */
  get wanted() {
    const { plane, frame, time } = this.state;
    return { token: this.scan.token, plane, frame, time };
  }

  take(frame, place) {
    const other = !this.place || this.place.plane !== place.plane;
    this.frame = frame;
    this.place = place;
    this.veil = null;
    return other;
  }

  /** Millimetres from the middle of the plane, or its share where distances are unknown. */
  get depth() {
    return depthOf(this.state.frame, this.frameCount, this.step);
  }
  set depth(value) {
    this.state.frame = sliceAt(value, this.frameCount, this.step);
  }
  get step() {
    return this.scan.steps[this.state.plane] ?? 1 / this.frameCount;
  }

  /** Go where another scan is, by so many millimetres apart in depth. */
  follow(leader, apart) {
    const { state, frame } = this;
    if (this.scan.planes.includes(leader.state.plane)) {
      state.plane = leader.state.plane;
      this.depth = leader.depth + apart;
    }
    const zoom = leader.state.zoom;
    if (!zoom || !frame || !leader.frame) {
      if (!zoom) state.zoom = null;
      return;
    }
    state.zoom = sameZoom(leader, this);
  }

  /** Device pixels per image column and row, and where the picture's corner lies. */
  geometry() {
    return layout(this.frame, this.area, this.scan.spacing[this.state.plane], this.state.zoom);
  }

  /** The frame's values to grey levels; moving and zooming leave them as they are. */
  develop() {
    const { frame, state, bitmap } = this;
    const masks = state.masks[state.plane];
    const look = JSON.stringify([state.window, state.invert, masks]);
    if (this.developed === frame && this.look === look) return;
    if (bitmap.width !== frame.columns || bitmap.height !== frame.rows) {
      [bitmap.width, bitmap.height] = [frame.columns, frame.rows];
      this.pixels = null;
    }
    const native = bitmap.getContext("2d", { willReadFrequently: true });
    this.pixels ??= native.createImageData(frame.columns, frame.rows);
    paint(frame, new Uint32Array(this.pixels.data.buffer), state.window, state.invert, masks);
    native.putImageData(this.pixels, 0, 0);
    [this.developed, this.look] = [frame, look];
  }

  draw(context) {
    const { frame, state, bitmap, area } = this;
    this.develop();
    const { x, y, left, top } = this.geometry();
    context.save();
    context.beginPath();
    context.rect(area.left, 0, area.width, area.height);
    context.clip();
    // At one to one nothing is blended; single pixels are told apart from four to one on.
    context.imageSmoothingEnabled = !(x === 1 && y === 1) && x < 4;
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, left, top, frame.columns * x, frame.rows * y);
    if (frame.bits && state.overlay) {
      this.veil ??= paintBits(frame);
      context.drawImage(this.veil, left, top, frame.columns * x, frame.rows * y);
    }
    context.restore();
  }

  window() {
    if (!this.frame || this.scan.color) return null;
    return this.state.window ?? this.frame.window;
  }

  /**
   * Boxes over the picture.
   * tool: the one in hand here, or null; chosen: index of the box that it holds; drawing: the
   * one being drawn; measuring: what is drawn to be measured, {list, chosen}.
   */
  boxes(tool, chosen, drawing, measuring) {
    const ratio = window.devicePixelRatio || 1;
    const { state, scan, area } = this;
    const placed = this.geometry();
    const shapes = [];
    const rectangle = (box, kind, held) => {
      const shown = boxOnScreen(box, placed, area, ratio);
      shapes.push(svg("rect", { class: `${kind}${held ? " chosen" : ""}`, ...shown }));
      if (!held || drawing) return;
      // Keys have Delete; a finger needs something to touch.
      const cross = svg("g", {
        class: "drop",
        "data-do": "drop",
        transform: `translate(${Math.min(shown.x + shown.width, area.width / ratio - 14)} ${Math.max(shown.y, 14)})`,
      });
      cross.append(svg("circle", { r: 11 }), svg("path", { d: "M-4-4 4 4M4-4-4 4" }));
      shapes.push(cross);
    };
    const open = !state.decided[state.plane] && !state.masks[state.plane].length;
    if (open && state.plane === scan.planes[0]) {
      for (const box of scan.proposed) rectangle(box, "proposed", false);
    }
    state.masks[state.plane].forEach((box, index) =>
      rectangle(box, "mask", tool === "mask" && index === chosen),
    );
    const region = state.regions[state.plane];
    if (region) rectangle(region, "region", tool === "region");
    if (drawing) rectangle(drawing, tool, true);
    if (this.place) shapes.push(...drawnOn(this, measuring.list, measuring.chosen));
    this.labels.querySelector(".viewer-boxes").replaceChildren(...shapes);
  }

  /** Title, letters, window, slice and scale; cursor: a point of the image, or null. */
  write(title, cursor) {
    const { scan, state, labels } = this;
    const say = (name, lines) => {
      labels.querySelector(name).textContent = lines.filter(Boolean).join("\n");
    };
    const used = this.window();
    say(".top-left", [title]);
    const letters = this.frame?.letters ?? ["", "", "", ""];
    labels.querySelectorAll(".viewer-letters b").forEach((one, index) => {
      one.textContent = letters[index];
    });
    say(".bottom-right", [
      used && `L ${this.number(used[0])}  W ${this.number(used[1])}`,
      state.invert && "inverted",
    ]);
    const slices = this.frameCount > 1 ? `Slice ${state.frame + 1} / ${this.frameCount}` : "";
    const times = scan.times > 1 ? `Time ${state.time + 1} / ${scan.times}` : "";
    labels.toggleAttribute("data-slices", this.frameCount > 1);
    say(".bottom-left", [this.value(cursor), [slices, times].filter(Boolean).join("  ")]);
    this.scale();
  }

  number(value) {
    return this.scan.step < 1 ? value.toFixed(2) : String(Math.round(value));
  }

  value(cursor) {
    const { frame, scan } = this;
    if (!frame || !cursor) return "";
    const at = pixelIndex(cursor, frame);
    if (at === null) return "";
    const [column, row] = cursor.map(Math.floor);
    const value =
      frame.channels === 3
        ? [0, 1, 2].map((one) => frame.values[at * 3 + one]).join(" ")
        : Number(frame.values[at].toPrecision(6));
    return `${column}, ${row}: ${value}${scan.unit ? ` ${scan.unit}` : ""}`;
  }

  scale() {
    const bar = this.labels.querySelector(".viewer-scale");
    const spacing = this.frame && this.scan.spacing[this.state.plane];
    bar.hidden = !spacing;
    if (!spacing) return;
    const ratio = window.devicePixelRatio || 1;
    const perMm = this.geometry().x / spacing[1] / ratio;
    const room = this.area.width / ratio / 4;
    const length = scaleLength(perMm, room);
    bar.querySelector("i").style.width = `${length * perMm}px`;
    bar.querySelector("span").textContent = lengthLabel(length);
  }
}
