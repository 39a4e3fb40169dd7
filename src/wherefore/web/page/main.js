// The page: which picture, which network, which method, and which of its targets are looked at.

import * as service from "./asking.js";
import * as saving from "./saving.js";
import { $, drawPanes, drawTargets, dragging, element, options, wipe } from "./viewing.js";

const SAYS = { classes: "It sees", captions: "It says", answers: "It answers" };
const OTHER = { classes: "Another class", captions: "Another caption", answers: "Another answer" };
const QUESTION = "what object is there?";
const state = { models: [], methods: [], limits: {}, photo: null, told: null, shown: [], active: 0, share: 1 };
let running = null; // what can end the request that is under way
let wishes = 0; // how many pictures were asked for: of those that are still being fetched only the last counts

const model = () => state.models.find((each) => each.name === $("model").value);

// ---------------------------------------------------------------------------------------------- asking

/** Asks about the picture anew, in other words if there are any, and shows what comes back. */
async function look(other = "") {
  running?.abort();
  running = new AbortController();
  const mine = running, network = model();
  const started = performance.now();
  busy(true);
  problem("");
  try {
    const told = await service.explain(network, $("method").value, state.photo.file, wanted(network.kind, other), mine.signal);
    if (mine !== running) return;
    show(network.kind, told, other);
    $("status").textContent = `Layer ${told.answer.layer}, ${((performance.now() - started) / 1000).toFixed(1)} s`;
  } catch (error) {
    if (error.name !== "AbortError" && mine === running) problem(error.message);
  } finally {
    if (mine === running) busy(false);
  }
}

/** The fields of the form for what is wanted of a network. */
function wanted(kind, other) {
  if (kind === "captions") return { caption: other };
  if (kind === "answers") return { question: $("question").value.trim() || QUESTION, answer: other };
  return { target: other || "top5" };
}

/** Shows what was told; what was asked for by name joins what the same question gave before. */
function show(kind, told, other) {
  if (other && kind !== "captions" && state.told && origin(state.told) === origin(told)) {
    const known = state.told.targets.filter((each) => each.name !== told.targets[0].name);
    told = { ...told, targets: [told.targets[0], ...known] };
    told.answer = { ...told.answer, images: [{ ...told.image, targets: told.targets }] };
    state.shown[state.active] = told.targets[0];
  } else {
    const all = [told.whole, ...told.targets].filter(Boolean);
    state.shown = all.slice(0, 1);
    state.active = 0;
    if ($("two").checked) besides(kind, all);
  }
  state.told = told;
  draw();
}

/** What two answers must share for their targets to be saved as one. */
function origin({ answer, image }) {
  return JSON.stringify([answer.model, answer.weights_sha256, answer.method, answer.layer, image.question]);
}

/** Puts a second target beside the first: the next likely, or the word with most evidence. */
function besides(kind, all) {
  const others = all.filter((each) => each !== state.shown[0]);
  if (kind === "captions") others.sort((a, b) => b.evidence - a.evidence);
  if (!others.length) return;
  state.shown = [state.shown[0], others[0]];
  state.active = 1;
}

// ---------------------------------------------------------------------------------------------- drawing

function draw() {
  const { told, photo, shown } = state;
  if (!told) return drawPanes(photo, [null], 0);
  drawPanes(photo, shown, state.active, (i) => { state.active = i; draw(); });
  drawTargets(model().kind, told.whole, told.targets, shown, choose);
  const grey = shown[0].drawn === "grey";
  $("legend").classList.toggle("grey", grey);
  $("legend").firstElementChild.textContent = grey ? "negative" : "nothing";
  $("legend").lastElementChild.textContent = grey ? "positive" : "most evidence";
}

function choose(target) {
  state.shown[state.active] = target;
  draw();
}

function busy(is) {
  $("stage").setAttribute("aria-busy", String(is));
  if (is) $("status").textContent = "Looking …";
}

function problem(sentence) {
  $("problem").textContent = sentence;
  $("problem").hidden = !sentence;
  if (sentence) $("status").textContent = "";
}

function slide(share) {
  state.share = share;
  wipe(share);
}

