/* Measuring: what is drawn on the scans, and the numbers that the server gives for it. */

import { rootAddress } from "../root.js";
import { element, svg } from "./dom.js";
import {
  KINDS,
  begun,
  bounds,
  freePlace,
  handles,
  hit,
  inPicture,
  isBox,
  isDrawn,
  isSound,
  moved,
  newKey,
  placed,
  regionOf,
  withHandle,
} from "./drawings.js";
import { wholeBox } from "./geometry.js";

const REACH = { mouse: 9, pen: 12, touch: 22 }; // CSS pixels around a handle
const REST = 200; // milliseconds after the last change
const TRIES = 3;
const LOST = "The numbers did not arrive; change the drawing to try again.";
const LINE = 15; // CSS pixels between lines of a label
const LETTER = 7; // and for a letter
const capital = (word) => word[0].toUpperCase() + word.slice(1);

/** CSS pixels of the screen of one stored pixel of a pane's frame, across and down. */
function scaleOf(pane) {
  const { x, y } = pane.geometry();
  const ratio = window.devicePixelRatio || 1;
  const [rows, columns] = pane.frame.stored;
  return [(x * pane.frame.columns) / columns / ratio, (y * pane.frame.rows) / rows / ratio];
}

const here = ({ place }, drawing) =>
  drawing.plane === place.plane && drawing.slice === place.frame && drawing.frame === place.time;

/** The elements of what is drawn on the frame that a pane shows; chosen: {key, handle} or null. */
export function drawnOn(pane, list, chosen) {
  const { left, top } = pane.geometry();
  const ratio = window.devicePixelRatio || 1;
  const [across, down] = scaleOf(pane);
  const onScreen = ([x, y]) => [
    (left - pane.area.left) / ratio + x * across,
    top / ratio + y * down,
  ];
  const room = [pane.area.width / ratio, pane.area.height / ratio];
  const taken = [];
  return list
    .filter((drawing) => here(pane, drawing))
    .map((drawing) => {
      const held = chosen?.key === drawing.key;
      const points = drawing.points.map(onScreen);
      const group = svg("g", { class: `drawing${held ? " held" : ""}`, "data-key": drawing.key });
      // Twice, dark below light: to be seen on bone and on air.
      for (const kind of ["under", "over"]) group.append(outline(drawing.kind, points, kind));
      const lines = linesOf(pane.numbers.get(drawing.key), held);
      const widest = Math.max(...lines.map((line) => line.length)) * LETTER;
      const [, , right, bottom] = bounds(points);
      const label = [right + 9, bottom + 2, widest, LINE * lines.length];
      group.append(written(lines, freePlace(label, taken, room)));
      if (held) {
        handles(drawing).forEach((handle, index) => {
          const [cx, cy] = onScreen(handle);
          const inHand = index === chosen.handle;
          group.append(
            svg("circle", { class: inHand ? "taken" : "", cx, cy, r: inHand ? 6 : 4.5 }),
          );
        });
      }
      return group;
    });
}

/** What stands beside a drawing: of the chosen one everything, of the others the first lines. */
function linesOf(known, held) {
  if (!known) return ["…"];
  if (known.trouble) return ["?"];
  return held ? known.lines : known.lines.slice(0, 2);
}

function written(lines, [x, y]) {
  const text = svg("text", {});
  lines.forEach((line, index) => {
    const span = svg("tspan", { x, y: y + LINE * (index + 1) - 3 });
    span.textContent = line;
    text.append(span);
  });
  return text;
}

function outline(kind, points, name) {
  const [l, t, r, b] = bounds(points);
  if (kind === "rectangle") {
    return svg("rect", { class: name, x: l, y: t, width: r - l, height: b - t });
  }
  if (kind === "ellipse") {
    return svg("ellipse", {
      class: name,
      cx: (l + r) / 2,
      cy: (t + b) / 2,
      rx: (r - l) / 2,
      ry: (b - t) / 2,
    });
  }
  return svg("polyline", { class: name, points: points.map((point) => point.join(",")).join(" ") });
}

