// UMAPs to point at (figures.explore_umaps): a panel per method of one data set, linked by their cells.
// Without this script the page shows the picture that stands beside them.
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
    let marked = null; // the label whose cells are marked
    const off = new Set(); // labels that are switched off

    const output = root.closest(".cell_output");
    const sources = make("select", {}, ...sets.map((each, i) => new Option(each.title, i)));
    const colourings = make("select");
    const reset = make("button", { type: "button", textContent: "Reset" });
    const picture = make("button", { type: "button", textContent: "Picture of all cells", ariaExpanded: "false" });
    const controls = make("div", { className: "umap-controls" });
    if (sets.length > 1) controls.append(make("label", {}, "Data set ", sources));
    controls.append(make("label", {}, "Colour by ", colourings), reset);
    if (output?.querySelector("img")) controls.append(picture);
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

    // -- drawing: cells on one canvas, what is marked on another above it

    function fit(panel) {
      const { clientWidth: width, clientHeight: height } = panel.view;
      for (const canvas of [panel.base, panel.over]) {
        canvas.width = Math.round(width * devicePixelRatio);
        canvas.height = Math.round(height * devicePixelRatio);
        canvas.getContext("2d").setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
      }
      Object.assign(panel, { width, height });
      panel.x = Float32Array.from({ length: set.shown }, (_, i) => PAD + (panel.at[2 * i] / 65535) * (width - 2 * PAD));
      panel.y = Float32Array.from(
        { length: set.shown },
        (_, i) => height - PAD - (panel.at[2 * i + 1] / 65535) * (height - 2 * PAD),
      );
      panel.radius = Math.max(1.5, Math.min(4, Math.sqrt((width * height) / set.shown) / 4));
    }

    // A dot of each colour, drawn once; its rim keeps pale colours apart from the ground.
    function dots(radius) {
      const size = Math.ceil(2 * radius + 2);
      return colours().map((colour) => {
        const canvas = make("canvas", { width: size * devicePixelRatio, height: size * devicePixelRatio });
        const context = canvas.getContext("2d");
        context.scale(devicePixelRatio, devicePixelRatio);
        context.arc(size / 2, size / 2, radius, 0, 2 * Math.PI);
        context.fillStyle = colour;
        context.fill();
        context.strokeStyle = getComputedStyle(root).color;
        context.globalAlpha = 0.35;
        context.lineWidth = 0.5;
        context.stroke();
        return canvas;
      });
    }

    function dab(context, panel, i) {
      const dot = panel.dots[colourOf(i)];
      const size = dot.width / devicePixelRatio;
      context.drawImage(dot, panel.x[i] - size / 2, panel.y[i] - size / 2, size, size);
    }

    function drawCells(panel) {
      const context = panel.base.getContext("2d");
      panel.dots = dots(panel.radius);
      context.clearRect(0, 0, panel.width, panel.height);
      for (let i = 0; i < set.shown; i++) if (isOn(i)) dab(context, panel, i);
      drawMarks(panel);
    }

    function drawMarks(panel) {
      const context = panel.over.getContext("2d");
      const { color: ink, backgroundColor: ground } = getComputedStyle(panel.view);
      context.clearRect(0, 0, panel.width, panel.height);
      if (marked !== null && !off.has(marked)) {
        context.globalAlpha = 0.85;
        context.fillStyle = ground;
        context.fillRect(0, 0, panel.width, panel.height);
        context.globalAlpha = 1;
        for (let i = 0; i < set.shown; i++) if (group.of[i] === marked) dab(context, panel, i);
      }
      if (cell === null) return;
      dab(context, panel, cell);
      for (const [width, colour] of [[5, ground], [2, ink]]) {
        context.beginPath();
        context.arc(panel.x[cell], panel.y[cell], panel.radius + 4, 0, 2 * Math.PI);
        context.lineWidth = width;
        context.strokeStyle = colour;
        context.stroke();
      }
    }

    const sized = new ResizeObserver((entries) => {
      for (const panel of panels) {
        if (!entries.some((entry) => entry.target === panel.view) || !panel.view.clientWidth) continue;
        fit(panel);
        drawCells(panel);
      }
    });
    const drawAll = () => panels.filter((panel) => panel.x).forEach(drawCells);

    // -- what is marked

    function markCell(i, panel, aloud) {
      if (i !== cell) {
        cell = i;
        panels.forEach(drawMarks);
      }
      tip.hidden = i === null;
      if (i === null) return;
      const said = describe(i, panel);
      tip.replaceChildren(...said.map((text) => make("div", { textContent: text })));
      const box = panel.view.getBoundingClientRect();
      const [x, y] = [box.left + panel.x[i], box.top + panel.y[i]];
      tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - tip.offsetWidth - 20))}px`;
      tip.style.top = `${y + tip.offsetHeight + 24 > innerHeight ? y - tip.offsetHeight - 12 : y + 14}px`;
      if (aloud) spoken.textContent = said.join(", ");
    }

    function markLabel(label) {
      if (label === marked) return;
      marked = label;
      panels.forEach(drawMarks);
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
      view.append(panel.base, panel.over);
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
        const button = make("button", { type: "button", ariaPressed: String(!off.has(code)) }, swatch, label);
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
      const few = `${number(set.shown)} of ${number(set.cells)} cells, drawn evenly from each type`;
      note.textContent =
        `${set.shown < set.cells ? few : `All ${number(set.cells)} cells`}. Point at a cell, tap it, or go from cell to cell with ` +
        "the arrow keys: it is marked in every panel. An entry of the legend marks its cells and switches them off and on.";
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
      picture.ariaExpanded = output.classList.toggle("umap-picture");
    });
    addEventListener("scroll", () => (tip.hidden = true), { passive: true, capture: true });
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
