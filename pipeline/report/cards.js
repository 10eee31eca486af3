"use strict";
// What the page and the studio make of a video: `Cards.show(card, outcomes)` is its card. A strip of frames that stands
// elsewhere than on the card is lit up by the words of its caption where it is given.
const Cards = (() => {
  const FOLDS = { references: 3, candidates: 3, emotions: 5, attributes: 6 };

  // Everything is put in as text: what captions and names hold is never read as HTML.
  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== "") element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  };
  const number = (value, digits) => value.toFixed(digits).replace("-", "−");
  const percent = (value) => value === null ? "" : number(100 * value, 0);
  const plain = (pieces) => pieces.map((piece) => typeof piece === "string" ? piece : piece[0]).join("");
  const compared = { right: ": in the references", wrong: ": not in the references", "": "" };
  const mark = (piece) => make("mark", { class: piece[2] || "word", title: piece[1] + compared[piece[2]] }, piece[0]);
  const marked = (pieces) => make("span", { dir: "auto" }, ...(pieces.length === 0
    ? [make("span", { class: "quiet" }, "(no words)")]
    : pieces.map((piece) => typeof piece === "string" ? piece : mark(piece))));
  const scored = (text) => text === "" ? null : make("span", { class: "score" }, text);

  const texts = (items, digits) => items.map(([pieces, score, retrieved]) => make("li", {}, marked(pieces),
    scored((retrieved ? "candidate " : "") + (score === null ? "" : number(score, digits)))));
  const track = (shares) => make("span", { class: "track" }, ...shares.filter(([, share]) => share !== null)
    .map(([kind, share]) => {
      const bar = make("span", { class: kind });
      bar.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
      return bar;
    }));
  const emotionBars = (card) => card.emotions.map(([category, prior, final, meant]) => make("li", {},
    make("span", meant ? { class: "meant", title: "in the references", dir: "auto" } : { dir: "auto" },
      category + (meant ? " ✓" : "")),
    track([["prior", prior], ["final", final]]),
    make("span", { class: "score", title: prior === null ? "final" : `prior ${percent(prior)} %, final ${percent(final)} %` },
      prior === null ? percent(final) : `${percent(prior)} → ${percent(final)}`)));
  const attributeBars = (card) => card.attributes.map(([word, share, emotional]) => make("li", {},
    make("span", emotional ? { class: "emotional", title: "emotional attribute", dir: "auto" } : { dir: "auto" }, word),
    track([["final", share]]), scored(percent(share))));
  const folded = (kind, entries, shown) => {
    const parts = [make("ul", { class: kind }, ...entries.slice(0, shown))];
    if (entries.length > shown) {
      parts.push(make("details", { class: "more" }, make("summary", {}, `${entries.length - shown} more`),
        make("ul", { class: kind }, ...entries.slice(shown))));
    }
    return parts;
  };
  const strip = (card) => card.frames.length === 0 ? make("div", { class: "strip none" }, "no frames")
    : make("div", { class: "strip", role: "group", "aria-label": `Frames of video ${card.id}` },
      ...card.frames.map(([seconds, picture]) => make("figure", { "data-seconds": String(seconds) },
        make("img", { src: `data:image/webp;base64,${picture}`, loading: "lazy", decoding: "async",
          alt: `Video ${card.id} at ${seconds} seconds` }),
        make("figcaption", {}, `${number(seconds, 1)} s`))));

  const badge = (outcome, outcomes) => make("span", { class: `badge ${outcome}`, title: outcomes[outcome][1] }, outcomes[outcome][0]);
  const cider = (value) => value === null ? null : make("span", { class: "score" }, `CIDEr ${number(100 * value, 0)}`);
  // The caption of another run of the same video, and whether this one's own CIDEr is above its.
  const otherRun = ({ caption, cider: theirs, outcome, change }, outcomes) => make("div", { class: "other" },
    make("h4", {}, "The other run"), make("p", {}, marked(caption)),
    make("p", { class: "scores-line" }, cider(theirs), badge(outcome, outcomes)),
    change === null ? null : make("p", { class: "change" }, change === 0 ? "this run has the " : "this run is ",
      make("strong", {}, changeOf(change)), change === 0 ? " CIDEr" : ` by ${number(100 * Math.abs(change), 0)} CIDEr`));
  const changeOf = (change) => change === null ? "" : change > 0 ? "better" : change < 0 ? "worse" : "same";

  const show = (card, outcomes, elsewhere = null) => {
    const own = "note" in card;     // one's own clip, which has no references
    const frames = card.frames === null ? elsewhere : strip(card);
    const looks = card.attention ? Attention.show(card, frames, { make, number, mark }) : null;
    const body = [
      make("header", {}, make("h3", { dir: "auto" }, card.id),
        card.clip ? make("a", { href: card.clip, target: "_blank", rel: "noopener noreferrer" }, "clip") : null,
        card.split ? make("span", { class: "split" }, card.split) : null,
        own ? null : badge(card.outcome, outcomes)),
      looks ? looks.caption : make("p", { class: "caption" }, marked(card.caption)),
      make("p", { class: "scores-line" }, cider(card.cider),
        card.score === null ? null : make("span", { class: "score", title: "the score that chose this caption" },
          `chosen at ${number(card.score, 2)}`),
        card.retrieved ? make("span", { class: "score", title: "the captioner scored it best of all, but did not make it up" },
          "a candidate’s sentence") : null),
    ];
    if (card.other) body.push(otherRun(card.other, outcomes));
    if (looks) body.push(looks.area);
    if (card.note) body.splice(1, 0, make("p", { class: "warning" }, card.note));
    if (card.baseline !== null) {
      body.push(make("p", { class: "baseline" }, make("small", {}, "Baseline: "), marked(card.baseline)));
    }
    const follow = looks ? looks.follow : (name, items) => items;
    const part = (title, kind, entries, shown) => {
      if (entries.length) body.push(make("h4", {}, title), ...folded(kind, entries, shown));
    };
    if (card.references.length === 0 && !own) body.push(make("p", { class: "empty" }, "no references"));
    part("People wrote", "texts", texts(card.references.map((pieces) => [pieces, null]), 2), FOLDS.references);
    part("Retrieved candidates, with their similarity", "texts", follow("text", texts(card.candidates, 2)), FOLDS.candidates);
    part(card.emotions.some(([, prior]) => prior !== null) ? "Emotion, % (grey: prior, orange: final)" : "Emotion, %",
      "bars", emotionBars(card), FOLDS.emotions);
    part("Attributes, %", "bars", follow("attributes", attributeBars(card)), FOLDS.attributes);
    if (card.beams.length) {
      const few = card.beams.length < card.hypotheses;
      body.push(make("details", { class: "more" }, make("summary", {}, (few ? `The best ${card.beams.length} of ` : "All ")
        + `${card.hypotheses} hypotheses, with the score that chooses`),
        make("ul", { class: "texts" }, ...texts(card.beams, 2))));
    }
    return make("article", { class: "video", "data-video": card.id },
      card.frames === null ? null : frames, make("div", { class: "body" }, ...body));
  };

  return { make, number, percent, plain, changeOf, strip, show };
})();
