/* Rulers, angles, rectangles and ellipses on a picture. Pure functions: points as [column, row] in
   pixels of the stored picture, size as [rows, columns] of it, scale as CSS pixels of the screen
   [across, down] of one stored pixel. A drawing is {key, kind, points, plane, slice, frame}. */

import { clamp } from "./geometry.js";

export const KINDS = ["ruler", "angle", "rectangle", "ellipse"];
const SMALLEST = 3; // CSS pixels: a shorter drag draws nothing
const round = (value) => Math.round(value * 100) / 100;

export const isBox = (kind) => kind === "rectangle" || kind === "ellipse";

/** 32 hex digits; also on pages without https, where there is no randomUUID. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A point within a picture, to hundredths of a pixel. */
export function inPicture([x, y], [rows, columns]) {
  return [round(clamp(x, 0, columns)), round(clamp(y, 0, rows))];
}

/** The points of a drawing that a drag from start to end begins; an angle's last arm comes next. */
export function begun(kind, start, end, size) {
  const points = [start, end];
  if (kind === "angle") {
    // Its first arm, and a second one at 45 degrees to it.
    const [dx, dy] = [start[0] - end[0], start[1] - end[1]];
    const [c, s] = [Math.SQRT1_2, Math.SQRT1_2];
    points.push([end[0] + dx * c - dy * s, end[1] + dx * s + dy * c]);
  }
  return points.map((point) => inPicture(point, size));
}

/** Whether a drag was long enough to mean a drawing. */
export function isDrawn(kind, [one, other], [across, down]) {
  const [x, y] = [Math.abs(other[0] - one[0]) * across, Math.abs(other[1] - one[1]) * down];
  return isBox(kind) ? Math.min(x, y) >= SMALLEST : Math.hypot(x, y) >= SMALLEST;
}

