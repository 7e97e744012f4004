/* Raw values to grey levels; the same numbers as in DICOM PS3.3 C.11.2.1. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { leveller, paint } from "../../demo/static/js/viewer/lut.js";

const grey = (level) => ((0xff << 24) | (level << 16) | (level << 8) | level) >>> 0;

test("a linear window has the middle and the ends that the standard gives", () => {
  const level = leveller([2048, 4096], "LINEAR");
  assert.deepEqual([0, 4095, -100, 9000].map(level), [0, 255, 0, 255]);
  // The standard's example of a width of one is a threshold.
  const sharp = leveller([2048, 1], "LINEAR");
  assert.deepEqual([2047, 2048].map(sharp), [0, 255]);
});

test("an exact window ends half its width from its centre", () => {
  const level = leveller([100, 200], "LINEAR_EXACT");
  assert.deepEqual([0, 150, 200].map(level), [0, 191, 255]);
});

test("a sigmoid is in its middle at the centre and never overflows", () => {
  const level = leveller([0, 10], "SIGMOID");
  assert.deepEqual([-1e9, 0, 1e9].map(level), [0, 128, 255]);
});

test("a frame is painted, inverted where asked, and covered where masked", () => {
  const frame = {
    columns: 2,
    rows: 2,
    channels: 1,
    type: "int16",
    values: Int16Array.from([-1000, 0, 1000, 1000]),
    window: [0, 2001],
    curve: "LINEAR",
    ownCurve: "LINEAR",
    inverse: false,
    own: null,
  };
  const target = new Uint32Array(4);
  paint(frame, target, null, false, [[1, 1, 5, 5]]);
  assert.deepEqual([...target], [grey(0), grey(128), grey(255), grey(0)]);
  paint(frame, target, [0, 2001], true, []);
  assert.deepEqual([target[0], target[2]], [grey(255), grey(0)]);
});

test("a colour frame keeps its colours", () => {
  const frame = { columns: 1, rows: 1, channels: 3, type: "uint8", values: [1, 2, 3] };
  const target = new Uint32Array(1);
  paint(frame, target, null, false, []);
  assert.equal(target[0], 0xff030201);
});
