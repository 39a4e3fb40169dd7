// Sorts and filters the cards of a page by their facts; without it they stand there as they came.
"use strict";
for (const cards of document.querySelectorAll(".cards")) {
  const [form, list] = cards.children;
  const all = [...list.children].map((card) => ({ card, facts: JSON.parse(card.dataset.facts) }));
  const show = () => {
    const chosen = [...new FormData(form)].filter(([, value]) => value);
    const wanted = chosen.filter(([name]) => name !== "by").map(([name, value]) => [name.slice(3), value]);
    const [, by] = chosen.find(([name]) => name === "by") ?? [null, ""];
    const name = by.slice(0, by.lastIndexOf(" ")), sign = by.endsWith(" up") ? 1 : -1;
    const some = all.filter(({ facts }) => wanted.every(([fact, value]) => facts[fact] === value));
    const of = ({ facts }) => facts[name] ?? sign * Infinity;
    const order = by ? [...some].sort((a, b) => (of(a) === of(b) ? 0 : sign * (of(a) - of(b)))) : some;
    list.replaceChildren(...order.map(({ card }) => card));
    form.querySelector("output").value = `${some.length} of ${all.length}`;
  };
  form.hidden = false;
  form.addEventListener("change", show);
  show();
}
