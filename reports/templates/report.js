"use strict";
(() => {
  const plots = [...document.querySelectorAll(".plot")];
  // Named buttons only: the default ones include some that would send the figure elsewhere.
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: "hover",
    plotlyServerURL: "",
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "resetScale2d"]],
  };
  for (const box of plots) {
    const figure = JSON.parse(document.getElementById("figure-" + box.dataset.figure).textContent);
    Plotly.newPlot(box, figure.data, figure.layout, config);
  }

  // Paper is narrower than a screen: plots are drawn again at its width, and folded parts are opened.
  const folded = () => [...document.querySelectorAll("details:not([open])")];
  let opened = [];
  const fit = () => plots.forEach((box) => Plotly.relayout(box, { width: Math.floor(box.getBoundingClientRect().width) || null }));
  window.addEventListener("beforeprint", () => {
    opened = folded();
    opened.forEach((part) => { part.open = true; });
    const narrow = 690;
    plots.forEach((box) => Plotly.relayout(box, { width: box.closest(".grid") ? narrow / 2 - 12 : narrow }));
  });
  window.addEventListener("afterprint", () => {
    opened.forEach((part) => { part.open = false; });
    fit();
    plots.forEach((box) => Plotly.relayout(box, { width: null, autosize: true }));
  });

  const value = (row, column) => row.cells[column].dataset.value;
  const compare = (a, b) => (a !== "" && b !== "" && !isNaN(a) && !isNaN(b) ? a - b : a.localeCompare(b));
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    const sort = (heading, column) => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].sort((a, b) => compare(value(a, column), value(b, column)));
      table.tBodies[0].append(...(down ? rows.reverse() : rows));
    };
    headings.forEach((heading, column) => {
      heading.addEventListener("click", () => sort(heading, column));
      heading.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(heading, column); });
    });
  }
})();
