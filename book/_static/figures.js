// Figures of the book open large, in their vector form where the page offers one. Without this script they are
// plain images.
"use strict";

(() => {
  const images = document.querySelectorAll(".bd-article :is(.cell_output, figure) img");
  if (!images.length) return;

  const dialog = document.createElement("dialog");
  dialog.className = "enlarged";
  dialog.setAttribute("aria-label", "Figure, enlarged");
  dialog.innerHTML = `<button type="button">Close</button>
    <div tabindex="0" role="group" aria-label="Figure; scroll to see all of it"><img></div>`;
  dialog.addEventListener("click", () => dialog.close());
  document.body.append(dialog);
  const large = dialog.querySelector("img");

  function open(image, vector) {
    large.alt = image.alt;
    large.style.setProperty("--natural-width", `${image.naturalWidth}px`);
    large.src = vector ?? image.src;
    dialog.showModal();
    large.parentElement.scrollTo(0, 0);
  }

  for (const image of images) {
    if (image.closest("a, button")) continue;
    const around = image.closest("figure") ?? image.parentElement;
    const vector = around.querySelector('.figure-files a[href$=".svg"]')?.href;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.title = "Enlarge";
    button.setAttribute("aria-haspopup", "dialog");
    image.replaceWith(button);
    button.append(image);
    button.addEventListener("click", () => open(image, vector));
  }
})();
