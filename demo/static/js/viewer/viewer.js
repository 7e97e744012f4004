/* The scan viewer: what is open, what is on the stage, and what is told to Python with a question. */

import { rootAddress } from "../root.js";
import { listenToControls } from "./controls.js";
import { element } from "./dom.js";
import { Frames } from "./frames.js";
import {
  clamp,
  hitBox,
  panned,
  resized,
  shifted,
  sliderToWidth,
  wholeBox,
  zoomAround,
} from "./geometry.js";
import { Measuring } from "./measuring.js";
import { Pane } from "./pane.js";
import { listenToPointer } from "./pointer.js";
import { drawTexts } from "./texts.js";
import { drawOffer, drawTray } from "./tray.js";
import { openFiles } from "./uploads.js";

const capital = (word) => word[0].toUpperCase() + word.slice(1);
const HANDLE = 9; // CSS pixels around a corner that take hold of it
const AHEAD = [1, -1, 2, 10, -2, 3, -3, 4, 5, 6]; // page up and down go ten

export class Viewer {
  constructor(root, props, trigger, upload, watch) {
    this.root = root.querySelector(".viewer");
    this.props = props;
    this.trigger = trigger;
    this.upload = upload;
    this.frames = new Frames(`${rootAddress()}/scan/frame`);
    this.panes = new Map(); // by token
    this.order = [];
    this.at = 0;
    this.tool = "window";
    this.chosen = null; // index of the box that keys act on
    this.pointers = new Map(); // where each finger or the mouse is held down, in CSS pixels
    this.beside = false; // whether two scans share the stage
    this.linked = true; // whether the other one goes along
    this.measuring = new Measuring(this);
    this.stage = this.find(".viewer-stage");
    this.canvas = this.find(".viewer-canvas");
    listenToControls(this);
    listenToPointer(this);
    new ResizeObserver(() => this.resize()).observe(this.stage);
    watch("value", () => this.take(props.value));
    this.take(props.value);
    // The page is there before its modules: what was chosen meanwhile is opened now.
    for (const input of root.querySelectorAll("[data-input=files]")) {
      if (input.files.length) input.dispatchEvent(new Event("change", { bubbles: true }));
    }
  }

  find(selector) {
    return this.root.querySelector(selector);
  }
  input(name) {
    return this.find(`[data-input="${name}"]`);
  }
  get scan() {
    return this.order[this.at] ?? null;
  }
  get pane() {
    return this.panes.get(this.scan?.token) ?? null;
  }
  get state() {
    return this.pane?.state ?? null;
  }
  get frame() {
    return this.pane?.frame ?? null;
  }
  get frameCount() {
    return this.pane.frameCount;
  }
  /** The scan that was on the stage before; beside the one on it, or a keystroke away. */
  get other() {
    const token = this.order.some((scan) => scan.token === this.last && scan !== this.scan)
      ? this.last
      : this.order.find((scan) => scan !== this.scan)?.token;
    return this.panes.get(token) ?? null;
  }
  /** What is on the stage, in the order of the tray. */
  get visible() {
    if (!this.scan) return [];
    const shown = this.beside && this.other ? [this.pane, this.other] : [this.pane];
    return this.order
      .map((scan) => this.panes.get(scan.token))
      .filter((one) => shown.includes(one));
  }

  // --- What Python says is open ------------------------------------------------------------

  take(spec) {
    this.busy("");
    if (!spec?.scans) return;
    this.opened?.();
    const tokens = spec.scans.map((scan) => scan.token);
    const several = this.order.length > 1;
    for (const scan of spec.scans) {
      if (!this.panes.has(scan.token)) {
        const labels = this.find("template").content.firstElementChild.cloneNode(true);
        this.panes.set(scan.token, new Pane(scan, labels));
      }
      this.panes.get(scan.token).scan = scan;
    }
    for (const token of [...this.panes.keys()]) {
      if (!tokens.includes(token)) this.panes.delete(token);
    }
    this.frames.keepOnly(tokens);
    const before = this.scan?.token;
    this.order = spec.scans;
    this.at = Math.max(0, tokens.indexOf(spec.active));
    const same = before === this.scan?.token;
    if (!same) this.last = before;
    this.relink();
    // Who adds a second scan wants to compare.
    if (tokens.length < 2) this.beside = false;
    else if (!several) this.beside = true;
    this.tray();
    this.offer(spec.upload);
    if (!same || !this.frame) this.show();
    else this.arrange();
    if (spec.recall) this.recall(spec.recall);
  }

