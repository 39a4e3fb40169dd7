// What is seen: panes with a picture under a map, and the list of what can be looked at.

export const $ = (id) => document.getElementById(id);

/** An element with properties, attributes (those with a dash, and role) and children. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

export const percent = (share) => (100 * share).toFixed(Math.abs(share - 0.5) < 0.4 ? 0 : 1) + "\u00a0%";

/** What is known of a target, in words. */
export function words(target) {
  const likely = target.probability == null ? "" : `p ${target.probability.toFixed(3)}, `;
  const evidence = target.evidence > 0 ? `evidence up to ${target.evidence.toPrecision(3)}` : "no positive evidence";
  return likely + evidence;
}

// ---------------------------------------------------------------------------------------------- panes

/** Draws a pane for each target; `choose(i)` is called when a pane is made the one that the list fills. */
export function drawPanes(photo, targets, active, choose) {
  const panes = targets.map((target, i) => {
    const map = target
      ? element("img", { className: "map", src: target.overlay, alt: `Where the evidence for ${target.name} lies` })
      : "";
    const picture = element(
      "div",
      { className: "picture" },
      element("img", { className: "photo", src: photo.url, alt: photo.alt }),
      map,
      element("span", { className: "line", "aria-hidden": "true" }),
      element("span", { className: "grip", "aria-hidden": "true" }),
    );
    const name = targets.length > 1
      ? element("button", { type: "button", className: "name", "aria-pressed": String(i === active), onclick: () => choose(i) }, target.name)
      : element("strong", { className: "name" }, target?.name ?? "\u00a0");
    const caption = element("figcaption", {}, name, element("span", {}, target ? words(target) : ""));
    return element("figure", { className: "pane" + (targets.length > 1 && i === active ? " active" : "") }, picture, caption);
  });
  $("panes").replaceChildren(...panes);
  $("panes").classList.toggle("two", targets.length > 1);
}

/** How much of the map is shown, 0 to 1, from the left. */
export function wipe(share) {
  $("panes").style.setProperty("--share", share);
  $("share").value = 100 * share;
}

/** Lets a pointer that is drawn over a picture move the border between photograph and map. */
export function dragging(moved) {
  const panes = $("panes");
  const move = (event, picture) => {
    const box = picture.getBoundingClientRect();
    moved(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
  };
  panes.addEventListener("pointerdown", (event) => {
    const picture = event.target.closest(".picture");
    if (!picture || event.button !== 0) return;
    picture.setPointerCapture(event.pointerId);
    move(event, picture);
    picture.onpointermove = (each) => move(each, picture);
    picture.onpointerup = picture.onpointercancel = () => { picture.onpointermove = null; };
  });
}

// ---------------------------------------------------------------------------------------------- what can be looked at

/** Lists targets as buttons: with bars of how likely they are, or as the words of a caption. */
export function drawTargets(kind, whole, targets, shown, choose) {
  const list = $("targets");
  list.className = kind === "captions" ? "targets sentence" : "targets";
  const all = whole ? [whole, ...targets] : targets;
  const most = Math.max(...targets.map((each) => each.evidence), 1e-12);
  const rows = all.map((target) => {
    const is = target === whole;
    const button = element(
      "button",
      { type: "button", className: is ? "target whole" : "target", "aria-pressed": String(shown.includes(target)), onclick: () => choose(target) },
      element("span", { className: "name" }, is ? "the whole caption" : target.name),
    );
    if (kind === "captions") button.style.setProperty("--warm", is ? 0 : target.evidence / most);
    else button.append(...bar(target));
    return element("li", {}, button);
  });
  list.replaceChildren(...rows);
}

function bar(target) {
  if (target.probability == null) return [];
  const filled = element("i");
  filled.style.setProperty("--part", target.probability);
  return [element("span", { className: "share" }, percent(target.probability)), element("span", { className: "track" }, filled)];
}

/** Fills a select with names. */
export function options(select, names) {
  select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
}