export class Measuring {
  constructor(viewer) {
    this.viewer = viewer;
    this.last = "ruler"; // the kind that the button takes up
    this.chosen = null; // {key, handle}: what keys act on; handle null for the whole
    this.asking = null; // key of what is asked about, while its picture is on its way
    this.arm = null; // key of an angle whose second arm comes with the next press
    this.draft = null; // the list while something is being dragged
    this.writing = new Map(); // pane to its timer
  }

  get on() {
    return KINDS.includes(this.viewer.tool);
  }
  get pane() {
    return this.viewer.pane;
  }
  get list() {
    return this.draft ?? this.pane?.drawn.now ?? [];
  }
  get size() {
    return this.pane.frame.stored;
  }
  get drawing() {
    return this.list.find(({ key }) => key === this.chosen?.key) ?? null;
  }

  /** A point of the displayed picture on the stored one. */
  stored([x, y]) {
    const { frame } = this.pane;
    return [(x / frame.columns) * this.size[1], (y / frame.rows) * this.size[0]];
  }

  // --- Pointer ------------------------------------------------------------------------------

  press(shown, pointer) {
    const point = this.stored(shown);
    const scale = scaleOf(this.pane);
    const shapes = this.list.filter((drawing) => here(this.pane, drawing));
    const under = hit(shapes, point, scale, REACH[pointer] ?? REACH.mouse, this.chosen?.key);
    const arm = shapes.find(({ key }) => key === this.arm);
    this.arm = null;
    this.held = { start: point, before: this.list, place: this.pane.place };
    if (arm && !under) {
      this.held = { ...this.held, key: arm.key, handle: 2 };
      this.chosen = { key: arm.key, handle: null };
      this.drag(shown);
    } else if (under) {
      this.held = { ...this.held, ...under };
      this.chosen = { key: under.key, handle: null };
    } else {
      this.chosen = null;
    }
    this.show();
  }

  drag(shown) {
    const { held } = this;
    if (!held) return;
    const point = this.stored(shown);
    if (!held.key) {
      if (!isDrawn(this.viewer.tool, [held.start, point], scaleOf(this.pane))) return;
      held.made = true;
      this.chosen = { key: (held.key = newKey()), handle: null };
    }
    const { plane, frame, time } = held.place;
    const old = held.before.find(({ key }) => key === held.key);
    if (!old) {
      const kind = this.viewer.tool;
      const points = begun(kind, held.start, point, this.size);
      this.try({ key: held.key, kind, points, plane, slice: frame, frame: time });
    } else if (held.handle !== undefined) {
      this.try({ ...old, points: withHandle(old, held.handle, point, this.size) });
    } else {
      const by = [point[0] - held.start[0], point[1] - held.start[1]];
      this.try({ ...old, points: moved(old.points, by, this.size) });
    }
  }

  release() {
    const { held, draft } = this;
    this.held = this.draft = null;
    if (!held) return;
    if (draft) {
      if (held.made && this.viewer.tool === "angle") this.arm = held.key;
      this.put(draft);
    } else this.show();
  }

  /** A second finger has come: nothing is drawn. */
  cancel() {
    if (this.held?.made) this.chosen = null;
    this.held = this.draft = null;
    this.show();
  }

  // --- Changes ------------------------------------------------------------------------------

  /** Show a drawing in another form, before it is let go of. */
  try(drawing) {
    if (!isSound(drawing)) return;
    const known = this.list.some(({ key }) => key === drawing.key);
    this.draft = known
      ? this.list.map((one) => (one.key === drawing.key ? drawing : one))
      : [...this.list, drawing];
    this.pane.numbers.delete(drawing.key); // a number never stands beside another drawing
    this.viewer.redraw();
  }

  put(list) {
    this.pane.drawn.put(list);
    this.changed();
  }

  change(drawing) {
    if (!isSound(drawing)) return;
    this.put(this.list.map((one) => (one.key === drawing.key ? drawing : one)));
  }

  /** After any change: what is no longer as it was measured loses its numbers. */
  changed() {
    const { pane } = this;
    for (const drawing of pane.drawn.now) {
      const known = pane.numbers.get(drawing.key);
      if (known && known.points !== JSON.stringify(drawing.points))
        pane.numbers.delete(drawing.key);
    }
    if (!this.drawing) this.chosen = null;
    this.write(pane);
    this.show();
  }

