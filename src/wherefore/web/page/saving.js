// What is shown, as a file: a PNG of the panes with their words, and the raw maps as JSON.

import { words } from "./viewing.js";

const SIDE = 720, GAP = 24, FOOT = 84;

/** A PNG of the targets over the photograph, the map covering the left `share` of each. */
export async function picture(photo, targets, share, origin) {
  const plain = await loaded(photo.url);
  const scale = SIDE / Math.max(plain.naturalWidth, plain.naturalHeight);
  const [wide, high] = [Math.round(plain.naturalWidth * scale), Math.round(plain.naturalHeight * scale)];
  const canvas = document.createElement("canvas");
  canvas.width = targets.length * (wide + GAP) + GAP;
  canvas.height = high + FOOT + GAP;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fcfcfa";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  for (const [i, target] of targets.entries()) {
    const left = GAP + i * (wide + GAP);
    pen.drawImage(plain, left, GAP, wide, high);
    const map = await loaded(target.overlay);
    pen.save();
    pen.beginPath();
    pen.rect(left, GAP, wide * share, high);
    pen.clip();
    pen.drawImage(map, left, GAP, wide, high);
    pen.restore();
    write(pen, target.name, left, GAP + high + 30, "600 22px system-ui, sans-serif", "#1c1c20", wide);
    write(pen, words(target), left, GAP + high + 54, "16px system-ui, sans-serif", "#5b5b64", wide);
  }
  const from = `${origin.model}, ${origin.method}, ${origin.layer}${targets[0].drawn === "grey" ? ", grey is 0" : ""}`;
  write(pen, from, GAP, canvas.height - 12, "14px system-ui, sans-serif", "#5b5b64", canvas.width - 2 * GAP);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  save(blob, `${stem(photo.name)}.${targets.map((each) => plainly(each.name)).join("-")}.png`);
}

/** The raw maps of all targets, with where they come from. */
export function maps(photo, answer) {
  const bare = JSON.parse(JSON.stringify(answer, (key, value) => (key === "overlay" ? undefined : value)));
  save(new Blob([JSON.stringify(bare)], { type: "application/json" }), `${stem(photo.name)}.maps.json`);
}

function write(pen, text, x, y, font, colour, room) {
  pen.font = font;
  pen.fillStyle = colour;
  pen.fillText(text, x, y, room);
}

async function loaded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

const stem = (name) => plainly(name.replace(/\.[^.]*$/, "")) || "picture";
const plainly = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60);

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
