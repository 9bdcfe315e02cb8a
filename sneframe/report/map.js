"use strict";
// The map of map.html.j2. Names come from outside, so they are set as text and never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const [canvas, frame, tip] = [at("canvas"), at("frame"), at("tip")];
const context = canvas.getContext("2d");
const GREY = "#8a8f98", MOST_LISTED = 60;
const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const names = Object.keys(data.properties);
const view = { zoom: 1, x: 0, y: 0 };
let points = [], colours = [], matched = null, active = -1;

function option(select, text, value) {
  const made = document.createElement("option");
  made.textContent = text;
  made.value = value;
  select.append(made);
}

function ramp(part) {
  const place = Math.min(Math.max(part, 0), 1) * (VIRIDIS.length - 1), low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const channel = (hex, i) => parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
  const mix = [0, 1, 2].map((i) => {
    const from = channel(VIRIDIS[low], i), to = channel(VIRIDIS[low + 1], i);
    return Math.round(from + (to - from) * (place - low));
  });
  return `rgb(${mix.join(" ")})`;
}

function shown(value) {
  if (value === null) return "–";
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(5))) : String(value);
}

function entry(colour, text) {
  const made = document.createElement("span"), swatch = document.createElement("span");
  swatch.className = "swatch";
  swatch.style.background = colour;
  made.append(swatch, text);
  return made;
}

function paint() {
  const name = at("colour").value, legend = at("legend");
  legend.replaceChildren();
  if (name === "") {
    colours = data.source.map(() => data.palette[0]);
    return;
  }
  const values = data.properties[name], there = values.filter((value) => value !== null);
  if (there.length && there.every((value) => typeof value === "number")) {
    const low = there.reduce((a, b) => Math.min(a, b)), high = there.reduce((a, b) => Math.max(a, b));
    colours = values.map((value) => (value === null ? GREY : ramp(high > low ? (value - low) / (high - low) : 0.5)));
    const bar = document.createElement("span");
    bar.className = "ramp";
    bar.style.background = `linear-gradient(to right, ${VIRIDIS.join(", ")})`;
    legend.append(shown(low), bar, shown(high));
  } else {
    const counts = new Map();
    for (const value of there) counts.set(String(value), (counts.get(String(value)) ?? 0) + 1);
    const ordered = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || (a < b ? -1 : 1));
    const named = ordered.slice(0, data.palette.length).sort();
    colours = values.map((value) => (value === null ? GREY : data.palette[named.indexOf(String(value))] ?? GREY));
    for (const [place, label] of named.entries()) legend.append(entry(data.palette[place], `${label} (${counts.get(label)})`));
    if (ordered.length > named.length) legend.append(entry(GREY, `${ordered.length - named.length} others`));
  }
  if (there.length < values.length) legend.append(entry(GREY, `${values.length - there.length} missing`));
}

function place([x, y]) {
  const wide = canvas.clientWidth - 32, high = canvas.clientHeight - 32;
  return [(16 + x * wide) * view.zoom + view.x, (16 + (1 - y) * high) * view.zoom + view.y];
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  const radius = (points.length > 1500 ? 2.5 : points.length > 300 ? 3.5 : 5) * Math.min(Math.sqrt(view.zoom), 2.5);
  const dots = (chosen, alpha) => {
    context.globalAlpha = alpha;
    for (const [number, point] of points.entries()) {
      if (!chosen(number)) continue;
      const [x, y] = place(point);
      context.fillStyle = colours[number];
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    }
  };
  if (matched === null) dots(() => true, 0.85);
  else {
    dots((number) => !matched.has(number), 0.12);
    dots((number) => matched.has(number), 1);
  }
  context.globalAlpha = 1;
  if (active >= 0) {
    const [x, y] = place(points[active]);
    context.strokeStyle = getComputedStyle(document.body).color;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, radius + 3, 0, 2 * Math.PI);
    context.stroke();
  }
}