  undo() {
    this.turn((drawn) => drawn.undo());
  }
  redo() {
    this.turn((drawn) => drawn.redo());
  }

  /** Go back or forth by one change; what has come back is shown and in hand. */
  turn(step) {
    const drawn = this.pane?.drawn;
    const before = drawn?.now;
    if (!drawn || !step(drawn)) return;
    this.changed();
    const back = drawn.now.find((drawing) => !before.includes(drawing));
    if (back) this.choose(back.key);
  }

  drop(key = this.chosen?.key) {
    if (!this.list.some((one) => one.key === key)) return;
    this.put(this.list.filter((one) => one.key !== key));
    this.viewer.say("Measurement removed");
  }

  /** By a key: a new one in the middle. */
  place() {
    const { plane, frame, time } = this.pane.place;
    const kind = this.viewer.tool;
    const drawing = {
      key: newKey(),
      kind,
      points: placed(kind, this.size),
      plane,
      slice: frame,
      frame: time,
    };
    this.chosen = { key: drawing.key, handle: null };
    this.put([...this.list, drawing]);
  }

  /** By keys: the whole, or the handle that is taken. */
  nudge(dx, dy, far) {
    const { drawing } = this;
    if (!drawing || !here(this.pane, drawing)) return false;
    const by = [dx, dy].map((step) => step * (far ? 10 : 1));
    const { handle } = this.chosen;
    if (handle === null) {
      this.change({ ...drawing, points: moved(drawing.points, by, this.size) });
    } else {
      const [x, y] = handles(drawing)[handle];
      const point = inPicture([x + by[0], y + by[1]], this.size);
      const points = withHandle(drawing, handle, point, this.size);
      this.change({ ...drawing, points });
      // The corners of a box are counted from its upper left one.
      if (isBox(drawing.kind) && this.drawing) {
        const at = handles(this.drawing).findIndex((one) => one.join() === point.join());
        this.chosen.handle = at < 0 ? handle : at;
      }
    }
    return true;
  }

  /** By a key: the whole, then each handle. */
  nextHandle() {
    const { drawing } = this;
    if (!drawing) return false;
    const { handle } = this.chosen;
    const next = handle === null ? 0 : handle + 1;
    this.chosen.handle = next < handles(drawing).length ? next : null;
    this.viewer.say(this.chosen.handle === null ? "The whole" : `Point ${next + 1}`);
    this.show();
    return true;
  }

  /** Go to where a drawing lies, and take it in hand. */
  choose(key) {
    const drawing = this.list.find((one) => one.key === key);
    if (!drawing) return;
    const { viewer } = this;
    if (drawing.plane !== this.pane.state.plane) viewer.setPlane(drawing.plane);
    viewer.go(drawing.slice, drawing.frame);
    viewer.setTool(drawing.kind, true);
    this.chosen = { key, handle: null };
    const known = this.pane.numbers.get(key);
    if (known) viewer.say([known.text ?? known.trouble, ...(known.notes ?? [])].join(" "));
    this.show();
  }

  /** Make it the region of the question, and let Python write its numbers into the text. */
  ask(key) {
    this.choose(key);
    const { drawing, pane, viewer } = this;
    this.asking = null;
    if (!drawing || !pane.numbers.get(key)?.text) return;
    if (!here(pane, drawing)) {
      this.asking = key; // once its picture has arrived, whose size counts
      return;
    }
    const [rows, columns] = this.size;
    const [l, t, r, b] = regionOf(drawing.points, this.size);
    const [x, y] = [pane.frame.columns / columns, pane.frame.rows / rows];
    pane.state.regions[drawing.plane] = wholeBox([l * x, t * y, r * x, b * y], pane.frame);
    viewer.redraw();
    viewer.trigger("about", { token: pane.scan.token, key, report: viewer.report() });
  }

  /** Another frame is on the stage. */
  arrived() {
    if (this.asking) this.ask(this.asking);
  }

