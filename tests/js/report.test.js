/* Changes of a report on their way to the server, and what is typed meanwhile. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Drafts } from "../../demo/static/js/report/drafts.js";
import { Outbox } from "../../demo/static/js/report/outbox.js";

function outbox() {
  const sent = [];
  const timers = [];
  const box = new Outbox((change) => sent.push(change), 10, {
    start: (work, wait) => timers.push({ work, wait }) - 1,
    stop: (timer) => {
      if (timers[timer]) timers[timer].work = () => {};
    },
  });
  return { box, sent, timers };
}

test("one change waits for the answer to the one before", () => {
  const { box, sent } = outbox();
  box.put({ do: "keep", key: "a" });
  box.put({ do: "delete", key: "b" });
  assert.deepEqual(sent, [{ do: "keep", key: "a", serial: 1 }]);
  assert.equal(box.answered().key, "a");
  assert.equal(sent.length, 1); // first the answer is taken in
  box.go();
  assert.deepEqual(sent[1], { do: "delete", key: "b", serial: 2 });
  assert.ok(box.busy);
  box.answered();
  box.go();
  assert.ok(!box.busy);
});

test("later words of a sentence replace those that wait, of no other", () => {
  const { box, sent } = outbox();
  for (const text of ["one", "two", "three"]) box.put({ do: "write", key: "a", text });
  box.put({ do: "write", key: "b", text: "other" });
  while (box.busy) {
    box.answered();
    box.go();
  }
  assert.deepEqual(
    sent.map(({ text }) => text),
    ["one", "three", "other"],
  );
});

test("what is not answered is sent again as it was, a file once only", () => {
  const { box, sent, timers } = outbox();
  box.put({ do: "write", key: "a", text: "one" });
  timers[0].work();
  assert.equal(sent.length, 2);
  assert.equal(sent[0], sent[1]);
  box.answered();
  timers[1].work(); // too late
  assert.equal(sent.length, 2);
  box.put({ do: "make", key: "pdf" });
  box.put({ do: "keep", key: "a" });
  timers[2].work();
  assert.deepEqual(
    sent.slice(2).map((one) => one.do),
    ["make", "keep"],
  );
  assert.ok(timers[2].wait > timers[1].wait);
});

test("nothing is signed or saved without what was typed", () => {
  const { box, sent } = outbox();
  box.put({ do: "write", key: "a", text: "one" });
  for (const action of ["sign", "make", "keep"]) box.put({ do: action, key: "a" });
  box.answered();
  box.refused();
  box.go();
  box.answered();
  box.go();
  assert.deepEqual(
    sent.map((one) => one.do),
    ["write", "keep"],
  );
});

test("a draft is unsaved until the server has the same words", () => {
  const drafts = new Drafts();
  const stored = () => "old";
  assert.equal(drafts.text("a", "old"), "old");
  drafts.type("a", "old");
  assert.ok(!drafts.hasUnsaved(stored));
  drafts.type("a", "new ");
  assert.ok(drafts.isUnsaved("a", "old") && drafts.hasUnsaved(stored));
  drafts.save("a", "new ");
  assert.ok(!drafts.hasUnsaved(stored));
  // The space at its end stays in the field while somebody types on.
  assert.equal(drafts.text("a", "new"), "new ");
  drafts.type("a", "new words");
  assert.ok(drafts.isUnsaved("a", "new"));
  drafts.settle();
  assert.equal(drafts.text("a", "new"), "new words");
  drafts.save("a", "new words");
  drafts.settle();
  assert.equal(drafts.text("a", "new words"), "new words");
  assert.ok(!drafts.isUnsaved("a", "elsewhere"));
});

test("an emptied field is a draft like another", () => {
  const drafts = new Drafts();
  drafts.type("a", "");
  assert.equal(drafts.text("a", "old"), "");
  assert.ok(drafts.isUnsaved("a", "old"));
  drafts.drop("a");
  assert.equal(drafts.text("a", "old"), "old");
});
