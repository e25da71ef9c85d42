// The picture of flows: who points at a part, by mouse, finger or key, sees its models and how they flow.
// Without this script it is a picture with the list of all models.
"use strict";

for (const figure of document.querySelectorAll(".flows")) {
  const drawing = figure.querySelector("svg");
  const parts = [...drawing.querySelectorAll("[data-models]")];
  const items = [...figure.querySelectorAll("li[data-model]")];
  const list = figure.querySelector(".flows-models");
  const said = figure.querySelector(".flows-said");
  const everything = said.textContent;
  let kept = null;

  function show(part) {
    const models = new Set(part?.dataset.models.split(" "));
    // What follows the list keeps its place while the list is short.
    if (part === null) list.style.minHeight = "";
    else if (!drawing.classList.contains("chosen")) list.style.minHeight = `${list.offsetHeight}px`;
    drawing.classList.toggle("chosen", part !== null);
    for (const other of parts) {
      const shown = other.classList.contains("flow")
        ? models.has(other.dataset.models)
        : other === part || (part?.classList.contains("flow") && other.dataset.models.split(" ").some((m) => models.has(m)));
      other.classList.toggle("on", Boolean(shown));
    }
    for (const item of items) item.hidden = part !== null && !models.has(item.dataset.model);
    said.textContent = part ? `${part.dataset.name}: ${models.size} of ${items.length} models` : everything;
  }

  function keep(part) {
    kept = part === kept ? null : part;
    for (const other of parts) other.setAttribute("aria-pressed", String(other === kept));
    show(kept);
  }

  // One stop of the Tab key; arrows go from part to part.
  function reach(part) {
    for (const other of parts) other.setAttribute("tabindex", other === part ? "0" : "-1");
  }

  // Nodes come before flows for keys, and above them in the picture.
  const order = [...parts].sort((a, b) => b.classList.contains("node") - a.classList.contains("node"));
  for (const part of parts) {
    part.setAttribute("role", "button");
    part.setAttribute("aria-pressed", "false");
    part.setAttribute("aria-label", part.querySelector("title").textContent);
  }
  reach(order[0]);
  figure.classList.add("live");

  const partOf = (event) => event.target.closest("[data-models]");
  drawing.addEventListener("pointerover", (event) => show(partOf(event) ?? kept));
  drawing.addEventListener("pointerleave", () => show(kept));
  drawing.addEventListener("focusin", (event) => show(partOf(event) ?? kept));
  drawing.addEventListener("focusout", () => show(kept));
  drawing.addEventListener("click", (event) => {
    const part = partOf(event);
    if (part) reach(part);
    keep(part ?? kept);
  });
  drawing.addEventListener("keydown", (event) => {
    const part = partOf(event);
    if (!part) return;
    const place = order.indexOf(part);
    const goes = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (goes) {
      const next = order.at((place + goes) % order.length);
      reach(next);
      next.focus();
    } else if (event.key === "Enter" || event.key === " ") {
      keep(part);
    } else if (event.key === "Escape") {
      keep(kept);
    } else {
      return;
    }
    event.preventDefault();
  });
}
