// A click on the title of a column sorts the table by it: numbers by value, then words, then empty cells.
function keyOf(cell) {
  const text = cell.textContent.trim();
  const number = parseFloat(text.replace(/^[^\d.−-]+/, "").replace("−", "-").replace(/,/g, ""));
  if (!Number.isNaN(number)) return [0, number];
  return [text === "" || text === "–" ? 2 : 1, text];
}

function compare(a, b, sign) {
  if (a[0] !== b[0]) return a[0] - b[0];
  return sign * (typeof a[1] === "number" ? a[1] - b[1] : a[1].localeCompare(b[1]));
}

function sortBy(table, titles, number) {
  const sign = titles[number].getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const rows = [...table.rows].slice(1).map((row) => [keyOf(row.cells[number]), row]);
  rows.sort(([a], [b]) => compare(a, b, sign));
  for (const [, row] of rows) row.parentNode.append(row);
  titles.forEach((title) => title.setAttribute("aria-sort", "none"));
  titles[number].setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
}

for (const table of document.querySelectorAll("table")) {
  const titles = [...table.rows[0].cells];
  if (table.rows.length < 3 || titles.some((cell) => cell.tagName !== "TH")) continue;
  titles.forEach((title, number) => {
    title.setAttribute("aria-sort", "none");
    title.tabIndex = 0;
    title.addEventListener("click", () => sortBy(table, titles, number));
    title.addEventListener("keydown", (event) => event.key === "Enter" && sortBy(table, titles, number));
  });
}

// The videos of a group play in step; the button stops and starts all of them.
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
for (const group of document.querySelectorAll(".videos")) {
  const videos = [...group.querySelectorAll("video")];
  if (videos.length === 0) continue;
  const button = Object.assign(document.createElement("button"), { type: "button" });
  const run = (playing) => {
    if (playing) videos[0].play().catch(() => {});
    else videos[0].pause();
    button.textContent = playing ? "Stop" : "Play";
  };
  button.addEventListener("click", () => run(videos[0].paused));
  group.prepend(button);
  run(!still);
  setInterval(() => keepInStep(videos), 200);
}
