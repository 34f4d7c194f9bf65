"use strict";
// Collects what the user changes in the masks, as the settings of the next run. The page itself holds the changes:
// pressed buttons are masks that go, and the rows of the lists are masks that come.
const given = JSON.parse(document.getElementById("settings").textContent);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);
let saved = "";

function line(mask) {
  const value = (v) => (Array.isArray(v) ? `[${v.join(", ")}]` : JSON.stringify(v));
  return "{" + Object.entries(mask).map(([key, v]) => `${key}: ${value(v)}`).join(", ") + "}";
}

// A found region (or one of the user's rows) as a mask: where and when.
function maskOf(element, more) {
  const { box, start, end } = element.dataset;
  const source = element.closest("section").dataset.source;
  return { source, box: JSON.parse(box), start: +start, end: +end, ...more };
}

const isPressed = (card) => card.getAttribute("aria-pressed") === "true";
const isAway = (row) => row.querySelector("select").value === "away";

function changes() {
  const pressed = all(".region").filter(isPressed);
  const gone = new Set(pressed.map((card) => card.dataset.own));
  const removed = pressed.filter((card) => !card.dataset.own).map((card) => maskOf(card, { remove: true }));
  const added = all(".added li").map((row) => maskOf(row, isAway(row) ? { remove: true } : {}));
  const own = given.own.filter((one) => !gone.has(one));
  const count = given.own.length - own.length + removed.length + added.length;
  return { own, made: [...removed, ...added], count };
}

function yamlOf({ own, made }) {
  const lines = [...own, ...made.map(line)];
  const masks = lines.length ? "masks:\n" + lines.map((one) => `- ${one}\n`).join("") : "masks: []\n";
  return "# The settings of a run, with the masks changed on its report page.\n" + given.rest + masks;
}

const meet = (a, b) =>
  a.source === b.source && a.start < b.end && b.start < a.end &&
  [0, 1].every((k) => a.box[k] < b.box[k] + b.box[k + 2] && b.box[k] < a.box[k] + a.box[k + 2]);

function stateOf(card, removed) {
  const taken = "away" in card.dataset;
  if (isPressed(card)) return taken ? "Masked again. Click to keep it away." : "Taken away. Click to keep it masked.";
  if (taken) return "Not masked. Click to mask it again.";
  if (!card.dataset.own && removed.some((one) => meet(one, maskOf(card)))) {
    return "Loses what lies in the box of another one that is taken away.";
  }
  return "Masked. Click to take it away.";
}

function update() {
  const found = changes();
  const removed = found.made.filter((mask) => mask.remove);
  for (const card of all(".region")) {
    const state = stateOf(card, removed);
    card.querySelector(".state").textContent = state;
    card.classList.toggle("touched", state.startsWith("Loses"));
  }
  byId("edits").hidden = found.count === 0;
  byId("count").textContent = found.count === 1 ? "1 change" : `${found.count} changes`;
  byId("yaml").value = yamlOf(found);
  byId("said").textContent = "";
}

for (const card of all(".region")) {
  card.addEventListener("click", () => {
    // One of the user's masks may fit several videos: it has a button in each.
    const same = card.dataset.own ? all(".region").filter((other) => other.dataset.own === card.dataset.own) : [card];
    const next = String(!isPressed(card));
    same.forEach((one) => one.setAttribute("aria-pressed", next));
    update();
  });
}

function input(kind, values, label) {
  const made = Object.assign(document.createElement(kind), values);
  made.setAttribute("aria-label", label);
  return made;
}

function addRow(frame, box, drawn) {
  const row = document.createElement("li");
  Object.assign(row.dataset, { box: JSON.stringify(box), start: frame.dataset.start, end: frame.dataset.end });
  const from = input("input", { type: "number", min: 0, value: row.dataset.start }, "first frame");
  const to = input("input", { type: "number", min: 1, value: row.dataset.end }, "frame after the last");
  const kind = input("select", {}, "what to do");
  kind.append(new Option("mask", "mask"), new Option("take masks away", "away"));
  const drop = input("button", { type: "button", textContent: "Delete" }, "delete this box");
  row.append(kind, ` in [${box.join(", ")}], frames `, from, " up to, not including ", to, " ", drop);
  row.addEventListener("change", () => {
    from.value = row.dataset.start = Math.max(0, Math.round(+from.value));
    to.value = row.dataset.end = Math.max(+row.dataset.start + 1, Math.round(+to.value));
    drawn.classList.toggle("away", isAway(row));
    update();
  });
  drop.addEventListener("click", () => {
    row.remove();
    drawn.remove();
    update();
  });
  frame.closest("section").querySelector(".added").append(row);
  update();
}

for (const canvas of all(".canvas")) {
  const frame = canvas.closest(".frame");
  const { height, width } = canvas.closest("section").dataset;
  let first = null, drawn = null, box = null;
  const at = (event) => {
    const { top, left, height: tall, width: wide } = canvas.getBoundingClientRect();
    const share = (value) => Math.min(1, Math.max(0, value));
    return [share((event.clientY - top) / tall) * height, share((event.clientX - left) / wide) * width];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (drawn || !event.isPrimary) return;
    canvas.setPointerCapture(event.pointerId);
    first = at(event);
    drawn = document.createElement("div");
    drawn.className = "box";
    canvas.append(drawn);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drawn) return;
    const last = at(event);
    const [top, left] = [0, 1].map((k) => Math.floor(Math.min(first[k], last[k])));
    const [bottom, right] = [0, 1].map((k) => Math.ceil(Math.max(first[k], last[k])));
    box = [top, left, bottom - top, right - left];
    const percent = (value, full) => `${(100 * value) / full}%`;
    Object.assign(drawn.style, {
      top: percent(top, height), left: percent(left, width),
      height: percent(box[2], height), width: percent(box[3], width),
    });
  });
  const finish = (event) => {
    if (!drawn) return;
    // A mere click is no box.
    if (event.type === "pointerup" && box && Math.min(box[2], box[3]) > 1) addRow(frame, box, drawn);
    else drawn.remove();
    drawn = box = null;
  };
  canvas.addEventListener("pointerup", finish);
  canvas.addEventListener("pointercancel", finish);
}

byId("save").addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob([byId("yaml").value], { type: "application/yaml" }));
  Object.assign(document.createElement("a"), { href: url, download: "edited.yaml" }).click();
  saved = byId("yaml").value;
  byId("said").textContent = "Saved as edited.yaml; run the same command with --config edited.yaml";
});

byId("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(byId("yaml").value);
    byId("said").textContent = "Copied";
    saved = byId("yaml").value;
  } catch {
    // Pages that come over plain HTTP may not use the clipboard.
    byId("edits").querySelector("details").open = true;
    byId("yaml").select();
    byId("said").textContent = "Press Ctrl-C";
  }
});

addEventListener("beforeunload", (event) => {
  if (!byId("edits").hidden && byId("yaml").value !== saved) event.preventDefault();
});
update();
