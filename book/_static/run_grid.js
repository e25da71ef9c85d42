// The grid of runs: another metric in its cells. What each cell says and its colour come from the data in the
// page. Without this script the grid shows AvgBIO.
"use strict";

(() => {
  const { palette, metrics } = JSON.parse(document.getElementById("run-scores").textContent);
  const form = document.getElementById("run-metric");
  const table = document.getElementById("runs");
  const rows = [...table.tBodies[0].rows];
  const cells = rows.flatMap((row) => [...row.querySelectorAll("td")]);
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
  select.addEventListener("change", () => {
    // An order by the score before says nothing of this one.
    table.tBodies[0].append(...rows);
    table.querySelector("[aria-sort]")?.removeAttribute("aria-sort");
    show();
  });
  window.addEventListener("pageshow", show); // a browser that goes back may keep the choice, not the cells
})();
