/* The colours of the page: dark, light, or as the system has them. */

const modes = ["dark", "light", "system"];
const asLight = window.matchMedia("(prefers-color-scheme: light)");
const stored = () => {
  try {
    return localStorage.getItem("rarl-colours") || "dark";
  } catch {
    return "dark";
  }
};

/** Colour the page as was chosen; Gradio sets its own colours as it starts. */
export function paint() {
  const mode = stored();
  const dark = mode === "dark" || (mode === "system" && !asLight.matches);
  if (document.body.classList.contains("dark") !== dark) {
    document.body.classList.toggle("dark", dark);
  }
  document.documentElement.style.background = dark ? "#0c1114" : "#f3f2ee";
  const label = document.querySelector('[data-page-label="theme"]');
  const word = mode[0].toUpperCase() + mode.slice(1);
  if (label && label.textContent !== word) label.textContent = word;
}
asLight.addEventListener("change", paint);

/** Dark, then light, then as the system has it. */
export function nextColours() {
  const next = modes[(modes.indexOf(stored()) + 1) % modes.length];
  try {
    localStorage.setItem("rarl-colours", next);
  } catch {
    /* private window */
  }
  paint();
}
