"use strict";
// A caption of which each word shows where the decoder looked: `Attention.show(card, pieces, strip)`.
const Attention = (() => {
  const LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";     // attention.py has the same
  const NAMES = { appearance: "frames", audio: "sound", motion: "motion", text: "candidates", attributes: "attributes" };
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const largest = (values) => values.indexOf(Math.max(...values));

  // The weights of one word, or of all on average: by part, a number a row.
  const weigh = (attention, word) => attention.parts.map(([, , words]) => {
    const levels = (text) => Array.from(text, (letter) => LEVELS.indexOf(letter) * attention.top / 63);
    if (word !== null) return levels(words[word]);
    const all = words.map(levels);
    return all[0].map((_, row) => sum(all.map((own) => own[row])) / all.length);
  });
  const share = (attention, word, part) => word !== null ? attention.shares[word][part]
    : Math.round(sum(attention.shares.map((own) => own[part])) / attention.shares.length);

  // Every word of the caption as a button; emotion words are marked as everywhere.
  const split = (pieces, make, mark) => {
    const words = [[]];
    for (const piece of pieces) {
      (typeof piece === "string" ? piece : piece[0]).split(" ").forEach((text, index) => {
        if (index > 0) words.push([]);
        if (text) words[words.length - 1].push(typeof piece === "string" ? text : mark([text, piece[1], piece[2]]));
      });
    }
    return words.map((parts) => make("button", { type: "button", class: "look", tabindex: "-1", "aria-pressed": "false" }, ...parts));
  };

  // Frames of the strip get the weights of the rows that are nearest to them in time.
  const light = (figures, seconds, weights) => {
    const times = figures.map((figure) => Number(figure.dataset.seconds));
    const shares = figures.map(() => 0);
    seconds.forEach((second, row) => {
      const distances = times.map((time) => Math.abs(time - second));
      shares[distances.indexOf(Math.min(...distances))] += weights[row];
    });
    const most = Math.max(...shares) || 1;
    figures.forEach((figure, index) => figure.style.setProperty("--look", String(shares[index] / most)));
  };

  const show = (card, strip, { make, number, mark }) => {
    const { attention } = card;
    const words = split(card.caption, make, mark);
    const text = words.map((word) => word.textContent);
    const lanes = attention.parts.map(([name, seconds, own]) => {
      const cells = Array.from(own[0], () => make("i", {}));
      const percent = make("span", { class: "score" });
      const row = make("li", {}, make("span", {}, NAMES[name] ?? name), make("span", { class: "lane", "aria-hidden": "true" }, ...cells), percent);
      return { name, seconds, cells, percent, row };
    });
    const said = make("p", { class: "looked", "aria-live": "polite" });
    const area = make("div", { class: "attention", role: "group", "aria-label": "Where the decoder looked" },
      make("ul", {}, ...lanes.map((lane) => lane.row)), said);
    const names = { text: (row) => card.candidates[row] ? card.candidates[row][0].map((piece) => typeof piece === "string" ? piece : piece[0]).join("") : "",
      attributes: (row) => card.attributes[row] ? card.attributes[row][0] : "" };
    const nameOf = (lane, row) => names[lane.name]?.(row) ? `“${names[lane.name](row)}”` : (lane.seconds.length ? `${number(lane.seconds[row], 1)} s` : `${row + 1}`);

    const followers = new Map();    // list items by part
    let pinned = null;
    const draw = (word) => {
      const weights = weigh(attention, word);
      const most = Math.max(...weights.flat()) || 1;
      lanes.forEach((lane, part) => {
        lane.cells.forEach((cell, row) => {
          cell.style.setProperty("--look", String(weights[part][row] / most));
          cell.title = `${nameOf(lane, row)}: ${number(100 * weights[part][row], 1)} %`;
        });
        (followers.get(lane.name) ?? []).forEach((item, row) => {
          item.classList.toggle("seen", word !== null);
          item.style.setProperty("--look", String((weights[part][row] ?? 0) / most));
        });
        lane.percent.textContent = `${share(attention, word, part)} %`;
      });
      const part = largest(attention.shares[word ?? 0].map((_, own) => share(attention, word, own)));
      const row = largest(weights[part]);
      said.textContent = word === null ? "Where the decoder looked, over all words. Choose a word to see its own."
        : `For “${text[word]}” it looked most at ${NAMES[lanes[part].name] ?? lanes[part].name} (${share(attention, word, part)} %), `
          + `above all at ${nameOf(lanes[part], row)}.`;
      words.forEach((button, index) => button.setAttribute("aria-pressed", String(index === word)));
      const figures = strip ? Array.from(strip.querySelectorAll("figure")) : [];
      const frames = lanes.findIndex((lane) => lane.name === "appearance");
      const lit = word !== null && frames >= 0 && figures.length > 0 && lanes[frames].seconds.length > 0;
      if (lit) light(figures, lanes[frames].seconds, weights[frames]);
      if (strip) strip.classList.toggle("lit", lit);
    };
    const focusOn = (index) => {
      words.forEach((button, own) => { button.tabIndex = own === index ? 0 : -1; });
      words[index].focus();
    };
    const caption = make("p", { class: "caption", dir: "auto", role: "group", "aria-label": `Caption, word by word: ${text.join(" ")}` },
      ...words.flatMap((word, index) => index ? [" ", word] : [word]));
    const indexOf = (event) => words.indexOf(event.target.closest(".look"));
    words[0].tabIndex = 0;
    caption.addEventListener("click", (event) => {
      const word = indexOf(event);
      if (word < 0) return;
      pinned = pinned === word ? null : word;
      draw(pinned);
    });
    caption.addEventListener("pointerover", (event) => { if (event.pointerType === "mouse" && indexOf(event) >= 0) draw(indexOf(event)); });
    caption.addEventListener("pointerleave", () => draw(pinned));
    caption.addEventListener("focusin", (event) => { if (event.target.matches(":focus-visible")) draw(indexOf(event)); });
    caption.addEventListener("focusout", () => draw(pinned));
    caption.addEventListener("keydown", (event) => {
      const word = indexOf(event);
      const target = { ArrowRight: word + 1, ArrowLeft: word - 1, Home: 0, End: words.length - 1 }[event.key];
      if (event.key === "Escape") {
        pinned = null;
        draw(null);
      } else if (word >= 0 && target in words) {
        event.preventDefault();
        focusOn(target);
      }
    });
    draw(null);
    // The candidates and attributes of the card are shaded, too.
    const follow = (name, items) => {
      followers.set(name, items);
      return items;
    };
    return { caption, area, follow };
  };
  return { show };
})();
