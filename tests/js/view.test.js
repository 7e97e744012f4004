/* How a picture is looked at. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  freshView,
  movedView,
  relitView,
  sameView,
  zoomedView,
} from "../../demo/static/js/page/view.js";

test("zooming leaves the point under the pointer where it is", () => {
  const point = [60, -40];
  const under = (view) => point.map((value, axis) => (value - [view.x, view.y][axis]) / view.scale);
  const before = zoomedView(freshView(), 2, [10, 10]);
  const after = zoomedView(before, 1.5, point);
  assert.equal(after.scale, 3);
  under(after).forEach((value, axis) => assert.ok(Math.abs(value - under(before)[axis]) < 1e-9));
});

test("a picture is never smaller than its stage, and whole again in its place", () => {
  const away = movedView(zoomedView(freshView(), 3), 100, 50);
  assert.deepEqual(zoomedView(away, 0.01, [30, 30]), freshView());
});

test("zoom ends at twelve times", () => {
  assert.equal(zoomedView(freshView(), 1e9).scale, 12);
  // At the end, another turn of the wheel moves nothing.
  const end = zoomedView(freshView(), 12, [40, 0]);
  assert.deepEqual(zoomedView(end, 1.15, [-200, 90]), end);
});

test("zooming keeps brightness and contrast", () => {
  const lit = relitView(freshView(), 75, -100);
  assert.deepEqual([lit.light, lit.contrast], [1.5, 1.5]);
  const zoomed = zoomedView(lit, 2);
  assert.deepEqual([zoomed.light, zoomed.contrast], [1.5, 1.5]);
});

test("brightness and contrast have ends", () => {
  const low = relitView(freshView(), -1e6, 1e6);
  const high = relitView(freshView(), 1e6, -1e6);
  assert.deepEqual([low.light, low.contrast, high.light, high.contrast], [0.2, 0.2, 4, 6]);
});

test("only a picture that is zoomed is moved", () => {
  assert.deepEqual(movedView(freshView(), 5, 5), freshView());
  const zoomed = zoomedView(freshView(), 2);
  assert.deepEqual(movedView(zoomed, 5, -7), { ...zoomed, x: 5, y: -7 });
});

const view = {
  plane: "axial",
  frame: 3,
  time: 0,
  invert: false,
  window: [40, 400],
  region: [1, 2, 30, 40],
};

test("a view is the same where slice, window and region are", () => {
  assert.ok(sameView(view, { ...view, window: [40 + 1e-9, 400], zoom: 4 }));
  assert.ok(sameView({ ...view, region: null }, { ...view, region: undefined }));
});

test("a view is another one where anything that the model sees differs", () => {
  assert.equal(sameView(view, undefined), false);
  for (const other of [
    { plane: "coronal" },
    { frame: 4 },
    { time: 1 },
    { invert: true },
    { window: [40, 401] },
    { window: null },
    { region: null },
    { region: [1, 2, 30, 41] },
  ]) {
    assert.equal(sameView(view, { ...view, ...other }), false, JSON.stringify(other));
  }
});
