// Light or dark: what the button says and does. theme.js applies the choice before the first paint.

import { byId } from "./dom.js";
import { recolour } from "./session_lines.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";

function show() {
  byId("theme").setAttribute("aria-pressed", String(isDark()));
  recolour();
}

byId("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  try {
    localStorage.setItem("gex-theme", document.documentElement.dataset.theme);
  } catch {
    // Storage may be forbidden; the choice then lives as long as the page.
  }
  show();
});
dark.addEventListener("change", show);
show();
