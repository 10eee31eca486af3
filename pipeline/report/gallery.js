"use strict";
(() => {
  const form = document.getElementById("controls");
  const list = document.getElementById("videos");
  if (!form || !list) return;
  const cards = Array.from(list.children);
  const order = new Map(cards.map((card, place) => [card, place]));
  const score = (card) => card.dataset.score === "" ? -Infinity : Number(card.dataset.score);
  const ways = {
    id: (a, b) => order.get(a) - order.get(b),
    best: (a, b) => score(b) - score(a) || order.get(a) - order.get(b),
    worst: (a, b) => score(a) - score(b) || order.get(a) - order.get(b),
  };
  const update = () => {
    const needle = form.elements.needle.value.trim().toLowerCase();
    const outcome = form.elements.outcome.value;
    let count = 0;
    for (const card of cards.slice().sort(ways[form.elements.order.value])) {
      card.hidden = !card.dataset.search.includes(needle) || (outcome !== "" && card.dataset.outcome !== outcome);
      count += card.hidden ? 0 : 1;
      list.append(card);
    }
    form.elements.count.value = `${count} of ${cards.length}`;
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
})();
