// Keys 1 to 5, the time from the last picture to the answer, and one answer a page; without it the form works, too.
"use strict";
const form = document.querySelector("form");
const buttons = [...form.querySelectorAll("button")];
const pictures = [...document.querySelectorAll("img")];
const missing = () => { document.getElementById("missing").hidden = false; };
let seen = 0, sent = false;

Promise.all(pictures.map((picture) => picture.decode())).then(() => requestAnimationFrame((now) => {
  seen = now;
  form.classList.add("ready");
}), missing);

form.addEventListener("submit", (event) => {
  if (sent || !seen) return event.preventDefault();
  sent = true;
  form.elements.rt_ms.value = Math.round(performance.now() - seen);
  form.classList.add("sent");
  event.submitter.classList.add("chosen");
});

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = buttons[Number(event.key) - 1];
  if (button) form.requestSubmit(button);
});

// A page that the browser kept for its back button has been answered.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
