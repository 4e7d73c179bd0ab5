// Before anything is drawn, so that a page in the other theme does not flash up.
try {
  const theme = localStorage.getItem("warren.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  /* storage is off: the system's theme it is */
}
