/* The scan viewer: one canvas, its tools, and what is told to Python when a question is asked. */
const RarlViewer = (() => {
  "use strict";
  const { Frames, paint } = RarlPicture;
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const capital = (word) => word[0].toUpperCase() + word.slice(1);
  const HANDLE = 9; // CSS pixels around a corner that take hold of it
  const AHEAD = [1, -1, 2, -2, 3, -3, 4, 5, 6];
  const UPLOADS_AT_ONCE = 4;
  const ROLES = [["current", "Current"], ["prior", "Prior"], ["frontal", "Frontal"], ["lateral", "Lateral"]];
  const element = (name, attributes = {}, text = "") => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };

  class Viewer {
    constructor(root, props, trigger, upload, watch) {
      this.root = root.querySelector(".viewer");
      this.props = props;
      this.trigger = trigger;
      this.upload = upload;
      const base = (window.gradio_config?.root ?? "").replace(/\/$/, "");
      this.frames = new Frames(`${base}/scan/frame`);
      this.states = new Map();
      this.order = [];
      this.at = 0;
      this.tool = "window";
      this.chosen = null; // index of the box that keys act on
      this.frame = null;
      this.bitmap = document.createElement("canvas");
      this.stage = this.find(".viewer-stage");
      this.canvas = this.find(".viewer-canvas");
      this.boxes = this.find(".viewer-boxes");
      this.listen();
      new ResizeObserver(() => this.resize()).observe(this.stage);
      watch("value", () => this.take(props.value));
      this.take(props.value);
    }

    find(selector) { return this.root.querySelector(selector); }
    input(name) { return this.find(`[data-input="${name}"]`); }
    get scan() { return this.order[this.at] ?? null; }
    get state() { return this.scan ? this.states.get(this.scan.token) : null; }
    get frameCount() { return this.scan.frames[this.state.plane]; }
    get place() {
      const { plane, frame, time } = this.state;
      return { token: this.scan.token, plane, frame, time };
    }

    // --- What Python says is open ------------------------------------------------------------

    take(spec) {
      this.busy("");
      if (!spec?.scans) return;
      const tokens = spec.scans.map((scan) => scan.token);
      for (const scan of spec.scans) {
        if (!this.states.has(scan.token)) this.states.set(scan.token, this.fresh(scan));
      }
      for (const token of [...this.states.keys()]) {
        if (!tokens.includes(token)) this.states.delete(token);
      }
      this.frames.keepOnly(tokens);
      const same = spec.active === this.scan?.token;
      this.order = spec.scans;
      this.at = Math.max(0, tokens.indexOf(spec.active));
      this.tray();
      if (!same || !this.frame) this.show();
    }

    fresh(scan) {
      const masks = Object.fromEntries(scan.planes.map((plane) => [plane, []]));
      return {
        role: scan.role, plane: scan.planes[0], frame: scan.start, time: 0, preset: scan.preset,
        window: null, invert: false, masks, regions: {}, zoom: null, decided: !scan.suspect,
      };
    }

    /** Everything that a question needs to know of what is on the screen. */
    report() {
      return {
        active: this.scan?.token ?? null,
        scans: this.order.map((scan) => {
          const state = this.states.get(scan.token);
          return {
            token: scan.token, role: state.role, plane: state.plane, frame: state.frame,
            time: state.time, window: state.window, invert: state.invert,
            masks: state.masks[state.plane], region: state.regions[state.plane] ?? null,
            decided: state.decided,
          };
        }),
      };
    }

    /** Put another of the open scans (or none) on the stage. */
    show() {
      const { scan } = this;
      this.frame = null;
      this.chosen = null;
      this.stage.toggleAttribute("data-empty", !scan);
      for (const name of ["see", "add"]) this.find(`[data-do="${name}"]`).disabled = !scan;
      delete this.stage.dataset.frame;
      if (!scan) {
        const context = this.canvas.getContext("2d");
        context.clearRect(0, 0, this.canvas.width, this.canvas.height);
        this.boxes.replaceChildren();
        this.texts();
        return;
      }
      this.setTool(scan.color ? "move" : "window");
      const planes = this.input("plane");
      planes.replaceChildren(...scan.planes.map((plane) =>
        element("option", { value: plane }, capital(plane))));
      planes.closest("label").hidden = scan.planes.length < 2;
      const time = this.input("time");
      time.max = scan.times - 1;
      time.closest("label").hidden = scan.times < 2;
      const presets = this.input("preset");
      presets.replaceChildren(
        ...scan.presets.map((preset) => element("option", { value: preset.key }, preset.label)),
        element("option", { value: "custom", hidden: "" }, "Own window"),
      );
      for (const name of ["preset", "level", "width", "level-number", "width-number"]) {
        this.input(name).disabled = scan.color;
      }
      for (const [name, [low, high]] of [["level", scan.levels], ["width", scan.widths]]) {
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

    /** Show the frame that the state names; what arrives late is shown only on its way there. */
    async fetch() {
      const place = this.place;
      const kept = this.frames.peek(place);
      if (kept) {
        this.arrived(kept, place);
        return;
      }
      this.texts();
      if (this.fetching) return; // the one under way comes back for the newest
      this.fetching = true;
      try {
        const frame = await this.frames.get(place);
        // A frame passed on the way to another is shown too: it tells that something moves.
        if (this.scan?.token === place.token && this.state.plane === place.plane) {
          this.arrived(frame, place);
        }
      } catch (error) {
        this.busy(error.message === "404"
          ? "This scan is no longer open here; open it again."
          : "The picture did not arrive; move to it again.", true);
      } finally {
        this.fetching = false;
      }
      if (this.scan && Frames.key(this.place) !== Frames.key(place)) this.fetch();
    }

    arrived(frame, place) {
      const before = this.framePlace;
      this.frame = frame;
      this.framePlace = place;
      if (!before || before.token !== place.token || before.plane !== place.plane) this.resize();
      this.redraw();
      this.prefetch(before?.plane === place.plane && before.frame > place.frame ? -1 : 1);
    }

    prefetch(direction) {
      const ticket = (this.ticket = {});
      const { frame, ...rest } = this.place;
      const next = AHEAD.map((step) => frame + step * direction)
        .filter((one) => one >= 0 && one < this.frameCount);
      const work = async () => {
        for (const one of next) {
          if (this.ticket !== ticket) return;
          try { await this.frames.get({ ...rest, frame: one }); } catch { return; }
        }
      };
      // After the picture: what is seen now comes first.
      setTimeout(work, 30);
    }

    // --- Drawing ------------------------------------------------------------------------------

    resize() {
      const box = this.stage.getBoundingClientRect();
      const ratio = window.devicePixelRatio || 1;
      const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
      if (this.canvas.width !== width || this.canvas.height !== height) {
        [this.canvas.width, this.canvas.height] = [width, height];
        if (this.frame) this.draw();
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

    /** Device pixels per image column and row, and where the picture's corner lies. */
    geometry() {
      const { frame, state, canvas } = this;
      const spacing = this.scan.spacing[state.plane];
      const aspect = spacing ? spacing[0] / spacing[1] : 1;
      const fit = Math.min(canvas.width / frame.columns, canvas.height / (frame.rows * aspect));
      const zoom = state.zoom;
      const x = zoom ? zoom.scale : fit;
      const centre = zoom ? zoom.centre : [frame.columns / 2, frame.rows / 2];
      const left = Math.round(canvas.width / 2 - centre[0] * x);
      const top = Math.round(canvas.height / 2 - centre[1] * x * aspect);
      return { x, y: x * aspect, left, top, fit, aspect, spacing };
    }

    draw() {
      const { frame, state, bitmap } = this;
      if (bitmap.width !== frame.columns || bitmap.height !== frame.rows) {
        [bitmap.width, bitmap.height] = [frame.columns, frame.rows];
        this.pixels = null;
      }
      const native = bitmap.getContext("2d", { willReadFrequently: true });
      this.pixels ??= native.createImageData(frame.columns, frame.rows);
      const target = new Uint32Array(this.pixels.data.buffer);
      paint(frame, target, state.window, state.invert, state.masks[state.plane]);
      native.putImageData(this.pixels, 0, 0);

      const { x, y, left, top } = this.geometry();
      const context = this.canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.fillStyle = "#000";
      context.fillRect(0, 0, this.canvas.width, this.canvas.height);
      // At one to one nothing is blended; single pixels are told apart from four to one on.
      context.imageSmoothingEnabled = !(x === 1 && y === 1) && x < 4;
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, left, top, frame.columns * x, frame.rows * y);
      this.overlay();
      this.texts();
      // For programs that look on: what has been drawn, and at how many device pixels a column.
      const shown = this.shownWindow();
      Object.assign(this.stage.dataset, {
        token: this.scan.token, plane: this.framePlace.plane, frame: this.framePlace.frame,
        time: this.framePlace.time, window: shown ? shown.join(",") : "", scale: x,
      });
      this.root.dispatchEvent(new CustomEvent("drawn"));
    }

    shownWindow() {
      if (!this.frame || this.scan.color) return null;
      return this.state.window ?? this.frame.window;
    }

    overlay() {
      const ratio = window.devicePixelRatio || 1;
      const { x, y, left, top } = this.geometry();
      const shapes = [];
      const rectangle = (box, kind, chosen) => {
        const [l, t, r, b] = box;
        const made = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        made.setAttribute("class", `${kind}${chosen ? " chosen" : ""}`);
        made.setAttribute("x", (left + l * x) / ratio);
        made.setAttribute("y", (top + t * y) / ratio);
        made.setAttribute("width", ((r - l) * x) / ratio);
        made.setAttribute("height", ((b - t) * y) / ratio);
        shapes.push(made);
      };
      const { state, scan } = this;
      const open = !state.decided && !state.masks[state.plane].length;
      if (open) for (const box of scan.proposed) rectangle(box, "proposed", false);
      state.masks[state.plane].forEach((box, index) =>
        rectangle(box, "mask", this.tool === "mask" && index === this.chosen));
      const region = state.regions[state.plane];
      if (region) rectangle(region, "region", this.tool === "region");
      if (this.drawing) rectangle(this.drawing, this.tool, true);
      this.boxes.replaceChildren(...shapes);
    }

    texts() {
      const { scan, state } = this;
      const say = (selector, text) => { this.find(selector).textContent = text; };
      const slider = this.find(".viewer-slice");
      if (!scan) {
        for (const corner of ["top-left", "bottom-left", "bottom-right"]) say(`.${corner}`, "");
        for (const letter of this.root.querySelectorAll(".viewer-letters b")) letter.textContent = "";
        this.find(".viewer-scale").hidden = slider.hidden = this.find(".viewer-notice").hidden = true;
        this.find(".viewer-time").hidden = true;
        return;
      }
      slider.hidden = this.frameCount < 2;
      slider.max = this.frameCount - 1;
      slider.value = state.frame;
      slider.setAttribute("aria-valuetext", `Slice ${state.frame + 1} of ${this.frameCount}`);
      this.input("time").value = state.time;
      this.input("plane").value = state.plane;
      say(".top-left", scan.title);
      const letters = this.frame?.letters ?? ["", "", "", ""];
      this.root.querySelectorAll(".viewer-letters b").forEach((one, index) => { one.textContent = letters[index]; });
      const used = this.shownWindow();
      const shown = (value) => (scan.step < 1 ? value.toFixed(2) : String(Math.round(value)));
      if (used) {
        this.input("level").value = used[0];
        this.input("width").value = this.widthToSlider(used[1]);
        for (const [name, value] of [["level", used[0]], ["width", used[1]]]) {
          const number = this.input(`${name}-number`);
          if (document.activeElement !== number) number.value = shown(value);
          this.input(name).setAttribute("aria-valuetext", shown(value));
        }
      }
      if (scan.color) for (const name of ["level", "width"]) this.input(`${name}-number`).value = "";
      this.input("preset").value = scan.color ? "" : state.preset;
      say(".bottom-right", used
        ? `L ${shown(used[0])}  W ${shown(used[1])}${state.invert ? "\ninverted" : ""}`
        : state.invert ? "inverted" : "");
      const slices = this.frameCount > 1 ? `Slice ${state.frame + 1} / ${this.frameCount}` : "";
      const times = scan.times > 1 ? `Time ${state.time + 1} / ${scan.times}` : "";
      say(".bottom-left", [this.readout(), [slices, times].filter(Boolean).join("  ")].filter(Boolean).join("\n"));
      this.find('[data-do="invert"]').setAttribute("aria-pressed", String(state.invert));
      this.find(".viewer-notice").hidden = state.decided;
      const covered = state.masks[state.plane].length > 0;
      this.find('[data-do="accept"]').hidden = covered || !scan.proposed.length;
      say("[data-notice]", covered
        ? "Is a name, a number or a date still to be read in the picture?"
        : "Text may be burned into this picture. Cover what names the patient before you ask.");
      say('[data-do="draw"]', covered ? "Draw another cover" : "Draw a cover");
      say('[data-do="clean"]', covered ? "Everything is covered" : "It names nobody");
      this.scale();
    }

    readout() {
      const { frame, cursor, scan } = this;
      if (!frame || !cursor) return "";
      const [column, row] = cursor.map(Math.floor);
      if (column < 0 || row < 0 || column >= frame.columns || row >= frame.rows) return "";
      const at = row * frame.columns + column;
      const value = frame.channels === 3
        ? [0, 1, 2].map((one) => frame.values[at * 3 + one]).join(" ")
        : Number(frame.values[at].toPrecision(6));
      return `${column}, ${row}: ${value}${scan.unit ? ` ${scan.unit}` : ""}`;
    }

    scale() {
      const bar = this.find(".viewer-scale");
      const { frame } = this;
      const spacing = frame && this.scan.spacing[this.state.plane];
      bar.hidden = !spacing;
      if (!spacing) return;
      const perMm = this.geometry().x / spacing[1] / (window.devicePixelRatio || 1);
      const room = this.stage.clientWidth / 4;
      const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500];
      const length = steps.filter((one) => one * perMm <= room).pop() ?? 0.5;
      bar.querySelector("i").style.width = `${length * perMm}px`;
      bar.querySelector("span").textContent = length >= 10 ? `${length / 10} cm` : `${length} mm`;
    }

    /** Tell a screen reader, once the hand has come to rest. */
    say(text) {
      clearTimeout(this.saying);
      this.saying = setTimeout(() => { this.find("[data-said]").textContent = text; }, 350);
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
      this.fetch();
    }

    setPlane(plane) {
      const { state } = this;
      if (!this.scan || plane === state.plane) return;
      state.plane = plane;
      state.frame = Math.floor(this.frameCount / 2);
      state.zoom = null;
      this.chosen = null;
      this.say(`${plane} plane`);
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

    widthToSlider(width) {
      const [low, high] = this.scan.widths;
      return (1000 * Math.log(clamp(width, low, high) / low)) / Math.log(high / low);
    }

    sliderToWidth(value) {
      const [low, high] = this.scan.widths;
      const width = low * (high / low) ** (value / 1000);
      return this.scan.step < 1 ? width : Math.round(width);
    }

    zoomTo(scale, point = null) {
      if (!this.frame) return;
      const { x, y, left, top, fit } = this.geometry();
      const real = clamp(scale, Math.min(fit, 1) / 2, Math.max(fit, 1) * 40);
      const { canvas } = this;
      const [px, py] = point ?? [canvas.width / 2, canvas.height / 2];
      const under = [(px - left) / x, (py - top) / y];
      const aspect = y / x;
      this.state.zoom = {
        scale: real,
        centre: [
          under[0] - (px - canvas.width / 2) / real,
          under[1] - (py - canvas.height / 2) / (real * aspect),
        ],
      };
      this.redraw();
    }

    pan(dx, dy) {
      if (!this.frame) return;
      const { x, y } = this.geometry();
      const { frame, state } = this;
      state.zoom ??= { scale: x, centre: [frame.columns / 2, frame.rows / 2] };
      state.zoom.centre = [
        clamp(state.zoom.centre[0] - dx / x, 0, frame.columns),
        clamp(state.zoom.centre[1] - dy / y, 0, frame.rows),
      ];
      this.redraw();
    }

    setTool(tool) {
      this.tool = tool;
      this.root.dataset.tool = tool;
      for (const button of this.root.querySelectorAll('[data-do="tool"]')) {
        button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
      }
      if (this.frame) this.overlay();
    }

    setLarge(large) {
      this.root.classList.toggle("large", large);
      this.find('[data-do="large"]').setAttribute("aria-pressed", String(large));
      this.resize();
    }

    // --- Boxes: the region of the question, and covers ----------------------------------------

    get editable() { return this.tool === "region" || this.tool === "mask"; }

    boxList() {
      const { state } = this;
      if (this.tool === "mask") return state.masks[state.plane];
      const region = state.regions[state.plane];
      return region ? [region] : [];
    }

    putBox(index, box) {
      const { state, frame } = this;
      const [l, t, r, b] = box;
      const whole = [
        clamp(Math.round(Math.min(l, r)), 0, frame.columns - 1),
        clamp(Math.round(Math.min(t, b)), 0, frame.rows - 1),
        clamp(Math.round(Math.max(l, r)), 1, frame.columns),
        clamp(Math.round(Math.max(t, b)), 1, frame.rows),
      ];
      whole[2] = Math.max(whole[2], whole[0] + 1);
      whole[3] = Math.max(whole[3], whole[1] + 1);
      if (this.tool === "mask") {
        const masks = state.masks[state.plane];
        masks[index ?? masks.length] = whole;
        this.chosen = index ?? masks.length - 1;
      } else {
        state.regions[state.plane] = whole;
        this.chosen = 0;
      }
      this.say(`${this.tool === "mask" ? "Cover" : "Region"} from ${whole[0]}, ${whole[1]} to ${whole[2]}, ${whole[3]}`);
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
      const [mx, my] = [dx * step, dy * step];
      const [l, t, r, b] = box;
      const [w, h] = [r - l, b - t];
      if (size) {
        this.putBox(this.chosen, [l, t, Math.max(l + 1, r + mx), Math.max(t + 1, b + my)]);
      } else {
        const left = clamp(l + mx, 0, this.frame.columns - w);
        const top = clamp(t + my, 0, this.frame.rows - h);
        this.putBox(this.chosen, [left, top, left + w, top + h]);
      }
      return true;
    }

    /** Which box, and which corner of it, lies under a point of the image. */
    hit(point) {
      const { x, y } = this.geometry();
      const ratio = window.devicePixelRatio || 1;
      const [near, far] = [(HANDLE * ratio) / x, (HANDLE * ratio) / y];
      const list = this.boxList();
      for (let index = list.length - 1; index >= 0; index--) {
        const [l, t, r, b] = list[index];
        for (const [cx, cy, ox, oy] of [[l, t, r, b], [r, t, l, b], [l, b, r, t], [r, b, l, t]]) {
          if (Math.abs(point[0] - cx) < near && Math.abs(point[1] - cy) < far) {
            return { index, anchor: [ox, oy] };
          }
        }
        if (point[0] > l && point[0] < r && point[1] > t && point[1] < b) return { index, box: [l, t, r, b] };
      }
      return null;
    }

    // --- Pointer ------------------------------------------------------------------------------

    devicePoint(event) {
      const box = this.canvas.getBoundingClientRect();
      const ratio = window.devicePixelRatio || 1;
      return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    }

    imagePoint(event) {
      const [px, py] = this.devicePoint(event);
      const { x, y, left, top } = this.geometry();
      return [(px - left) / x, (py - top) / y];
    }

    press(event) {
      if (!this.frame) return;
      this.canvas.focus({ preventScroll: true });
      this.canvas.setPointerCapture(event.pointerId);
      const kind = event.button === 0 && !event.shiftKey ? this.tool : "move";
      this.held = { kind, pointer: event.pointerId };
      if (event.button === 0 && this.editable) {
        const point = this.imagePoint(event);
        const hit = this.hit(point);
        this.held = hit?.box
          ? { kind: "shift", start: point, ...hit }
          : { kind: "stretch", anchor: hit?.anchor ?? point, index: hit?.index ?? null };
        if (hit) this.chosen = hit.index;
      }
      event.preventDefault();
    }

    drag(event) {
      if (!this.frame) return;
      this.cursor = event.pointerType === "touch" ? null : this.imagePoint(event);
      const { held } = this;
      if (!held) {
        this.texts();
        return;
      }
      const ratio = window.devicePixelRatio || 1;
      if (held.kind === "window" && !this.scan.color) {
        const [center, width] = this.shownWindow();
        const reach = Math.max(width, this.scan.step * 50) / 250;
        this.setWindow(center + event.movementY * reach, width + event.movementX * reach);
      } else if (held.kind === "move" || held.kind === "window") {
        this.pan(event.movementX * ratio, event.movementY * ratio);
      } else if (held.kind === "stretch") {
        this.drawing = this.span(held.anchor, this.imagePoint(event));
        this.overlay();
      } else {
        const point = this.imagePoint(event);
        const [l, t, r, b] = held.box;
        const dx = clamp(point[0] - held.start[0], -l, this.frame.columns - r);
        const dy = clamp(point[1] - held.start[1], -t, this.frame.rows - b);
        this.putBox(held.index, [l + dx, t + dy, r + dx, b + dy]);
      }
    }

    span(one, other) {
      const { columns, rows } = this.frame;
      return [
        clamp(Math.min(one[0], other[0]), 0, columns), clamp(Math.min(one[1], other[1]), 0, rows),
        clamp(Math.max(one[0], other[0]), 0, columns), clamp(Math.max(one[1], other[1]), 0, rows),
      ];
    }

    release() {
      const { held, drawing } = this;
      this.held = this.drawing = null;
      // A click without a drag draws nothing.
      if (held?.kind === "stretch" && drawing && drawing[2] - drawing[0] >= 2 && drawing[3] - drawing[1] >= 2) {
        this.putBox(held.index, drawing);
      } else if (this.frame) {
        this.overlay();
      }
    }

    // --- Keys ---------------------------------------------------------------------------------

    key(event) {
      if (event.ctrlKey || event.metaKey || !this.scan || !this.frame) return false;
      const arrows = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
      const arrow = arrows[event.key];
      const { state } = this;
      if (arrow) {
        const [dx, dy] = arrow;
        if (event.altKey) this.pan(-dx * 40, -dy * 40);
        else if (this.editable && this.nudge(dx, dy, event.shiftKey)) return true;
        else if (event.shiftKey && !this.scan.color) {
          const [center, width] = this.shownWindow();
          const step = Math.max(this.scan.step, width / 25);
          this.setWindow(center - dy * step, width + dx * step);
        } else if (dx && this.scan.times > 1) this.go(state.frame, state.time + dx);
        else this.go(state.frame + dx + dy);
        return true;
      }
      if (event.altKey) return false;
      if (/^[1-9]$/.test(event.key)) {
        const preset = this.scan.presets[Number(event.key) - 1];
        if (preset && !this.scan.color) this.setPreset(preset.key);
        return true;
      }
      const steps = { PageUp: state.frame - 10, PageDown: state.frame + 10, Home: 0, End: this.frameCount - 1 };
      if (event.key in steps) { this.go(steps[event.key]); return true; }
      const does = {
        "+": "in", "=": "in", "-": "out", _: "out", 0: "fit", z: "actual", i: "invert", l: "large", "?": "keys",
      };
      const tools = { w: "window", m: "move", r: "region", k: "mask" };
      const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (does[name]) this.act(does[name]);
      else if (tools[name]) { this.setTool(tools[name]); this.say(`${tools[name]} tool`); }
      else if (name === "a" && !this.scan.color) this.setPreset("auto");
      else if (name === "p") {
        const { planes } = this.scan;
        this.setPlane(planes[(planes.indexOf(state.plane) + 1) % planes.length]);
      } else if (name === "n" && this.order.length > 1) this.activate((this.at + 1) % this.order.length);
      else if (name === "Enter" && this.editable) this.placeBox();
      else if ((name === "Delete" || name === "Backspace") && this.editable) this.dropBox();
      else return false;
      return true;
    }

    // --- Buttons ------------------------------------------------------------------------------

    act(what, button = null) {
      const { state } = this;
      if (what === "open" || what === "folder" || what === "add") {
        this.adding = what === "add";
        this.find(what === "folder" ? ".viewer-folder" : ".viewer-files").click();
      } else if (what === "tool") this.setTool(button.dataset.tool);
      else if (what === "keys") {
        const keys = this.find(".viewer-keys");
        keys.hidden = !keys.hidden;
        this.find('.viewer-tools [data-do="keys"]').setAttribute("aria-pressed", String(!keys.hidden));
      } else if (what === "large") this.setLarge(!this.root.classList.contains("large"));
      else if (what === "see") this.trigger("see", { report: this.report() });
      else if (!this.scan || !this.frame) return;
      else if (what === "invert") { state.invert = !state.invert; this.redraw(); }
      else if (what === "in") this.zoomTo(this.geometry().x * 1.25);
      else if (what === "out") this.zoomTo(this.geometry().x / 1.25);
      else if (what === "fit") { state.zoom = null; this.redraw(); }
      else if (what === "actual") this.zoomTo(1);
      else if (what === "accept") {
        // A proposal may have missed something: the reader is asked once more.
        state.masks[state.plane].push(...this.scan.proposed);
        this.redraw();
      } else if (what === "draw") { this.setTool("mask"); this.canvas.focus(); }
      else if (what === "clean") { state.decided = true; this.redraw(); }
      else if (what === "activate") this.activate(Number(button.dataset.index));
      else if (what === "remove") this.trigger("removed", { token: button.dataset.token });
    }

    activate(index) {
      if (index === this.at) return;
      this.at = index;
      this.tray();
      this.show();
      this.trigger("activated", { token: this.scan.token });
    }

    tray() {
      const several = this.order.length > 1;
      this.root.toggleAttribute("data-several", several);
      const cards = this.order.map((scan, index) => {
        const state = this.states.get(scan.token);
        const card = element("li", index === this.at ? { "data-active": "" } : {});
        const name = ROLES.find(([key]) => key === state.role)?.[1] ?? state.role;
        const look = element("button", {
          type: "button", "data-do": "activate", "data-index": index,
          "aria-pressed": String(index === this.at), "aria-label": `Show ${name}: ${scan.title}`,
        });
        const picture = element("img", { src: scan.thumbnail, alt: "" });
        look.append(picture);
        card.append(look);
        if (several) {
          const role = element("select", { "data-role": scan.token, "aria-label": "What this scan is" });
          for (const [key, label] of ROLES) {
            const option = element("option", { value: key }, label);
            option.selected = key === state.role;
            role.append(option);
          }
          card.append(role);
        }
        card.append(element("button", {
          type: "button", class: "remove", "data-do": "remove", "data-token": scan.token,
          "aria-label": `Remove ${name}: ${scan.title}`, title: "Remove",
        }, "×"));
        return card;
      });
      this.find(".viewer-scans").replaceChildren(...cards);
    }

    /** Two scans never carry one name: whoever had it takes the other's. */
    setRole(token, role) {
      const mine = this.states.get(token);
      for (const state of this.states.values()) if (state !== mine && state.role === role) state.role = mine.role;
      mine.role = role;
      this.tray();
    }

    // --- Files --------------------------------------------------------------------------------

    /** Send files under neutral names, since file names name patients, then tell Python. */
    async open(files, add = false) {
      const wanted = [...files].filter((file) => file.size && !/^(\.|Thumbs\.db$|DICOMDIR$)/i.test(file.name));
      if (!wanted.length || this.sending) return;
      this.sending = true;
      const paths = new Array(wanted.length);
      let next = 0;
      let done = 0;
      const work = async () => {
        while (next < wanted.length) {
          const index = next++;
          const plain = new File([wanted[index]], `scan-${index}`, { type: "application/octet-stream" });
          paths[index] = (await this.upload(plain)).path;
          done++;
          if (wanted.length > 1) this.busy(`Receiving ${done} of ${wanted.length} files`);
        }
      };
      this.busy("Receiving the file");
      try {
        if (wanted.some((file) => file.size > this.props.file_bytes)) throw new RangeError();
        await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, work));
        this.busy("Opening");
        this.trigger("opened", { paths, add: add && this.order.length > 0 });
      } catch (error) {
        const most = Math.round(this.props.file_bytes / 1e6);
        this.busy(error instanceof RangeError
          ? `A file is larger than ${most} MB; export a single picture or a shorter series.`
          : "The upload did not arrive; try again.", true);
      } finally {
        this.sending = false;
      }
    }

    // --- Wiring -------------------------------------------------------------------------------

    listen() {
      const { root, canvas } = this;
      root.addEventListener("click", (event) => {
        const button = event.target.closest("[data-do]");
        if (button) this.act(button.dataset.do, button);
      });
      root.addEventListener("change", (event) => {
        const { target } = event;
        if (target.matches("[data-input=files]")) {
          this.open(target.files, this.adding);
          target.value = "";
        } else if (target.dataset.role) this.setRole(target.dataset.role, target.value);
        else if (target.dataset.input === "plane") this.setPlane(target.value);
        else if (target.dataset.input === "preset") this.setPreset(target.value);
        else if (target.dataset.input?.endsWith("-number") && this.frame) {
          const [center, width] = this.shownWindow();
          const value = Number(target.value);
          if (!Number.isFinite(value) || target.value === "") this.texts();
          else if (target.dataset.input === "level-number") this.setWindow(value, width);
          else this.setWindow(center, value);
        }
      });
      root.addEventListener("input", (event) => {
        const name = event.target.dataset.input;
        const value = Number(event.target.value);
        if (!this.frame) return;
        if (name === "frame") this.go(value);
        else if (name === "time") this.go(this.state.frame, value);
        else if (name === "level") this.setWindow(value, this.shownWindow()[1]);
        else if (name === "width") this.setWindow(this.shownWindow()[0], this.sliderToWidth(value));
      });
      root.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
          if (!this.find(".viewer-keys").hidden) this.act("keys");
          else if (root.classList.contains("large")) this.setLarge(false);
          return;
        }
        const typing = event.target.matches("select, input");
        // A slider keeps its arrows, a button its Enter.
        if (typing || (event.key === "Enter" && event.target !== canvas)) return;
        if (this.key(event)) event.preventDefault();
      });
      canvas.addEventListener("pointerdown", (event) => this.press(event));
      canvas.addEventListener("pointermove", (event) => this.drag(event));
      canvas.addEventListener("pointerup", () => this.release());
      canvas.addEventListener("pointercancel", () => this.release());
      canvas.addEventListener("pointerleave", () => { this.cursor = null; this.texts(); });
      canvas.addEventListener("contextmenu", (event) => event.preventDefault());
      canvas.addEventListener("dblclick", () => { if (!this.editable) this.act("fit"); });
      let turned = 0;
      canvas.addEventListener("wheel", (event) => {
        if (!this.frame) return;
        event.preventDefault();
        if (event.ctrlKey || this.frameCount < 2) {
          this.zoomTo(this.geometry().x * (event.deltaY < 0 ? 1.15 : 1 / 1.15), this.devicePoint(event));
          return;
        }
        // A mouse wheel sends large steps, a touchpad many small ones.
        turned += event.deltaMode ? event.deltaY * 40 : event.deltaY;
        const steps = Math.trunc(turned / 40);
        if (steps) {
          turned = 0;
          this.go(this.state.frame + Math.sign(steps));
        }
      }, { passive: false });
    }
  }

  let viewer = null;
  return {
    mount(...parts) { viewer = new Viewer(...parts); },
    /** What a question needs; called by Gradio before a handler runs. */
    report: () => viewer?.report() ?? null,
    open: (files, add) => viewer?.open(files, add),
    press: (what) => viewer?.act(what),
  };
})();
window.RarlViewer = RarlViewer;
