// Times as people say them, light or dark, and texts to copy: what works without this file works well enough.
(() => {
  "use strict";
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const words = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto", style: "short" });

  function tell(time) {
    const seconds = (new Date(time.dateTime) - Date.now()) / 1000;
    const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) || UNITS[3];
    time.title ||= time.textContent.trim();
    time.textContent = words.format(Math.round(seconds / length), unit);
  }

  function tellAll(root) {
    root.querySelectorAll("time[data-ago]").forEach(tell);
  }

  function wear(theme) {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  }

  function dark() {
    const worn = document.documentElement.dataset.theme;
    return worn ? worn === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  wear(localStorage.getItem("theme"));
  document.addEventListener("DOMContentLoaded", () => {
    tellAll(document);
    setInterval(() => tellAll(document), 15000);
    document.querySelectorAll("[data-needs-script]").forEach((one) => { one.hidden = false; });
    document.addEventListener("click", (event) => {
      const copy = event.target.closest("[data-copy]");
      if (event.target.closest("#theme")) {
        const theme = dark() ? "light" : "dark";
        localStorage.setItem("theme", theme);
        wear(theme);
      } else if (copy) {
        navigator.clipboard.writeText(copy.dataset.copy).then(() => { copy.textContent = copy.dataset.copied; });
      }
    });
    document.body.addEventListener("htmx:afterSwap", (event) => tellAll(event.target));
    document.body.addEventListener("htmx:oobAfterSwap", (event) => tellAll(event.target));
  });
})();
