// The tree of models: filters above it, and what is known of the model that is pointed at below it. Without this
// script it is a picture whose names are links.
"use strict";

for (const tree of document.querySelectorAll(".tree")) {
  const { filters, models } = JSON.parse(tree.querySelector("script").textContent);
  const leaves = [...tree.querySelectorAll(".leaf")];
  const said = tree.querySelector(".tree-said");
  const modelOf = (leaf) => models[Number(leaf.dataset.model)];
  const isShown = (leaf) => !leaf.classList.contains("off");

  const form = document.createElement("form");
  form.className = "filters";
  form.setAttribute("aria-label", "Filter the tree");
  for (const name of filters) {
    const select = document.createElement("select");
    select.name = name;
    select.add(new Option("all", ""));
    const words = [...new Set(models.flatMap((model) => model[name]))].sort();
    for (const word of words) select.add(new Option(`${word} (${models.filter((m) => m[name].includes(word)).length})`, word));
    const label = document.createElement("label");
    label.append(`${name[0].toUpperCase()}${name.slice(1)} `, select);
    form.append(label);
  }
  tree.prepend(form);

  function filter() {
    const chosen = filters.map((name) => [name, form.elements[name].value]).filter(([, value]) => value);
    for (const leaf of leaves) {
      const fits = chosen.every(([name, value]) => modelOf(leaf)[name].includes(value));
      leaf.classList.toggle("off", !fits);
    }
    reach(leaves.find(isShown));
    describe();
  }

  function describe(leaf) {
    if (!leaf) {
      const shown = leaves.filter(isShown).length;
      said.textContent = shown === models.length ? `${shown} models` : `${shown} of ${models.length} models`;
      return;
    }
    const model = modelOf(leaf);
    const known = ["tokenisation", "objective"].filter((name) => model[name].length);
    const words = known.map((name) => `${name}: ${model[name].join(", ")}`);
    const state = model.reviewed ? "peer-reviewed" : "preprint";
    said.textContent = [`${model.name}, ${model.date}, ${state}`, `reads ${model.reads.join(", ")}`, ...words].join("; ");
  }

  // One stop of the Tab key; arrows go from model to model.
  function reach(leaf) {
    for (const other of leaves) other.setAttribute("tabindex", other === leaf ? "0" : "-1");
  }

  tree.addEventListener("pointerover", (event) => describe(event.target.closest(".leaf")));
  tree.addEventListener("focusin", (event) => {
    const leaf = event.target.closest(".leaf");
    if (leaf) reach(leaf);
    describe(leaf);
  });
  tree.addEventListener("keydown", (event) => {
    const leaf = event.target.closest(".leaf");
    const goes = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!leaf || !goes) return;
    const order = leaves.filter(isShown);
    order.at((order.indexOf(leaf) + goes) % order.length)?.focus();
    event.preventDefault();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", filter);
  filter(); // a browser may have kept what was chosen before a reload
}
