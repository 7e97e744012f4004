/* What is drawn to be measured: how it begins, is taken hold of, moves, and comes back. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  History,
  KINDS,
  begun,
  bounds,
  distanceTo,
  freePlace,
  handles,
  hit,
  inPicture,
  isDrawn,
  isSound,
  moved,
  newKey,
  placed,
  regionOf,
  withHandle,
} from "../../demo/static/js/viewer/drawings.js";

const size = [100, 200]; // rows, columns
const even = [1, 1];
const drawing = (kind, points, key = kind) => ({ key, kind, points });
const ruler = drawing("ruler", [
  [10, 10],
  [40, 50],
]);
const box = drawing("rectangle", [
  [80, 60],
  [20, 30],
]);
const circle = drawing("ellipse", [
  [20, 30],
  [80, 50],
]);

test("keys are 32 hex digits, each another", () => {
  const keys = new Set(Array.from({ length: 50 }, newKey));
  assert.equal(keys.size, 50);
  for (const key of keys) assert.match(key, /^[0-9a-f]{32}$/);
});

test("points stay within the picture and are kept to hundredths", () => {
  assert.deepEqual(inPicture([-3, 100.4], size), [0, 100]);
  assert.deepEqual(inPicture([12.3456, 7.891], size), [12.35, 7.89]);
});

test("a drag begins a line or a box from end to end", () => {
  for (const kind of ["ruler", "rectangle", "ellipse"]) {
    assert.deepEqual(begun(kind, [1, 2], [30, 40], size), [
      [1, 2],
      [30, 40],
    ]);
  }
});

test("an angle begins with its first arm and a second one as long, 45 degrees from it", () => {
  const [end, corner, other] = begun("angle", [60, 50], [50, 50], size);
  assert.deepEqual(
    [end, corner],
    [
      [60, 50],
      [50, 50],
    ],
  );
  const arm = [other[0] - 50, other[1] - 50];
  assert.ok(Math.abs(Math.hypot(...arm) - 10) < 0.02);
  assert.ok(Math.abs(Math.atan2(arm[1], arm[0]) - Math.PI / 4) < 0.002);
});

test("a click or a line as a box draws nothing", () => {
  const short = [
    [5, 5],
    [6, 6],
  ];
  assert.equal(isDrawn("ruler", short, even), false);
  assert.equal(isDrawn("ruler", short, [4, 4]), true); // where a pixel is large on the screen
  const flat = [
    [5, 5],
    [50, 6],
  ];
  assert.equal(isDrawn("ruler", flat, even), true);
  assert.equal(isDrawn("ellipse", flat, even), false);
});

test("a line is held by its points, a box by its corners", () => {
  assert.deepEqual(handles(ruler), ruler.points);
  assert.deepEqual(handles(box), [
    [20, 30],
    [80, 30],
    [80, 60],
    [20, 60],
  ]);
});

test("a handle moves and the rest stays", () => {
  assert.deepEqual(withHandle(ruler, 1, [300, 20], size), [
    [10, 10],
    [200, 20],
  ]);
  // Each corner against the one across from it, also beyond it.
  for (const [index, across] of [
    [0, [80, 60]],
    [1, [20, 60]],
    [2, [20, 30]],
    [3, [80, 30]],
  ]) {
    const points = withHandle(box, index, [5, 95], size);
    assert.deepEqual(bounds(points), bounds([across, [5, 95]]));
  }
});

test("a move ends at the edges and keeps the form", () => {
  assert.deepEqual(moved(ruler.points, [5, -3], size), [
    [15, 7],
    [45, 47],
  ]);
  assert.deepEqual(bounds(moved(box.points, [-1000, 1000], size)), [0, 70, 60, 100]);
});

test("what has no length or no side is unsound", () => {
  for (const good of [ruler, box, circle]) assert.ok(isSound(good));
  const point = [3, 3];
  assert.equal(isSound(drawing("ruler", [point, point])), false);
  assert.equal(isSound(drawing("angle", [point, [5, 5], [5, 5]])), false);
  assert.equal(isSound(drawing("ellipse", [point, [3, 9]])), false);
});

test("a key places a sound drawing of each kind within the picture", () => {
  for (const kind of KINDS) {
    const points = placed(kind, size);
    assert.ok(isSound(drawing(kind, points)));
    assert.equal(points.length, kind === "angle" ? 3 : 2);
    const [l, t, r, b] = bounds(points);
    assert.ok(l > 0 && t > 0 && r < 200 && b < 100);
  }
});

test("distances are those on the screen", () => {
  assert.equal(
    distanceTo(
      drawing("ruler", [
        [0, 0],
        [10, 0],
      ]),
      [5, 3],
      [1, 4],
    ),
    12,
  );
  assert.equal(
    distanceTo(
      drawing("ruler", [
        [0, 0],
        [10, 0],
      ]),
      [13, 4],
      even,
    ),
    5,
  );
  assert.equal(distanceTo(box, [50, 35], even), 5);
  assert.ok(Math.abs(distanceTo(circle, [50, 30], even)) < 1e-9);
  assert.ok(Math.abs(distanceTo(circle, [90, 40], even) - 10) < 1e-9);
  assert.equal(distanceTo(circle, [50, 40], even), 10);
});

test("a handle is hit before a line, and a line within reach", () => {
  const list = [ruler, box];
  assert.deepEqual(hit(list, [41, 51], even, 9, null), { key: "ruler", handle: 1 });
  assert.deepEqual(hit(list, [25, 30.5], even, 3, null), { key: "rectangle" });
  assert.deepEqual(hit([ruler], [25.5, 30], even, 9, null), { key: "ruler" });
  assert.equal(hit(list, [150, 90], even, 9, null), null);
});

test("only the chosen box is held by its inside, so that one can be drawn within another", () => {
  assert.equal(hit([box], [50, 45], even, 9, null), null);
  assert.deepEqual(hit([box], [50, 45], even, 9, "rectangle"), { key: "rectangle" });
});

test("of two at one place the chosen one is hit, else the latest", () => {
  const twin = { ...ruler, key: "twin" };
  assert.equal(hit([ruler, twin], [10, 10], even, 9, null).key, "twin");
  assert.equal(hit([ruler, twin], [10, 10], even, 9, "ruler").key, "ruler");
});

test("the region of a question has room around the drawing, within the picture", () => {
  assert.deepEqual(regionOf(ruler.points, size), [2, 2, 48, 58]);
  assert.deepEqual(
    regionOf(
      [
        [0, 0],
        [200, 100],
      ],
      size,
    ),
    [0, 0, 200, 100],
  );
  const [l, t, r, b] = regionOf(
    [
      [50, 50],
      [50, 60],
    ],
    size,
  );
  assert.ok(r - l >= 16 && b - t >= 16);
});

test("labels stand within the picture and not on each other", () => {
  const taken = [];
  const area = [200, 100];
  assert.deepEqual(freePlace([190, 95, 50, 30], taken, area), [146, 66]);
  const second = freePlace([190, 95, 50, 30], taken, area);
  assert.ok(second[1] <= 36 && second[1] >= 4 && second[0] === 146);
  assert.deepEqual(freePlace([20, 70, 50, 20], taken, area), [20, 70]);
  assert.equal(taken.length, 3);
  // Where there is no room at all it stands where it would.
  assert.deepEqual(freePlace([10, 10, 300, 90], taken, area), [4, 6]);
});

test("versions come back and go again until something new is drawn", () => {
  const history = new History([1]);
  assert.equal(history.undo(), false);
  history.put([1, 2]);
  history.put([1, 2, 3]);
  assert.ok(history.undo());
  assert.ok(history.undo());
  assert.deepEqual(history.now, [1]);
  assert.ok(history.redo());
  assert.deepEqual(history.now, [1, 2]);
  history.put([9]);
  assert.equal(history.redo(), false);
  assert.ok(history.undo());
  assert.deepEqual(history.now, [1, 2]);
});
