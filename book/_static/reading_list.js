// What only the reading list has beside its table (tables.js sorts and filters it): links to rows, and BibTeX to
// the clipboard. Without this script the page is the whole table.
"use strict";

(() => {
  const body = document.getElementById("papers").tBodies[0];
  const form = document.querySelector("form.filters");

  // A link to a row shows it, whatever the filters hide.
  function follow() {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!row || !body.contains(row)) return;
    form.reset();
    form.dispatchEvent(new Event("input"));
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

  body.addEventListener("click", (event) => {
    const button = event.target.closest("button.cite");
    if (button) copy(button);
  });
  window.addEventListener("hashchange", follow);
  follow();
})();
