// Tables of the book: a click on the head of a column sorts; long tables have a search box. Without this script
// they are plain tables. A page may bring a form of its own before a table, as the reading list does: its selects
// choose rows by their data attributes, and data-noun says what a row is. Within class as-is nothing is added.
"use strict";

(() => {
  const LEAST_TO_SORT = 3;
  const LONGEST_WITHOUT_SEARCH = 12;
  const LONGEST_UNBROKEN = 12; // on paper a wide table fits because longer words may break anywhere
  // "1,234", "-0.5", "12 %", "0.12 [0.1, 0.2]", "0.8 ●" and "over 2 to 3 million" are numbers; "3k", "1.2.3" and
  // "2026-07-01" are not.
  const NUMBER =
    /^(?:about |over |nearly |[<>≤≥≈~]\s*)?([-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?)(?![\p{L}\d.:/-]|,\d)/iu;
  const UNITS = { thousand: 1e3, million: 1e6, billion: 1e9, trillion: 1e12 };
  const MISSING = /^(?:|[-–—]|nan|none|<na>)$/i;
  const { compare } = new Intl.Collator(document.documentElement.lang || "en", { numeric: true });

  // What a reader sees of a cell, or the part of it that is marked as its key.
  const text = (cell) => (cell.querySelector("[data-key]") ?? cell).textContent.trim();

  function number(shown) {
    const found = NUMBER.exec(shown);
    // That of "57, 110 and 112 million", and not of what comes later: "519,609 samples, 1.3 million profiles".
    const rest = found ? shown.slice(found[0].length) : "";
    const unit = /^(?:[\s\d.,–-]|to\b|and\b|or\b)*\b(thousand|million|billion|trillion)\b/.exec(rest)?.[1];
    return found ? Number(found[1].replaceAll(",", "").replace("−", "-")) * (UNITS[unit] ?? 1) : NaN;
  }

  // The cell that names each column, by place: of several rows of heads, as pandas writes them, the lowest with text.
  function heads(table) {
    const rows = [...table.tHead.rows];
    const [first] = table.tBodies[0].rows;
    return [...rows[0].cells].map((_, column) => {
      const head = rows.map((row) => row.cells[column]).findLast((cell) => cell.textContent.trim());
      // A column of buttons has no order, and a button cannot hold a link.
      return first.cells[column].querySelector("button") || head?.querySelector("a") ? undefined : head;
    });
  }

  // Rows that lie in a plain grid can be moved; where a cell spans several rows they belong together.
  function isGrid(table) {
    const width = table.tHead?.rows[0]?.cells.length;
    return (
      table.tBodies.length === 1 &&
      [...table.rows].every((row) => row.cells.length === width) &&
      [...table.querySelectorAll("th, td")].every((cell) => cell.rowSpan === 1 && cell.colSpan === 1)
    );
  }

  function sort(table, original, column, order) {
    const body = table.tBodies[0];
    if (order === "none") return body.append(...original);
    const keys = new Map(original.map((row) => [row, text(row.cells[column])]));
    const present = original.filter((row) => !MISSING.test(keys.get(row)));
    const numbers = new Map(present.map((row) => [row, number(keys.get(row))]));
    const isNumber = (row) => !Number.isNaN(numbers.get(row));
    const numeric = present.filter(isNumber).length > present.length / 2;
    const sorted = (numeric ? present.filter(isNumber) : present).sort((a, b) =>
      numeric ? numbers.get(a) - numbers.get(b) : compare(keys.get(a), keys.get(b)),
    );
    if (order === "descending") sorted.reverse();
    // What says nothing here, or no number among numbers, is last in either order.
    body.append(...sorted, ...original.filter((row) => !sorted.includes(row)));
  }

  function makeSortable(table) {
    const original = [...table.tBodies[0].rows];
    const named = heads(table);
    named.forEach((head, column) => {
      if (!head) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      const holder = head.querySelector(":scope > p") ?? head; // Markdown's heads are paragraphs
      button.append(...holder.childNodes);
      holder.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "none" }[head.ariaSort] ?? "ascending";
        for (const other of named) other?.removeAttribute("aria-sort");
        if (next !== "none") head.ariaSort = next;
        sort(table, original, column, next);
      });
    });
  }

  function newForm(table) {
    const form = document.createElement("form");
    form.className = "filters";
    form.innerHTML = `<label>Search in this table <input type="search" name="query" autocomplete="off"></label>
      <output aria-live="polite"></output>`;
    (table.closest(".pst-scrollable-table-container") ?? table).before(form);
    addFilters(table, form);
    return form;
  }

  // What a cell says, word by word; a missing value is one word, to choose by as well.
  const NOTHING = "–";
  const words = (cell) => (MISSING.test(text(cell)) ? [NOTHING] : text(cell).split(/;\s+/));

  // A select for each head that is marked, before the number of rows.
  function addFilters(table, form) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (head.dataset.filter === undefined) return;
      const select = document.createElement("select");
      select.dataset.column = column;
      const all = [...table.tBodies[0].rows].map((row) => words(row.cells[column]));
      const counts = new Map();
      for (const word of all.flat()) counts.set(word, (counts.get(word) ?? 0) + 1);
      select.add(new Option("all", ""));
      const nothing = counts.get(NOTHING) ?? 0;
      counts.delete(NOTHING);
      for (const word of [...counts.keys()].sort(compare)) select.add(new Option(`${word} (${counts.get(word)})`, word));
      if (nothing) select.add(new Option(`none recorded (${nothing})`, NOTHING));
      const label = document.createElement("label");
      const name = text(head);
      label.append(`${name[0].toUpperCase()}${name.slice(1)} `, select);
      form.querySelector("output").before(label);
    });
  }

  function makeSearchable(table, form) {
    const rows = [...table.tBodies[0].rows].map((row) => ({
      row,
      said: (row.dataset.search ?? row.textContent).toLowerCase(),
    }));
    const selects = [...form.querySelectorAll("select")];
    const shown = form.querySelector("output");
    const noun = form.dataset.noun ?? table.dataset.noun ?? "row";
    const has = (row, { name, value, dataset: { column } }) =>
      column === undefined ? row.dataset[name].split(" ").includes(value) : words(row.cells[column]).includes(value);
    function filter() {
      const parts = form.elements.query.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const { row, said } of rows) {
        row.hidden = !(
          parts.every((part) => said.includes(part)) && selects.every((select) => !select.value || has(row, select))
        );
      }
      const count = rows.filter(({ row }) => !row.hidden).length;
      shown.value = count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
    }
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", filter);
    filter(); // a browser may have kept what was typed before a reload
  }

  for (const table of document.querySelectorAll(".bd-article table")) {
    for (const cell of table.querySelectorAll("td")) {
      cell.classList.toggle("unbroken", text(cell).length <= LONGEST_UNBROKEN);
    }
    const count = table.tBodies[0]?.rows.length ?? 0;
    if (count < LEAST_TO_SORT || !isGrid(table) || table.closest(".as-is")) continue;
    makeSortable(table);
    const own = document.querySelector(`form.filters[data-table="${table.id}"]`);
    if (own || count > LONGEST_WITHOUT_SEARCH) makeSearchable(table, own ?? newForm(table));
  }
})();