function say(number) {
  active = number;
  tip.hidden = number < 0;
  if (number >= 0) {
    const heading = document.createElement("strong"), list = document.createElement("dl");
    heading.textContent = data.source[number];
    for (const name of names) {
      const term = document.createElement("dt"), value = document.createElement("dd");
      term.textContent = name;
      value.textContent = shown(data.properties[name][number]);
      list.append(term, value);
    }
    tip.replaceChildren(heading, list);
    const [x, y] = place(points[number]);
    tip.style.left = `${Math.max(Math.min(x + 14, frame.clientWidth - tip.offsetWidth - 8), 8)}px`;
    tip.style.top = `${Math.max(Math.min(y + 14, frame.clientHeight - tip.offsetHeight - 8), 8)}px`;
  }
  draw();
}

function nearest(event) {
  const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  let best = -1, least = 14 ** 2;
  for (const [number, point] of points.entries()) {
    if (matched !== null && !matched.has(number)) continue;
    const [px, py] = place(point), distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) [best, least] = [number, distance];
  }
  return best;
}

function search() {
  const wanted = at("search").value.trim().toLowerCase(), found = at("found");
  found.replaceChildren();
  matched = null;
  at("count").textContent = "";
  if (wanted) {
    const [left, ...right] = wanted.split("=");
    const name = names.find((each) => each.toLowerCase() === left.trim());
    const fits = right.length && name !== undefined
      ? (number) => shown(data.properties[name][number]).toLowerCase() === right.join("=").trim()
      : (number) => data.source[number].toLowerCase().includes(wanted)
        || names.some((each) => String(data.properties[each][number] ?? "").toLowerCase().includes(wanted));
    matched = new Set([...data.source.keys()].filter(fits));
    at("count").textContent = `${matched.size} of ${points.length} networks found`;
    for (const number of [...matched].slice(0, MOST_LISTED)) {
      const item = document.createElement("li"), button = document.createElement("button");
      button.type = "button";
      button.textContent = data.source[number];
      button.addEventListener("click", () => { say(number); frame.scrollIntoView({ block: "nearest" }); });
      item.append(button);
      found.append(item);
    }
  }
  say(-1);
}

function project() {
  points = data.maps[at("projection").value];
  say(-1);
}

function zoom(factor, x, y) {
  const next = Math.min(Math.max(view.zoom * factor, 1), 60), change = next / view.zoom;
  view.x = next === 1 ? 0 : x - (x - view.x) * change;
  view.y = next === 1 ? 0 : y - (y - view.y) * change;
  view.zoom = next;
  say(active);
}

for (const name of Object.keys(data.maps)) option(at("projection"), name, name);
option(at("colour"), "nothing", "");
for (const name of names) option(at("colour"), name, name);
const varied = (name) => new Set(data.properties[name].filter((value) => value !== null)).size > 1;
at("colour").value = names.includes(data.colour) ? data.colour : names.find(varied) ?? "";

let grip = null;
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  grip = { x: event.clientX, y: event.clientY };
  say(nearest(event));
});
canvas.addEventListener("pointermove", (event) => {
  if (grip && event.buttons) {
    view.x += event.clientX - grip.x;
    view.y += event.clientY - grip.y;
    grip = { x: event.clientX, y: event.clientY };
    say(active);
  } else say(nearest(event));
});
canvas.addEventListener("pointerup", () => { grip = null; });
canvas.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") say(-1); });
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = canvas.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  const factor = { "+": 1.3, "=": 1.3, "-": 1 / 1.3 }[event.key];
  if (factor) zoom(factor, canvas.clientWidth / 2, canvas.clientHeight / 2);
});
at("reset").addEventListener("click", () => { Object.assign(view, { zoom: 1, x: 0, y: 0 }); say(-1); });
at("projection").addEventListener("change", project);
at("colour").addEventListener("change", () => { paint(); draw(); });
at("search").addEventListener("input", search);
new ResizeObserver(() => say(active)).observe(canvas);
paint();
project();