  // --- Numbers ------------------------------------------------------------------------------

  /** Ask for the numbers once the hand has come to rest. */
  write(pane, wait = REST, tries = TRIES) {
    clearTimeout(this.writing.get(pane));
    const work = () => this.send(pane, tries);
    this.writing.set(pane, setTimeout(work, wait));
  }

  async send(pane, tries) {
    const sent = pane.drawn.now;
    let replies = null;
    try {
      const answer = await fetch(`${rootAddress()}/scan/measure`, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-Scan-Token": pane.scan.token },
        body: JSON.stringify({ drawings: sent }),
        cache: "no-store",
        credentials: "same-origin",
      });
      if (answer.ok) replies = (await answer.json()).drawings;
    } catch {
      // The reader is informed below.
    }
    if (pane.drawn.now !== sent) return; // the next one is on its way
    if (!replies && tries > 1) {
      this.write(pane, 10 * REST, tries - 1);
      return;
    }
    sent.forEach(({ key, points }, index) => {
      const reply = replies?.[index] ?? { trouble: LOST };
      if (!replies && pane.numbers.has(key)) return;
      pane.numbers.set(key, { ...reply, points: JSON.stringify(points) });
    });
    const known = pane === this.pane && pane.numbers.get(this.chosen?.key);
    if (known) this.viewer.say(known.text ?? known.trouble);
    this.show();
    // Kept over a reload, and with the answers about these scans.
    if (replies) this.viewer.trigger("measured", { report: this.viewer.report() });
  }

  // --- Shown --------------------------------------------------------------------------------

  show() {
    this.viewer.redraw();
    this.writeList();
  }

  writeList() {
    const { viewer, pane } = this;
    const drawn = pane?.drawn;
    viewer.find(".viewer-measure-bar").hidden = !this.on || !viewer.scan;
    viewer.find('[data-do="measure"]').setAttribute("aria-pressed", String(this.on));
    viewer.find('[data-do="undo"]').disabled = !drawn?.past.length;
    viewer.find('[data-do="redo"]').disabled = !drawn?.future.length;
    viewer.find('[data-do="unmeasure"]').disabled = !this.drawing;
    const shapes = drawn?.now ?? [];
    const list = viewer.find(".viewer-measures");
    const hidden = !shapes.length;
    const resized = list.hidden !== hidden;
    list.hidden = hidden;
    // Whoever goes through the list by keys stays where they are.
    const { do: does, key } = list.contains(document.activeElement)
      ? document.activeElement.dataset
      : {};
    list.replaceChildren(...shapes.map((drawing) => this.entry(drawing)));
    if (key) {
      const same = list.querySelector(`[data-do="${does}"][data-key="${key}"]`);
      (same ?? list.querySelector("button") ?? viewer.canvas).focus({ preventScroll: true });
    }
    if (resized) viewer.resize();
  }

  entry(drawing) {
    const known = this.pane.numbers.get(drawing.key);
    const held = drawing.key === this.chosen?.key;
    const text = known ? (known.trouble ?? known.brief) : `${capital(drawing.kind)}: …`;
    const item = element("li", held ? { "data-active": "" } : {});
    const choose = element(
      "button",
      {
        type: "button",
        "data-do": "choose-drawing",
        "data-key": drawing.key,
        "aria-pressed": String(held),
        title: [known?.text ?? text, ...(known?.notes ?? [])].join(" "),
      },
      text,
    );
    item.append(choose);
    if (known?.text) {
      item.append(
        element(
          "button",
          {
            type: "button",
            class: "ask",
            "data-do": "ask-drawing",
            "data-key": drawing.key,
            title: "Put it into the question, and mark its place",
            "aria-label": `Ask about this: ${text}`,
          },
          "Ask about this",
        ),
      );
    }
    item.append(
      element(
        "button",
        {
          type: "button",
          class: "remove",
          "data-do": "drop-drawing",
          "data-key": drawing.key,
          title: "Remove",
          "aria-label": `Remove: ${text}`,
        },
        "×",
      ),
    );
    if (held && known?.notes?.length) item.append(element("small", {}, known.notes.join(" ")));
    return item;
  }
}