/** Left, top, right and bottom of points. */
export function bounds(points) {
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** What can be taken hold of: each point, or the corners of a box. */
export function handles({ kind, points }) {
  if (!isBox(kind)) return points;
  const [l, t, r, b] = bounds(points);
  return [
    [l, t],
    [r, t],
    [r, b],
    [l, b],
  ];
}

/** The points after one handle was brought to another place. */
export function withHandle(drawing, index, point, size) {
  const place = inPicture(point, size);
  if (isBox(drawing.kind)) return [handles(drawing)[(index + 2) % 4], place];
  return drawing.points.map((old, at) => (at === index ? place : old));
}

/** The points after a move, as far as the picture's edges allow. */
export function moved(points, [dx, dy], [rows, columns]) {
  const [l, t, r, b] = bounds(points);
  const by = [clamp(dx, -l, columns - r), clamp(dy, -t, rows - b)];
  return points.map(([x, y]) => [round(x + by[0]), round(y + by[1])]);
}

/** Points that keep a drawing from being nothing: of a box with sides, of a line with a length. */
export function isSound({ kind, points }) {
  const same = (one, other) => one[0] === other[0] && one[1] === other[1];
  const [l, t, r, b] = bounds(points);
  if (isBox(kind)) return l < r && t < b;
  return !points.slice(1).some((point, index) => same(point, points[index]));
}

/** A new drawing in the middle of a picture, for hands on a keyboard. */
export function placed(kind, [rows, columns]) {
  const at = ([x, y]) => [round(x * columns), round(y * rows)];
  const middle = {
    ruler: [
      [0.375, 0.5],
      [0.625, 0.5],
    ],
    angle: [
      [0.375, 0.375],
      [0.5, 0.625],
      [0.625, 0.375],
    ],
  };
  const box = [
    [0.4, 0.4],
    [0.6, 0.6],
  ];
  return (middle[kind] ?? box).map(at);
}

const screen = ([x, y], [across, down]) => [x * across, y * down];

function toSegment(point, one, other, scale) {
  const [p, a, b] = [point, one, other].map((each) => screen(each, scale));
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = dx * dx + dy * dy;
  const share = length ? ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / length : 0;
  const along = clamp(share, 0, 1);
  return Math.hypot(p[0] - a[0] - along * dx, p[1] - a[1] - along * dy);
}

/** How far a point lies from what is drawn, in CSS pixels. */
export function distanceTo(drawing, point, scale) {
  const { kind, points } = drawing;
  if (kind === "ellipse") {
    const [l, t, r, b] = bounds(points);
    const [wide, high] = [((r - l) / 2) * scale[0], ((b - t) / 2) * scale[1]];
    const [x, y] = screen([point[0] - (l + r) / 2, point[1] - (t + b) / 2], scale);
    const reached = Math.hypot(x / wide, y / high);
    if (reached === 0) return Math.min(wide, high);
    // Along the ray from the middle.
    return Math.abs(1 - 1 / reached) * Math.hypot(x, y);
  }
  const path = kind === "rectangle" ? [...handles(drawing), handles(drawing)[0]] : points;
  return Math.min(
    ...path.slice(1).map((other, index) => toSegment(point, path[index], other, scale)),
  );
}

/**
 * What lies under a point: {key, handle} where it is a handle, {key} on what is drawn or within a
 * box that is chosen already, else null. The chosen one comes first, then the latest.
 */
export function hit(drawings, point, scale, reach, chosen) {
  const ordered = [...drawings].reverse();
  ordered.sort((one, other) => Number(other.key === chosen) - Number(one.key === chosen));
  for (const drawing of ordered) {
    const distances = handles(drawing).map((handle) =>
      Math.hypot(...screen([point[0] - handle[0], point[1] - handle[1]], scale)),
    );
    const nearest = Math.min(...distances);
    if (nearest <= reach) return { key: drawing.key, handle: distances.indexOf(nearest) };
    const [l, t, r, b] = bounds(drawing.points);
    const inside = point[0] > l && point[0] < r && point[1] > t && point[1] < b;
    const held = drawing.key === chosen && isBox(drawing.kind) && inside;
    if (held || distanceTo(drawing, point, scale) <= reach * 0.7) return { key: drawing.key };
  }
  return null;
}

/**
 * Where a label [x, y, width, height] finds room, in CSS pixels: within the area, and beside the
 * labels that are there already (taken, which it joins).
 */
export function freePlace([x, y, width, height], taken, area) {
  const within = (place, size, all) => clamp(place, 4, Math.max(4, all - size - 4));
  const left = within(x, width, area[0]);
  const free = (top) =>
    taken.every(
      ([l, t, w, h]) => left >= l + w || l >= left + width || top >= t + h || t >= top + height,
    );
  const start = within(y, height, area[1]);
  const step = 5;
  let top = start;
  for (let away = 0; away < area[1]; away += step) {
    const next = [start + away, start - away].find(
      (one) => one === within(one, height, area[1]) && free(one),
    );
    if (next !== undefined) {
      top = next;
      break;
    }
  }
  taken.push([left, top, width, height]);
  return [left, top];
}

/** The box around a drawing with room around it, as the region of a question. */
export function regionOf(points, [rows, columns]) {
  const [l, t, r, b] = bounds(points);
  const room = Math.max(8, 0.15 * Math.max(r - l, b - t));
  return [
    Math.max(0, l - room),
    Math.max(0, t - room),
    Math.min(columns, r + room),
    Math.min(rows, b + room),
  ];
}

/** Versions of a list, to go back and forth in; a version is never changed. */
export class History {
  constructor(start = []) {
    this.past = [];
    this.now = start;
    this.future = [];
  }
  put(list) {
    this.past.push(this.now);
    this.now = list;
    this.future = [];
  }
  undo() {
    if (!this.past.length) return false;
    this.future.push(this.now);
    this.now = this.past.pop();
    return true;
  }
  redo() {
    if (!this.future.length) return false;
    this.past.push(this.now);
    this.now = this.future.pop();
    return true;
  }
}
