// Runs before the first paint: what was chosen, or else what the system prefers, which CSS knows by itself.
try {
  const chosen = localStorage.getItem("gex-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage may be forbidden; the system's preference is used.
}
