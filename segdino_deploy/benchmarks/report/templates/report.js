// Sorting and the slider. Without this script the page says the same: tables in their order, pictures side by side.
"use strict";

document.documentElement.classList.add("js");

// Rows by the values of one column. Numbers as numbers; rows without a value come last in both directions.
function sortRows(table, index, direction) {
  const isNumber = table.tHead.rows[0].cells[index].classList.contains("number");
  const body = table.tBodies[0];
  const entries = Array.from(body.rows, (row) => {
    const text = row.cells[index].dataset.value;
    return { row, value: text === undefined ? null : isNumber ? Number(text) : text };
  });
  entries.sort((a, b) => {
    if (a.value === null || b.value === null) return (a.value === null) - (b.value === null);
    const order = isNumber ? a.value - b.value : a.value.localeCompare(b.value, "en", { numeric: true });
    return direction === "ascending" ? order : -order;
  });
  body.append(...entries.map((entry) => entry.row));
}

for (const table of document.querySelectorAll("table[data-sorts]")) {
  const headers = Array.from(table.tHead.rows[0].cells);
  headers.forEach((header, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    header.replaceChildren(button);
    header.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const direction = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      headers.forEach((other) => other.setAttribute("aria-sort", other === header ? direction : "none"));
      sortRows(table, index, direction);
    });
  });
}

// The engine's picture lies on the reference's and is clipped from the left, up to the slider.
for (const compare of document.querySelectorAll(".compare")) {
  const stage = compare.querySelector(".stage");
  const slider = document.createElement("input");
  const { reference, engine } = compare.dataset;
  Object.assign(slider, { type: "range", min: 0, max: 100, value: 50 });
  slider.setAttribute("aria-label", `How much of the picture is ${reference}; the rest is ${engine}`);
  const show = () => {
    stage.style.setProperty("--split", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `${slider.value}% ${reference}`);
  };
  slider.addEventListener("input", show);
  const follow = (event) => {
    const { left, width } = stage.getBoundingClientRect();
    slider.value = (100 * (event.clientX - left)) / width;
    show();
  };
  stage.addEventListener("pointerdown", follow);
  stage.addEventListener("pointermove", (event) => event.buttons && follow(event));
  compare.append(slider);
  show();
}