/** Uncovers the map from the left, once, so that the slider is seen to move. */
function unveil() {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return slide(1);
  const started = performance.now();
  const step = (now) => {
    const t = Math.min(1, Math.max(0, (now - started) / 900));
    slide(1 - (1 - t) ** 3);
    if (t < 1) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

// ---------------------------------------------------------------------------------------------- choosing

/** Takes a picture, as a file, and asks about it. */
function take(file, alt, question = "") {
  if (file.size > state.limits.most_bytes) {
    return problem(`That file is larger than ${(state.limits.most_bytes / 2 ** 20).toPrecision(3)} MB: take a smaller one.`);
  }
  if (state.photo) URL.revokeObjectURL(state.photo.url);
  state.photo = { file, url: URL.createObjectURL(file), alt, name: file.name || "picture" };
  state.told = null;
  $("question").value = question || QUESTION;
  draw();
  return look();
}

async function takeExample(about, button) {
  const mine = ++wishes;
  for (const each of $("examples").querySelectorAll("button")) each.setAttribute("aria-pressed", String(each === button));
  try {
    const file = await service.example(about);
    if (mine === wishes) await take(file, about.alt, about.question);
  } catch (error) {
    problem(error.message);
  }
}

function takeOwn(file) {
  if (!file) return;
  wishes += 1;
  for (const each of $("examples").querySelectorAll("button")) each.setAttribute("aria-pressed", "false");
  take(file, `Your picture ${file.name}`);
}

function chooseModel() {
  const { kind, classes, name } = model();
  $("said").textContent = SAYS[kind];
  $("other-label").textContent = OTHER[kind];
  $("other").value = "";
  $("question-form").hidden = kind !== "answers";
  $("names").replaceChildren(...classes.map((each) => element("option", { value: each })));
  $("about-model").textContent = name.startsWith("scenes:")
    ? "Small, and trained on drawn scenes like the examples: of photographs it knows nothing."
    : "";
  state.told = null;
  if (state.photo) look();
}

function chooseMethod() {
  const about = state.methods.find((each) => each.method === $("method").value);
  $("about-method").textContent = `${about.what} (${about.source.split(",")[0]}); ${about.cost}.`;
  if (state.photo) look();
}

function listen() {
  $("model").onchange = chooseModel;
  $("method").onchange = chooseMethod;
  $("share").oninput = () => slide($("share").value / 100);
  dragging(slide);
  $("file").onchange = () => { takeOwn($("file").files[0]); $("file").value = ""; };
  $("two").onchange = () => {
    if (!state.told) return;
    state.shown = state.shown.slice(0, 1);
    state.active = 0;
    if ($("two").checked) besides(model().kind, [state.told.whole, ...state.told.targets].filter(Boolean));
    draw();
  };
  $("other-form").onsubmit = (event) => {
    event.preventDefault();
    if ($("other").value.trim()) look($("other").value.trim());
  };
  $("question-form").onsubmit = (event) => { event.preventDefault(); look(); };
  $("save-picture").onclick = () => saving.picture(state.photo, state.shown, state.share, state.told.answer);
  $("save-maps").onclick = () => saving.maps(state.photo, state.told.answer);
  listenToDrops();
}

function listenToDrops() {
  addEventListener("dragover", (event) => { event.preventDefault(); $("drop").hidden = false; });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").hidden = true; });
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").hidden = true;
    takeOwn(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => takeOwn(event.clipboardData.files[0]));
}

/** Asks whoever sits there for the token; null where none is given. */
function askForToken() {
  const door = $("door");
  door.showModal();
  return new Promise((given) => {
    $("door-form").onsubmit = (event) => { event.preventDefault(); door.close($("token").value.trim()); };
    door.onclose = () => given(door.returnValue || null);
  });
}

async function start() {
  service.onToken(askForToken);
  try {
    state.models = await service.models();
    [state.methods, state.limits] = await Promise.all([service.methods(), service.limits()]);
    options($("model"), state.models.map((each) => each.name));
    options($("method"), state.methods.map((each) => each.method));
    chooseModel();
    chooseMethod();
    listen();
    takeOwn($("file").files[0]); // from before anybody listened
    const buttons = (await service.examples()).map((about) => {
      const button = element(
        "button",
        { type: "button", "aria-pressed": "false", title: about.alt },
        element("img", { src: about.picture, alt: about.alt, width: 96, height: 96 }),
      );
      button.onclick = () => takeExample(about, button);
      return button;
    });
    $("examples").replaceChildren(...buttons.map((button) => element("li", {}, button)));
    if (wishes) return;
    slide(0);
    await buttons[0].onclick();
    unveil();
  } catch (error) {
    problem(error.message);
    busy(false);
  }
}

start();