  /** Everything that a question needs to know of what is on the screen. */
  report() {
    return {
      active: this.scan?.token ?? null,
      scans: this.order.map((scan) => {
        const { state } = this.panes.get(scan.token);
        return {
          token: scan.token,
          role: state.role,
          plane: state.plane,
          frame: state.frame,
          time: state.time,
          window: state.window,
          invert: state.invert,
          masks: state.masks[state.plane],
          region: state.regions[state.plane] ?? null,
          decided: state.decided[state.plane],
          drawings: this.panes.get(scan.token).drawn.now,
        };
      }),
    };
  }

  /** Look again as an earlier question did. Covers stay as they are: none may get lost. */
  recall(views) {
    for (const { token, region, ...view } of views) {
      const state = this.panes.get(token)?.state;
      if (!state) continue;
      Object.assign(state, view, { preset: view.window ? "custom" : "file", zoom: null });
      if (region) state.regions[view.plane] = region;
      else delete state.regions[view.plane];
    }
    this.relink();
    this.show();
  }

  /** Put another of the open scans (or none) on the stage. */
  show() {
    const { scan } = this;
    this.chosen = this.measuring.chosen = null;
    this.stage.toggleAttribute("data-empty", !scan);
    for (const name of ["see", "add"]) this.find(`[data-do="${name}"]`).disabled = !scan;
    delete this.stage.dataset.frame;
    this.arrange();
    this.measuring.writeList();
    if (!scan) return;
    if (!this.measuring.on) this.setTool(scan.color ? "move" : "window");
    const planes = this.input("plane");
    planes.replaceChildren(
      ...scan.planes.map((plane) => element("option", { value: plane }, capital(plane))),
    );
    planes.closest("label").hidden = scan.planes.length < 2;
    const time = this.input("time");
    time.max = scan.times - 1;
    time.closest("label").hidden = scan.times < 2;
    const presets = this.input("preset");
    presets.replaceChildren(
      ...scan.presets.map((preset) => element("option", { value: preset.key }, preset.label)),
      element("option", { value: "custom", hidden: "" }, "Custom window"),
      element("option", { value: "", hidden: "" }, "Colour image"),
    );
    for (const name of ["preset", "level", "width", "level-number", "width-number"]) {
      this.input(name).disabled = scan.color;
    }
    for (const [name, [low, high]] of [
      ["level", scan.levels],
      ["width", scan.widths],
    ]) {
      // The slider moves through its range evenly for levels, by ratios for widths.
      const slider = this.input(name);
      slider.min = name === "width" ? 0 : low;
      slider.max = name === "width" ? 1000 : high;
      slider.step = name === "width" ? 1 : scan.step;
      this.input(`${name}-number`).step = scan.step;
    }
    this.fetch();
  }

  // --- Frames -------------------------------------------------------------------------------

  /** Show the frame that a pane wants; what arrives late is shown only on its way there. */
  async fetch(pane = this.pane) {
    const place = pane.wanted;
    const kept = this.frames.peek(place);
    if (kept) {
      this.arrived(pane, kept, place);
      return;
    }
    if (pane === this.pane) this.texts();
    if (pane.fetching) return; // the one under way comes back for the newest
    pane.fetching = true;
    try {
      const frame = await this.frames.get(place);
      // A frame passed on the way to another is shown too: it tells that something moves.
      if (pane.state.plane === place.plane) this.arrived(pane, frame, place);
    } catch (error) {
      this.busy(
        error.message === "404"
          ? "This scan is no longer open here; open it again."
          : "The picture did not arrive; move to it again.",
        true,
      );
    } finally {
      pane.fetching = false;
    }
    const open = this.panes.get(place.token) === pane;
    if (open && Frames.key(pane.wanted) !== Frames.key(place)) this.fetch(pane);
  }

  arrived(pane, frame, place) {
    const back = pane.place?.plane === place.plane && pane.place.frame > place.frame;
    pane.take(frame, place);
    if (pane === this.pane) this.measuring.arrived();
    this.redraw();
    this.prefetch(pane, back ? -1 : 1);
  }

  prefetch(pane, direction) {
    const ticket = (pane.ticket = {});
    const { frame, ...rest } = pane.wanted;
    const next = AHEAD.map((step) => frame + step * direction).filter(
      (one) => one >= 0 && one < pane.frameCount,
    );
    const work = async () => {
      for (const one of next) {
        if (pane.ticket !== ticket) return;
        try {
          await this.frames.get({ ...rest, frame: one });
        } catch {
          return;
        }
      }
    };
    // After the picture: what is seen now comes first.
    setTimeout(work, 30);
  }

  /** Bring the other scan along; its own window, boxes and time stay as they are. */
  follow() {
    const { other, pane } = this;
    if (!this.linked || !other) return;
    other.follow(pane, this.apart ?? 0);
    if (this.beside && Frames.key(other.wanted) !== Frames.key(other.place ?? {}))
      this.fetch(other);
  }

