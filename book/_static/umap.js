// UMAPs to point at (figures.explore_umaps): a panel per method of one data set, linked by their cells.
// The picture that the next cell draws is hidden until it is asked for. Without this script the page shows it.
"use strict";

(() => {
  const PAD = 8; // CSS pixels between the outermost cells and the edge of a panel

  // The data are little-endian, as is every machine that runs a browser.
  const words = (text) => new Uint16Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function explore(root) {
    const { sets, ramps } = JSON.parse(root.querySelector("script").textContent);
    let set; // the data set shown
    let panels = [];
    let group = null; // what cells are coloured by: cell type or batch; null for the counts of a cell
    let cell = null; // the cell that is marked
    let pointed; // the panel in which it was pointed at
    let marked = null; // the label whose cells are marked
    const off = new Set(); // labels that are switched off

    const drawn = root.closest(".cell");
    const sources = make("select", {}, ...sets.map((each, i) => new Option(each.title, i)));
    const colourings = make("select");
    const reset = make("button", { type: "button", textContent: "Reset" });
    const picture = make("button", { type: "button", textContent: "Picture of all cells", ariaExpanded: "false" });
    const controls = make("div", { className: "umap-controls" });
    if (sets.length > 1) controls.append(make("label", {}, "Data set ", sources));
    controls.append(make("label", {}, "Colour by ", colourings), reset);
    if (drawn?.nextElementSibling?.querySelector("figure")) controls.append(picture);
    const note = make("p", { className: "umap-note" });
    const legend = make("div", { className: "umap-legend", role: "group", ariaLabel: "Legend" });
    const stage = make("div", { className: "umap-stage" });
    const spoken = make("p", { className: "umap-spoken", ariaLive: "polite" });
    const tip = make("div", { className: "umap-tip", hidden: true, ariaHidden: "true" });

    const isOn = (i) => !group || !off.has(group.of[i]);
    const number = (n) => n.toLocaleString("en");

    function colours() {
      return group ? group.colours : ramps[document.documentElement.dataset.theme === "dark" ? "dark" : "light"];
    }

    function colourOf(i) {
      return group ? group.of[i] : (set.depth.of[i] * ramps.light.length) >> 16;
    }

    function describe(i, panel) {
      const said = set.groups.map((each) => each.labels[each.of[i]]);
      if (set.depth) {
        const { low, high, of } = set.depth;
        const counts = Math.expm1(low + ((high - low) * of[i]) / 65535);
        said.push(`about ${number(Number(counts.toPrecision(3)))} counts`);
      }
      return [...said, panel.method];
    }

    // -- drawing: all cells on one canvas, those of a marked label on another above it, a ring at the marked cell

    function fit(panel) {
      const { clientWidth: width, clientHeight: height } = panel.view;
      for (const canvas of [panel.base, panel.over]) {
        canvas.width = Math.round(width * devicePixelRatio);
        canvas.height = Math.round(height * devicePixelRatio);
      }
      Object.assign(panel, { width, height, x: new Float32Array(set.shown), y: new Float32Array(set.shown) });
      for (let i = 0; i < set.shown; i++) {
        panel.x[i] = PAD + (panel.at[2 * i] / 65535) * (width - 2 * PAD);
        panel.y[i] = height - PAD - (panel.at[2 * i + 1] / 65535) * (height - 2 * PAD);
      }
      panel.radius = Math.max(1.5, Math.min(4, Math.sqrt((width * height) / set.shown) / 4));
    }

    // Dots are set pixel by pixel: thousands of arcs take a browser without a graphics card ten times as long.
    function dab(canvas, panel, wanted) {
      const context = canvas.getContext("2d");
      const image = context.createImageData(canvas.width, canvas.height);
      const pixels = new Uint32Array(image.data.buffer);
      const radius = panel.radius * devicePixelRatio;
      const reach = Math.ceil(radius);
      const [disc, edge] = [[], []];
      const rimmed = radius >= 2.5; // a rim keeps pale colours apart from the ground; it would fill a smaller dot
      for (let dy = -reach; dy <= reach; dy++) {
        for (let dx = -reach; dx <= reach; dx++) {
          const cover = radius + 0.5 - Math.hypot(dx, dy);
          if (cover > 0) (cover < 1 ? edge : disc).push({ by: dy * canvas.width + dx, cover, inner: cover > 1.75 });
        }
      }
      const text = getComputedStyle(root).color.match(/\d+/g).map(Number);
      const word = ([r, g, b]) => (b << 16) | (g << 8) | r; // red is the lowest byte of a little-endian word
      const inks = colours().map((colour) => {
        const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
        const rim = parts.map((part, k) => Math.round(0.65 * part + 0.35 * text[k]));
        return { inner: word(parts), outer: word(rimmed ? rim : parts) };
      });
      for (let i = 0; i < set.shown; i++) {
        if (!wanted(i)) continue;
        const middle = Math.round(panel.y[i] * devicePixelRatio) * canvas.width + Math.round(panel.x[i] * devicePixelRatio);
        const { inner: ink, outer: rim } = inks[colourOf(i)];
        for (const { by, inner } of disc) pixels[middle + by] = (inner ? ink : rim) | (255 << 24);
        for (const { by, cover } of edge) pixels[middle + by] ||= rim | (Math.round(255 * cover) << 24);
      }
      context.putImageData(image, 0, 0);
    }

    function drawCells(panel) {
      dab(panel.base, panel, isOn);
      drawLabel(panel);
      drawRing(panel);
    }

    function drawLabel(panel) {
      const some = marked !== null && !off.has(marked);
      panel.view.classList.toggle("umap-dimmed", some);
      if (some) dab(panel.over, panel, (i) => group.of[i] === marked);
    }

    function drawRing(panel) {
      panel.ring.hidden = cell === null;
      if (cell === null) return;
      panel.ring.style.translate = `${panel.x[cell]}px ${panel.y[cell]}px`;
      panel.ring.style.background = colours()[colourOf(cell)];
    }

    const sized = new ResizeObserver((entries) => {
      for (const panel of panels) {
        if (!entries.some((entry) => entry.target === panel.view) || !panel.view.clientWidth) continue;
        fit(panel);
        drawCells(panel);
      }
      placeTip();
    });
    const drawAll = () => panels.filter((panel) => panel.x).forEach(drawCells);

    // -- what is marked

    function markCell(i, panel, aloud) {
      if (i !== cell) {
        cell = i;
        panels.forEach(drawRing);
      }
      tip.hidden = i === null;
      if (i === null) return;
      const said = describe(i, panel);
      tip.replaceChildren(...said.map((text) => make("div", { textContent: text })));
      pointed = panel;
      placeTip();
      if (aloud) spoken.textContent = said.join(", ");
    }

    function placeTip() {
      if (tip.hidden) return;
      const box = pointed.view.getBoundingClientRect();
      const [x, y] = [box.left + pointed.x[cell], box.top + pointed.y[cell]];
      tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - tip.offsetWidth - 20))}px`;
      tip.style.top = `${y + tip.offsetHeight + 24 > innerHeight ? y - tip.offsetHeight - 12 : y + 14}px`;
    }

    function markLabel(label) {
      if (label === marked) return;
      marked = label;
      panels.forEach(drawLabel);
    }

    function nearest(panel, x, y, reach) {
      let [best, least] = [null, reach ** 2];
      for (let i = 0; i < set.shown; i++) {
        const distance = (panel.x[i] - x) ** 2 + (panel.y[i] - y) ** 2;
        if (distance < least && isOn(i)) [best, least] = [i, distance];
      }
      return best;
    }

    // The closest cell in a direction, what lies aside counting double.
    function step(panel, right, down) {
      if (cell === null) return nearest(panel, panel.width / 2, panel.height / 2, Infinity);
      let [best, least] = [cell, Infinity];
      for (let i = 0; i < set.shown; i++) {
        const [dx, dy] = [panel.x[i] - panel.x[cell], panel.y[i] - panel.y[cell]];
        const ahead = dx * right + dy * down;
        const aside = Math.abs(dx * down) + Math.abs(dy * right);
        if (ahead > 0.5 && aside <= ahead && ahead + 2 * aside < least && isOn(i)) [best, least] = [i, ahead + 2 * aside];
      }
      return best;
    }

    const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

    function panelOf(method, m) {
      const name = make("button", { type: "button", textContent: method, title: "Enlarge", ariaPressed: "false" });
      const view = make("div", { className: "umap-view", tabIndex: 0, role: "application" });
      view.ariaLabel = `UMAP of ${method}: arrow keys go from cell to cell`;
      const panel = { method, view, at: set.points[m], base: make("canvas"), over: make("canvas") };
      panel.ring = make("i", { hidden: true });
      view.append(panel.base, panel.over, panel.ring);
      panel.figure = make("figure", {}, make("figcaption", {}, name), view);
      name.addEventListener("click", () => {
        name.ariaPressed = panel.figure.classList.toggle("umap-wide");
      });
      const under = (event, reach) => nearest(panel, event.offsetX, event.offsetY, reach);
      view.addEventListener("pointermove", (event) => {
        if (event.pointerType !== "touch") markCell(under(event, 12), panel);
      });
      view.addEventListener("click", (event) => markCell(under(event, 24), panel, true));
      view.addEventListener("pointerleave", () => {
        if (!stage.contains(document.activeElement)) markCell(null);
        tip.hidden = true;
      });
      view.addEventListener("blur", () => (tip.hidden = true));
      view.addEventListener("keydown", (event) => {
        if (event.key === "Escape") markCell(null);
        if (!STEPS[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        markCell(step(panel, ...STEPS[event.key]), panel, true);
      });
      return panel;
    }

    // -- what is shown

    function showLegend() {
      if (!group) {
        const { low, high } = set.depth;
        const bar = make("span", { className: "umap-ramp" });
        bar.style.background = `linear-gradient(to right, ${colours()})`;
        const ends = [low, high].map((log) => number(Math.round(Math.expm1(log))));
        legend.replaceChildren(`${ends[0]} `, bar, ` ${ends[1]} counts, log scale`);
        return;
      }
      const buttons = group.labels.map((label, code) => {
        const swatch = make("i");
        swatch.style.background = group.colours[code];
        const button = make("button", { type: "button", ariaPressed: String(!off.has(code)) }, swatch);
        // <bdi>: a label that is written from right to left must not turn round the number beside it.
        button.append(make("bdi", { textContent: label }));
        button.append(make("small", { textContent: number(group.cells[code]) }));
        button.addEventListener("click", () => {
          if (!off.delete(code)) off.add(code);
          switched();
        });
        // A tap leaves the focus and no pointer behind: only a mouse and the keyboard mark.
        button.addEventListener("pointerover", (event) => event.pointerType !== "touch" && markLabel(code));
        button.addEventListener("pointerleave", () => markLabel(null));
        button.addEventListener("focus", () => button.matches(":focus-visible") && markLabel(code));
        button.addEventListener("blur", () => markLabel(null));
        return button;
      });
      const all = make("button", { type: "button" });
      all.addEventListener("click", () => {
        if (off.size) off.clear();
        else group.labels.forEach((_, code) => off.add(code));
        switched();
      });
      legend.replaceChildren(all, ...buttons);
      switched();
    }

    function switched() {
      [...legend.children].slice(1).forEach((button, code) => (button.ariaPressed = String(!off.has(code))));
      legend.firstChild.textContent = off.size ? "Show all" : "Hide all";
      if (cell !== null && !isOn(cell)) markCell(null);
      drawAll();
    }

    function colourBy(name) {
      group = set.groups.find((each) => each.name === name) ?? null;
      colourings.value = name;
      marked = null;
      off.clear();
      showLegend();
      drawAll();
    }

    function showSet(i) {
      set = sets[i];
      set.points ??= set.coordinates.map(words);
      for (const each of [...set.groups, ...(set.depth ? [set.depth] : [])]) each.of ??= words(each.codes);
      const names = [...set.groups.map((each) => each.name), ...(set.depth ? ["counts"] : [])];
      const before = colourings.value;
      colourings.replaceChildren(...names.map((name) => new Option(name)));
      const few = `${number(set.shown)} of ${number(set.cells)} cells, drawn in proportion to each type`;
      const linked = set.methods.length > 1 ? " It is marked in every panel." : "";
      note.textContent =
        `${set.shown < set.cells ? few : `All ${number(set.cells)} cells`}. Point at a cell, tap it, or go from cell to cell with ` +
        `the arrow keys.${linked} An entry of the legend marks its cells and switches them off and on.`;
      picture.hidden = set !== sets[0]; // the next cell draws that one
      if (picture.hidden) {
        drawn?.classList.remove("umap-picture");
        picture.ariaExpanded = "false";
      }
      sized.disconnect();
      [cell, tip.hidden, panels] = [null, true, set.methods.map(panelOf)];
      stage.replaceChildren(...panels.map((panel) => panel.figure));
      colourBy(names.includes(before) ? before : names[0]);
      panels.forEach((panel) => sized.observe(panel.view));
    }

    sources.addEventListener("change", () => showSet(sources.value));
    colourings.addEventListener("change", () => colourBy(colourings.value));
    reset.addEventListener("click", () => {
      colourings.value = set.groups[0].name;
      showSet(sources.value);
    });
    picture.addEventListener("click", () => {
      picture.ariaExpanded = drawn.classList.toggle("umap-picture");
    });
    addEventListener("scroll", placeTip, { passive: true, capture: true });
    new MutationObserver(() => {
      if (!group) showLegend();
      drawAll();
    }).observe(document.documentElement, { attributeFilter: ["data-theme"] });

    root.append(controls, note, legend, stage, spoken, tip);
    root.classList.add("umap-ready");
    showSet(0);
  }

  document.querySelectorAll(".umap-explorer").forEach(explore);
})();
