// The grid of runs: another metric in its cells. What each cell says and its colour come from the data in the
// page. Without this script the grid shows AvgBIO.
"use strict";

(() => {
  const { palette, metrics } = JSON.parse(document.getElementById("run-scores").textContent);
  const form = document.getElementById("run-metric");
  const table = document.getElementById("runs");
  const cells = [...table.tBodies[0].querySelectorAll("td")];
  const legend = document.querySelector(".run-legend");
  const reasons = document.querySelector(".run-reasons");
  const select = form.elements.metric;

  function show() {
    const { label, worst, best, cells: shown, reasons: why } = metrics[select.value];
    cells.forEach((cell, place) => {
      const [text, colour] = shown[place];
      const [ground, ink] = palette[colour] ?? ["", ""];
      cell.style.background = ground;
      cell.style.color = ink;
      cell.classList.toggle("unscored", colour === null);
      cell.querySelector(".score").textContent = text;
      const link = cell.querySelector("a");
      if (link) link.setAttribute("aria-label", `${link.dataset.run}: ${text}`);
    });
    table.caption.textContent = `${label}, from ${worst} (worst) to ${best} (best)`;
    legend.querySelector(".worst").textContent = worst;
    legend.querySelector(".best").textContent = best;
    reasons.textContent = why.length ? `Not scored: ${why.join("; ")}.` : "";
  }

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  select.addEventListener("change", show);
  window.addEventListener("pageshow", show); // a browser that goes back may keep the choice, not the cells
})();
