// The look of the page and its list of keys: what has nothing to do with searching.

/** Switches between light and dark; theme.js takes up what was chosen when the page opens. */
export function listenToTheme(button) {
  button.addEventListener("click", () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const root = document.documentElement;
    const now = root.dataset.theme ?? (dark ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("hivlp-theme", root.dataset.theme);
    } catch {
      // Then it lasts until the page is left.
    }
  });
}

/** Opens and closes the list of keys. */
export function listenToHelp(dialog, button) {
  button.addEventListener("click", () => dialog.showModal());
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}