  /** From here on the other one stays as far away as it is now. */
  relink() {
    const { other, pane } = this;
    const same = pane && other && pane.state.plane === other.state.plane;
    this.apart = same ? other.depth - pane.depth : 0;
  }

  // --- Drawing ------------------------------------------------------------------------------

  /** Who stands where on the stage. */
  arrange() {
    const { visible, canvas } = this;
    const share = 100 / visible.length;
    const whole = { left: 0, width: canvas.width, height: canvas.height };
    for (const pane of this.panes.values()) pane.area = whole; // also of those out of sight
    this.find(".viewer-panes").replaceChildren(...visible.map((pane) => pane.labels));
    visible.forEach((pane, index) => {
      const width = Math.floor(canvas.width / visible.length);
      pane.area = { ...whole, left: index * width, width };
      pane.labels.style.cssText = `left:${index * share}%;width:${share}%`;
      pane.labels.toggleAttribute("data-active", visible.length > 1 && pane === this.pane);
      if (pane === this.pane) this.find(".viewer-hold").style.cssText = pane.labels.style.cssText;
      if (!pane.frame) this.fetch(pane);
    });
    for (const [name, on] of [
      ["beside", this.beside],
      ["link", this.linked],
    ]) {
      const button = this.find(`[data-do="${name}"]`);
      button.hidden = this.order.length < 2;
      button.setAttribute("aria-pressed", String(on));
    }
    const tools = this.root.querySelectorAll(".viewer-tools button:not([hidden])").length;
    const rail = this.find(".viewer-tools");
    this.root.toggleAttribute("data-short", rail.clientHeight < 38 * tools);
    if (visible.length) this.redraw();
    else canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    this.texts();
  }

