"use strict";
(() => {
  const BATCH = 24;
  const form = document.getElementById("controls");
  const list = document.getElementById("videos");
  if (!form || !list) return;
  const { cards, outcomes } = JSON.parse(document.getElementById("cards").textContent);
  const more = document.getElementById("more");
  const nothing = document.getElementById("nothing");
  const chosen = document.getElementById("chosen");

  const { plain, changeOf } = Cards;

  const haystacks = new Map();
  const haystack = (card) => {
    if (!haystacks.has(card)) {
      haystacks.set(card, [card.id, card.split, outcomes[card.outcome][0], plain(card.caption),
        card.baseline === null ? "" : plain(card.baseline), card.other ? plain(card.other.caption) : "", ...card.references.map(plain),
        ...[...card.candidates, ...card.beams].map(([pieces]) => plain(pieces)),
        ...card.emotions.map(([category]) => category), ...card.attributes.map(([word]) => word),
        ...card.meant, ...card.said].join("\n").toLowerCase());
    }
    return haystacks.get(card);
  };
  const SILENT = form.dataset.silent;
  let cell = null;    // a cell of the confusions: [reference emotion, emotion said]
  const inCell = (card) => {
    if (cell === null) return true;
    const [row, column] = cell;
    if (!card.meant.includes(row)) return false;
    if (column === SILENT) return card.said.length === 0;
    return card.said.includes(column) && (row === column || !card.meant.includes(column));
  };
  const byNumber = (value, sign) => (a, b) => {   // videos without the number come last
    if (value(a) === null || value(b) === null) return (value(a) === null) - (value(b) === null);
    return sign * (value(a) - value(b));
  };
  const changed = (card) => card.other?.change ?? null;
  const orders = {
    worst: byNumber((card) => card.cider, 1), best: byNumber((card) => card.cider, -1),
    lost: byNumber(changed, 1), gained: byNumber(changed, -1),
    unsure: byNumber((card) => card.score, 1), sure: byNumber((card) => card.score, -1), id: () => 0,
  };

  let found = [];
  let made = 0;
  const observer = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) append();
  }, { rootMargin: "900px" });
  const append = () => {
    list.append(...found.slice(made, made + BATCH).map((card) => Cards.show(card, outcomes)));
    made = Math.min(found.length, made + BATCH);
    more.hidden = made === found.length;
    observer.unobserve(more);       // observed anew, it reports once more where it is still in view
    if (!more.hidden) observer.observe(more);
  };
  const update = () => {
    const { needle, emotion, outcome, split, order, change } = form.elements;
    const text = needle.value.trim().toLowerCase();
    found = cards.filter((card) => inCell(card)
      && (outcome.value === "" || card.outcome === outcome.value)
      && (!change || change.value === "" || changeOf(changed(card)) === change.value)
      && (split.value === "" || card.split === split.value)
      && (emotion.value === "" || card.meant.includes(emotion.value) || card.said.includes(emotion.value))
      && (text === "" || haystack(card).includes(text)));
    found.sort(orders[order.value]);    // stable, so that ids decide where numbers are equal
    made = 0;
    list.replaceChildren();
    append();
    nothing.hidden = found.length > 0;
    chosen.hidden = cell === null;
    if (cell !== null) {
      chosen.firstElementChild.textContent = `References with “${cell[0]}”, captions that say `
        + (cell[1] === SILENT ? "no emotion" : `“${cell[1]}”`);
    }
    form.elements.count.value = `${found.length.toLocaleString("en")} of ${cards.length.toLocaleString("en")}`;
  };
  const showAll = () => {
    form.reset();
    cell = null;
    update();
  };

  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", append);
  for (const button of document.querySelectorAll("button.all")) button.addEventListener("click", showAll);
  for (const button of document.querySelectorAll("button.cell")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      form.reset();
      cell = [button.dataset.row, button.dataset.column];
      update();
      document.getElementById("gallery").scrollIntoView();
    });
  }
  form.hidden = false;
  update();
})();
