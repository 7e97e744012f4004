/* Where pixels of a scan lie on the canvas. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  boxOnScreen,
  depthOf,
  hitBox,
  imagePoint,
  layout,
  lengthLabel,
  panned,
  pinched,
  pixelBox,
  pixelIndex,
  resized,
  sameZoom,
  scaleLength,
  shifted,
  sliceAt,
  sliderToWidth,
  span,
  wholeBox,
  widthToSlider,
  zoomAround,
} from "../../demo/static/js/viewer/geometry.js";

const frame = { columns: 200, rows: 100 };
const area = { left: 50, width: 400, height: 400 };
const near = (actual, expected) => {
  assert.equal(actual.length, expected.length);
  actual.forEach((value, index) =>
    assert.ok(Math.abs(value - expected[index]) < 1e-6, `${actual} is not ${expected}`),
  );
};

test("a picture without a zoom fits its area and stands in the middle", () => {
  const placed = layout(frame, area, null, null);
  assert.deepEqual([placed.x, placed.y, placed.left, placed.top], [2, 2, 50, 100]);
});

test("a pane on the right of the stage is laid out within its own area", () => {
  const right = { left: 500, width: 100, height: 400 };
  const placed = layout(frame, right, null, null);
  assert.deepEqual([placed.x, placed.left, placed.top], [0.5, 500, 175]);
  near(imagePoint(placed, [500, 175]), [0, 0]);
  near(imagePoint(placed, [600, 225]), [200, 100]);
});

test("one pixel is laid out like any other picture", () => {
  const placed = layout({ columns: 1, rows: 1 }, area, null, null);
  assert.deepEqual([placed.x, placed.y, placed.left, placed.top], [400, 400, 50, 0]);
});

test("rows that are further apart than columns are drawn higher", () => {
  const placed = layout(frame, area, [3, 1], null);
  // 100 rows of 3 mm are the longer side.
  assert.equal(placed.aspect, 3);
  near([placed.x, placed.y], [4 / 3, 4]);
  assert.equal(placed.top, 0);
});

test("the middle of the canvas shows the centre of the zoom", () => {
  const placed = layout(frame, area, null, { scale: 5, centre: [30, 40] });
  near(imagePoint(placed, [250, 200]), [30, 40]);
});

test("zooming leaves the point under the pointer where it is", () => {
  for (const spacing of [null, [2, 1], [1, 4]]) {
    const placed = layout(frame, area, spacing, null);
    const point = [130, 220];
    const before = imagePoint(placed, point);
    const zoom = zoomAround(placed, area, placed.x * 3, point);
    const after = imagePoint(layout(frame, area, spacing, zoom), point);
    // The corner lies on a whole pixel of the canvas.
    const pixel = 1 / (placed.x * 3);
    assert.ok(Math.abs(after[0] - before[0]) <= pixel, `${before} moves to ${after}`);
    assert.ok(Math.abs(after[1] - before[1]) <= pixel, `${before} moves to ${after}`);
  }
});

test("zoom stays between half of and forty times the larger of fit and one to one", () => {
  const placed = layout(frame, area, null, null);
  assert.equal(zoomAround(placed, area, 1e6).scale, 80);
  assert.equal(zoomAround(placed, area, 0).scale, 0.5);
});

test("a move goes by device pixels and ends at the edge of the picture", () => {
  const placed = layout(frame, area, null, null);
  near(panned(placed, frame, null, 20, -10).centre, [90, 55]);
  near(panned(placed, frame, { scale: 4, centre: [100, 50] }, 1e6, -1e6).centre, [0, 100]);
});

test("a linked scan shows the same place at the same size in millimetres", () => {
  const pane = (spacing, columns, rows, zoom) => {
    const made = { frame: { columns, rows }, state: { zoom } };
    made.geometry = () => layout(made.frame, area, spacing, made.state.zoom);
    return made;
  };
  const leader = pane([1, 1], 200, 100, { scale: 6, centre: [120, 50] });
  const fine = pane([0.5, 0.5], 400, 200, null);
  const zoom = sameZoom(leader, fine);
  // 20 mm right of the middle are 40 columns of half a millimetre, each at half the size.
  near([zoom.scale, ...zoom.centre], [3, 240, 100]);
});

test("where a distance is unknown, a linked scan goes by its share of the area", () => {
  const pane = (columns, zoom) => {
    const made = { frame: { columns, rows: columns }, state: { zoom } };
    made.geometry = () => layout(made.frame, area, null, made.state.zoom);
    return made;
  };
  const zoom = sameZoom(pane(100, { scale: 8, centre: [75, 50] }), pane(200, null));
  near([zoom.scale, ...zoom.centre], [4, 150, 100]);
});

test("a slice's depth is measured from the middle, and a depth finds its slice again", () => {
  assert.deepEqual(
    [0, 1, 2].map((slice) => depthOf(slice, 3, 5)),
    [-5, 0, 5],
  );
  // Between two slices lies the middle of an even number of them.
  assert.equal(depthOf(1, 2, 3), 1.5);
  for (const [count, step] of [
    [1, 1],
    [2, 2.5],
    [301, 0.6],
  ]) {
    for (let slice = 0; slice < count; slice++) {
      assert.equal(sliceAt(depthOf(slice, count, step), count, step), slice);
    }
  }
});

test("a depth beyond a scan is its first or last slice, one in between its nearest", () => {
  assert.deepEqual([sliceAt(-1e9, 10, 2), sliceAt(1e9, 10, 2)], [0, 9]);
  assert.equal(sliceAt(2.4, 11, 5), 5);
  assert.equal(sliceAt(2.6, 11, 5), 6);
});

test("a point is the pixel that it lies in, up to the frame's edges", () => {
  assert.equal(pixelIndex([0, 0], frame), 0);
  assert.equal(pixelIndex([5.9, 2.1], frame), 405);
  assert.equal(pixelIndex([199.99, 99.99], frame), 19999);
  for (const outside of [
    [-0.01, 5],
    [5, -0.01],
    [200, 5],
    [5, 100],
  ]) {
    assert.equal(pixelIndex(outside, frame), null);
  }
});

test("a box is drawn where its pixels are, in CSS pixels of its own area", () => {
  const spacing = [2, 1];
  const placed = layout(frame, area, spacing, { scale: 4, centre: [100, 50] });
  const box = boxOnScreen([100, 50, 110, 60], placed, area, 2);
  // Columns of 4 and rows of 8 device pixels, two of which are one CSS pixel.
  assert.deepEqual(box, { x: 100, y: 100, width: 20, height: 40 });
});

test("two fingers move the picture by their middle and zoom by their distance", () => {
  const before = [
    [100, 100],
    [200, 100],
  ];
  const after = [
    [80, 120],
    [280, 120],
  ];
  assert.deepEqual(pinched(before, after), { move: [30, 20], middle: [180, 120], spread: 2 });
});

test("fingers that meet in one point do not zoom without end", () => {
  const met = [
    [50, 50],
    [50, 50],
  ];
  const apart = [
    [50, 50],
    [80, 90],
  ];
  assert.equal(pinched(met, apart).spread, 50);
  assert.equal(pinched(apart, met).spread, 0);
});

test("the scale bar has the longest round length that fits", () => {
  assert.equal(scaleLength(2, 150), 50);
  assert.equal(scaleLength(1000, 150), 0.5);
  assert.equal(scaleLength(0.01, 150), 500);
});

test("the scale bar names centimetres from one on", () => {
  assert.deepEqual([0.5, 5, 10, 50, 500].map(lengthLabel), [
    "0.5 mm",
    "5 mm",
    "1 cm",
    "5 cm",
    "50 cm",
  ]);
});

test("the slider of the width goes by ratios, and back", () => {
  const widths = [1, 10000];
  near([widthToSlider(100, widths)], [500]);
  for (const width of [1, 7, 350, 10000]) {
    near([sliderToWidth(widthToSlider(width, widths), widths)], [width]);
  }
  near([widthToSlider(1e9, widths)], [1000]);
});

test("a box is whole, within the frame, and at least one pixel large", () => {
  assert.deepEqual(wholeBox([10.4, 20.6, 3.2, 8.1], frame), [3, 8, 10, 21]);
  assert.deepEqual(wholeBox([-5, -5, 500, 500], frame), [0, 0, 200, 100]);
  assert.deepEqual(wholeBox([200, 100, 200, 100], frame), [199, 99, 200, 100]);
});

test("a box in shares of a picture covers every pixel that it touches", () => {
  assert.deepEqual(pixelBox([0, 0, 1, 1], frame), [0, 0, 200, 100]);
  assert.deepEqual(pixelBox([0.101, 0.205, 0.5, 0.5], frame), [20, 20, 100, 50]);
  assert.deepEqual(pixelBox([0.001, 0.001, 0.002, 0.002], frame), [0, 0, 1, 1]);
});

test("a box without width or height on the edge of a pixel holds none", () => {
  assert.equal(pixelBox([0.5, 0.2, 0.5, 0.8], frame), null);
  assert.equal(pixelBox([0.2, 0.5, 0.8, 0.5], frame), null);
  assert.equal(pixelBox([1, 1, 1, 1], frame), null);
});

test("a box between two points stays within the frame", () => {
  assert.deepEqual(span([150, 90], [-20, 120], frame), [0, 90, 150, 100]);
});

test("a box is moved as far as the frame allows and keeps its size", () => {
  assert.deepEqual(shifted([10, 10, 30, 40], 5, -50, frame), [15, 0, 35, 30]);
  assert.deepEqual(shifted([10, 10, 30, 40], 1e6, 1e6, frame), [180, 70, 200, 100]);
});

test("a box is never made smaller than a pixel", () => {
  assert.deepEqual(resized([10, 10, 12, 12], -50, 3), [10, 10, 11, 15]);
});

test("a corner is taken before the inside, the topmost box before those below", () => {
  const boxes = [
    [0, 0, 50, 50],
    [40, 40, 80, 80],
  ];
  assert.deepEqual(hitBox(boxes, [41, 41], 3, 3), { index: 1, anchor: [80, 80] });
  assert.deepEqual(hitBox(boxes, [45, 45], 1, 1), { index: 1, box: [40, 40, 80, 80] });
  assert.deepEqual(hitBox(boxes, [20, 20], 3, 3), { index: 0, box: [0, 0, 50, 50] });
  assert.equal(hitBox(boxes, [90, 10], 3, 3), null);
});