  resize() {
    const box = this.stage.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      [this.canvas.width, this.canvas.height] = [width, height];
      this.arrange();
      if (this.frame) this.draw(); // at once: setting the size has wiped the canvas
    }
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (this.frame) this.draw();
    });
  }

  texts() {
    drawTexts(this);
  }
  tray() {
    drawTray(this);
  }
  offer(upload) {
    drawOffer(this, upload);
  }
  open(files, add = false) {
    return openFiles(this, files, add);
  }

  geometry() {
    return this.pane.geometry();
  }

  draw() {
    this.follow(); // also where it was this one whose zoom changed
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    for (const pane of this.visible) if (pane.frame) pane.draw(context);
    this.root.toggleAttribute("data-zoomed", Boolean(this.state.zoom));
    this.overlay();
    this.texts();
    // For programs that look on: what has been drawn, and at how many device pixels a column.
    const { place } = this.pane;
    Object.assign(this.stage.dataset, {
      token: place.token,
      plane: place.plane,
      frame: place.frame,
      time: place.time,
      window: this.shownWindow()?.join(",") ?? "",
      scale: this.geometry().x,
    });
    this.root.dispatchEvent(new CustomEvent("drawn"));
  }

  shownWindow() {
    return this.pane?.window() ?? null;
  }

  overlay() {
    for (const pane of this.visible) {
      if (!pane.frame) continue;
      const { list, chosen } = this.measuring;
      if (pane === this.pane) pane.boxes(this.tool, this.chosen, this.drawing, { list, chosen });
      else pane.boxes(null, null, null, { list: pane.drawn.now, chosen: null });
    }
  }

  /** Tell a screen reader, once the hand has come to rest. */
  say(text) {
    clearTimeout(this.saying);
    this.saying = setTimeout(() => {
      this.find("[data-said]").textContent = text;
    }, 350);
  }

  busy(text, failed = false) {
    const note = this.find(".viewer-busy");
    note.textContent = text;
    note.hidden = !text;
    note.classList.toggle("failed", failed);
  }

  // --- Changing what is seen ----------------------------------------------------------------

  go(frame, time = this.state.time) {
    if (!this.scan) return;
    const { state } = this;
    frame = clamp(frame, 0, this.frameCount - 1);
    time = clamp(time, 0, this.scan.times - 1);
    if (frame === state.frame && time === state.time) return;
    state.frame = frame;
    state.time = time;
    this.say(`Slice ${frame + 1} of ${this.frameCount}`);
    this.follow();
    this.fetch();
  }

  setPlane(plane) {
    const { state } = this;
    if (!this.scan || plane === state.plane) return;
    state.plane = plane;
    state.frame = Math.floor(this.frameCount / 2);
    state.zoom = null;
    this.chosen = null;
    this.apart = 0;
    this.say(`${plane} plane`);
    this.follow();
    this.fetch();
  }

  setWindow(center, width, preset = "custom") {
    if (!this.scan || this.scan.color) return;
    const { state, scan } = this;
    const narrowest = scan.step < 1 ? scan.step : 1;
    state.window = [clamp(center, -1e9, 1e9), clamp(width, narrowest, 2e9)];
    state.preset = preset;
    this.say(`Level ${Math.round(state.window[0])}, width ${Math.round(state.window[1])}`);
    this.redraw();
  }

  setPreset(key) {
    const preset = this.scan?.presets.find((one) => one.key === key);
    if (!preset || !this.frame) return;
    if (preset.key === "file") {
      this.state.window = null;
      this.state.preset = key;
      this.redraw();
    } else {
      const [center, width] = preset.key === "auto" ? this.frame.auto : preset.window;
      this.setWindow(center, width, key);
    }
    this.say(preset.label);
  }

  sliderToWidth(value) {
    const width = sliderToWidth(value, this.scan.widths);
    return this.scan.step < 1 ? width : Math.round(width);
  }

  zoomTo(scale, point = null) {
    if (!this.frame) return;
    this.state.zoom = zoomAround(this.geometry(), this.pane.area, scale, point);
    this.redraw();
  }

  pan(dx, dy) {
    if (!this.frame) return;
    this.state.zoom = panned(this.geometry(), this.frame, this.state.zoom, dx, dy);
    this.redraw();
  }

  /** @param chosen whether the reader asked for it; on a touch screen one finger scrolls the page
   *  over a tool that nobody chose, and the window stays as it is. */
  setTool(tool, chosen = false) {
    this.tool = tool;
    if (this.measuring.on) this.measuring.last = tool;
    else this.measuring.chosen = null;
    this.chosenTool = chosen;
    this.root.dataset.tool = tool;
    this.root.toggleAttribute("data-tool-chosen", chosen);
    for (const button of this.root.querySelectorAll('[data-do="tool"]')) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    }
    this.measuring.writeList();
    if (this.frame) this.overlay();
  }

  setLarge(large) {
    this.root.classList.toggle("large", large);
    this.find('[data-do="large"]').setAttribute("aria-pressed", String(large));
    this.resize();
  }

  // --- Boxes: the region of the question, and covers ----------------------------------------

  get editable() {
    return this.tool === "region" || this.tool === "mask";
  }

  boxList() {
    const { state } = this;
    if (this.tool === "mask") return state.masks[state.plane];
    const region = state.regions[state.plane];
    return region ? [region] : [];
  }

  putBox(index, box) {
    const { state, frame } = this;
    const whole = wholeBox(box, frame);
    if (this.tool === "mask") {
      const masks = state.masks[state.plane];
      masks[index ?? masks.length] = whole;
      this.chosen = index ?? masks.length - 1;
    } else {
      state.regions[state.plane] = whole;
      this.chosen = 0;
    }
    this.say(
      `${this.tool === "mask" ? "Cover" : "Region"} from ${whole[0]}, ${whole[1]} to ${whole[2]}, ${whole[3]}`,
    );
    this.redraw();
  }

  dropBox() {
    const { state } = this;
    if (this.tool === "mask") state.masks[state.plane].splice(this.chosen ?? -1, 1);
    else delete state.regions[state.plane];
    this.chosen = null;
    this.say("Box removed");
    this.redraw();
  }

  placeBox() {
    const { frame } = this;
    if (!frame) return;
    const [w, h] = [frame.columns, frame.rows];
    this.putBox(null, [w * 0.375, h * 0.375, w * 0.625, h * 0.625]);
  }

  nudge(dx, dy, size) {
    const box = this.boxList()[this.chosen ?? -1];
    if (!box) return false;
    const step = Math.max(1, Math.round(this.frame.columns / 100));
    const by = [dx * step, dy * step];
    this.putBox(this.chosen, size ? resized(box, ...by) : shifted(box, ...by, this.frame));
    return true;
  }

  /** Which box, and which corner of it, lies under a point of the image. */
  hit(point) {
    const { x, y } = this.geometry();
    const reach = HANDLE * (window.devicePixelRatio || 1);
    return hitBox(this.boxList(), point, reach / x, reach / y);
  }

  activate(index) {
    if (index === this.at || !this.order[index]) return;
    this.last = this.scan.token;
    this.at = index;
    this.cursor = null;
    this.relink();
    this.tray();
    this.show();
    this.trigger("activated", { token: this.scan.token });
  }

  /** Two scans never carry one name: whoever had it takes the other's. */
  setRole(token, role) {
    const mine = this.panes.get(token).state;
    for (const { state } of this.panes.values()) {
      if (state !== mine && state.role === role) state.role = mine.role;
    }
    mine.role = role;
    this.texts();
    this.tray();
  }

  // --- Wiring -------------------------------------------------------------------------------
}
