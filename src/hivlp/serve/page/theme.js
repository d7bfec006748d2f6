// Before the first paint: the choice of light or dark that was made here before, else that of the system.
(() => {
  try {
    const kept = localStorage.getItem("hivlp-theme");
    if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
  } catch {
    // Storage can be forbidden; then the system decides each time.
  }
})();
