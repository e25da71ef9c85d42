// The table of the reading list: search, filter, sort, links to rows, BibTeX to the clipboard. Without this
// script the page is the whole table.
"use strict";

(() => {
  const table = document.getElementById("papers");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const form = document.querySelector("form.filters");
  const shown = form.querySelector("output");
  const { query, section, kind } = form.elements;

  function filter() {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const { search, section: sections, kind: kinds } = row.dataset;
      row.hidden = !(
        words.every((word) => search.includes(word)) &&
        (!section.value || sections.split(" ").includes(section.value)) &&
        (!kind.value || kinds === kind.value)
      );
      count += !row.hidden;
    }
    shown.value = count === 1 ? "1 paper" : `${count} papers`;
  }

  function sort(head) {
    const column = head.cellIndex;
    const ascending = head.ariaSort !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.ariaSort = ascending ? "ascending" : "descending";
    // What a reader sees: the title, not the short name before it, which not every paper has.
    const key = (row) => (row.cells[column].querySelector("a:not(.entry)") ?? row.cells[column]).textContent;
    const compare = new Intl.Collator("en", { numeric: true }).compare;
    const sorted = [...body.rows].sort((a, b) => compare(key(a), key(b)));
    body.append(...(ascending ? sorted : sorted.reverse()));
  }

  // A link to a row shows it, whatever the filters hide.
  function follow() {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!row || !body.contains(row)) return;
    form.reset();
    filter();
    row.scrollIntoView({ block: "center", inline: "start" });
  }

  async function copy(button) {
    const text = button.dataset.cite;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // No clipboard for pages opened from a file.
      const area = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.textContent = "copied";
    setTimeout(() => (button.textContent = "BibTeX"), 2000);
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", filter);
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("button")?.closest("th");
    if (head) sort(head);
  });
  body.addEventListener("click", (event) => {
    const button = event.target.closest("button.cite");
    if (button) copy(button);
  });
  window.addEventListener("hashchange", follow);
  filter(); // a browser may have kept what was typed before a reload
  follow();
})();
