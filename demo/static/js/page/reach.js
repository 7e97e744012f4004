/* Whether the app can be reached: said once, and taken back when it is over. */

import { rootAddress } from "../root.js";
import { find } from "./dom.js";

const GLANCE = 8000;
let missed = 0;
async function glance() {
  if (document.hidden) return;
  try {
    await fetch(`${rootAddress()}/healthz`, {
      cache: "no-store",
    });
    missed = 0;
  } catch {
    missed += 1;
  }
  let box = find("#out-of-reach");
  if (missed > 1 && !box) {
    box = document.createElement("p");
    box.id = "out-of-reach";
    box.setAttribute("role", "alert");
    box.textContent =
      "The app cannot be reached. What you typed stays on this page until it reloads; " +
      "open scans and their answers may be gone then. Flags that were saved are kept.";
    document.body.append(box);
  } else if (!missed) box?.remove();
}
setInterval(glance, GLANCE);
window.addEventListener("offline", () => {
  missed = 1;
  glance();
});
