"use strict";
(async () => {
  const BATCH = 60;
  const { make, number, percent, strip, show } = Cards;
  const get = (id) => document.getElementById(id);
  const token = new URLSearchParams(location.search).get("token") ?? "";

  // The answer to a question, or an Error with the sentence that the studio says.
  const ask = async (address, parameters, options = {}) => {
    let response;
    try {
      response = await fetch(`api/${address}?${new URLSearchParams(parameters)}`,
        { ...options, headers: { "x-studio-token": token } });
    } catch {
      throw new Error("The studio does not answer; is it still running in the terminal?");
    }
    const answer = await response.json().catch(() => ({ error: `the studio failed (${response.status})` }));
    if (!response.ok) throw new Error(answer.error);
    return answer;
  };
  const say = (sentence, failed = false) => {
    get("status").textContent = sentence;
    get("status").classList.toggle("failed", failed);
  };

  let about;
  try {
    about = await ask("about", []);
  } catch (error) {
    say(error.message, true);
    return;
  }
  get("limit").textContent = `up to ${about.megabytes.toLocaleString("en")} MB`;
  get("models").append(...about.models.map((model, index) => {
    const box = make("input", { type: "checkbox", value: String(index) });
    box.checked = true;
    return make("label", {}, box, ` ${model.name} `, make("small", { class: "quiet" }, `trained on ${model.trained_on}`));
  }));

  const COURSE = "Emotion at each frame (in seconds) before the captioner reads the clip, %";
  // A row an emotion, a column a frame.
  const course = (model) => model.times.length === 0 ? null : make("div", {}, make("h4", {}, COURSE), make("div", { class: "course", tabindex: "0", role: "region", "aria-label": COURSE }, make("table", {},
    make("thead", {}, make("tr", {}, make("td", {}), ...model.times.map((time) => make("th", { scope: "col" }, number(time, 1))))),
    make("tbody", {}, ...model.course.map(([category, shares]) => make("tr", {}, make("th", { scope: "row" }, category),
      ...shares.map((share, index) => {
        const cell = make("span", { title: `${category} ${percent(share)} % at ${number(model.times[index], 1)} s` }, percent(share));
        cell.style.setProperty("--share", String(share));
        return make("td", {}, cell);
      })))))));
  const showModel = (model) => {
    const card = show(model.card, about.outcomes, get("strip").firstElementChild);
    card.querySelector("header").remove();      // the clip's name stands above all cards
    card.querySelector(".body").append(...[course(model)].filter((part) => part !== null));
    return make("div", { class: "model" }, make("h4", {}, model.name),
      model.untrained ? make("p", { class: "warning" }, "Its picture encoder has random weights: the captions mean nothing.") : null,
      card);
  };

  let busy = false;
  const captionFile = async (file) => {
    const chosen = Array.from(get("models").querySelectorAll("input:checked"), (box) => ["model", box.value]);
    if (busy) return;
    if (chosen.length === 0) return void say("Choose a captioner first.", true);
    if (file.size > about.megabytes * 2 ** 20) return void say(`${file.name}: more than ${about.megabytes} MB; cut it first.`, true);
    busy = true;
    get("drop").classList.add("busy");
    get("result").hidden = true;
    say(`Captioning ${file.name} …`);
    try {
      const answer = await ask("caption", [["name", file.name], ...chosen], { method: "POST", body: file });
      get("name").textContent = answer.name;
      get("strip").replaceChildren(strip({ id: answer.name, frames: answer.frames }));
      get("cards").replaceChildren(...answer.models.map(showModel));
      get("result").hidden = false;
      say("");
    } catch (error) {
      say(error.message, true);
    }
    get("drop").classList.remove("busy");
    busy = false;
  };
  get("file").addEventListener("change", async ({ target }) => {
    const [file] = target.files;
    if (file) await captionFile(file);
    target.value = "";      // the same file can be chosen again
  });
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();       // or the browser would open the clip
      get("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) captionFile(event.dataTransfer.files[0]);
    });
  }

  if (about.videos.length === 0) return;
  get("predictions").hidden = get("to-predictions").hidden = false;
  get("dataset").textContent = about.dataset;
  const form = get("controls");
  const { needle, outcome, order, count } = form.elements;
  const present = new Set(about.videos.map((video) => video.outcome));
  outcome.append(...Object.entries(about.outcomes).filter(([name]) => present.has(name))
    .map(([name, [label]]) => make("option", { value: name }, label)));
  const last = (video, sign) => video.cider === null ? Infinity : sign * video.cider;
  const orders = { id: (a, b) => a.id < b.id ? -1 : 1, worst: (a, b) => last(a, 1) - last(b, 1),
    best: (a, b) => last(a, -1) - last(b, -1) };
  let found = [];
  let made = 0;
  const append = () => {
    get("list").append(...found.slice(made, made + BATCH).map((video) => {
      const button = make("button", { type: "button", "data-video": video.id },
        make("span", { dir: "auto" }, video.caption || "(no words)"),
        make("small", { dir: "auto" }, `${video.id} · ${about.outcomes[video.outcome][0]}`
          + (video.cider === null ? "" : ` · CIDEr ${number(100 * video.cider, 0)}`)));
      button.addEventListener("click", () => open(video.id, button));
      return make("li", {}, button);
    }));
    made = Math.min(found.length, made + BATCH);
    get("more").hidden = made === found.length;
  };
  const browse = document.querySelector(".browse");
  const narrow = matchMedia("(max-width: 40rem)");
  narrow.addEventListener("change", () => browse.append(get("detail")));
  let asked = 0;
  const open = async (id, button) => {
    const turn = ++asked;       // of two clicks, the later one is shown
    for (const other of get("list").querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
    button.setAttribute("aria-current", "true");
    let part;
    try {
      part = show(await ask("video", [["id", id]]), about.outcomes);
    } catch (error) {
      part = make("p", { class: "empty" }, error.message);
    }
    if (turn !== asked) return;
    const detail = get("detail");
    detail.replaceChildren(part);
    (narrow.matches ? button.parentElement : browse).append(detail);
    detail.scrollIntoView({ block: "nearest" });
  };
  const update = () => {
    const text = needle.value.trim().toLowerCase();
    found = about.videos.filter((video) => (outcome.value === "" || video.outcome === outcome.value)
      && `${video.id}\n${video.caption}`.toLowerCase().includes(text)).sort(orders[order.value]);
    made = 0;
    browse.append(get("detail"));       // which may stand in the list
    get("list").replaceChildren();
    append();
    get("nothing").hidden = found.length > 0;
    count.value = `${found.length.toLocaleString("en")} of ${about.videos.length.toLocaleString("en")}`;
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  get("more").addEventListener("click", append);
  get("list").addEventListener("scroll", ({ target }) => {
    if (made < found.length && target.scrollHeight - target.scrollTop - target.clientHeight < 600) append();
  });
  update();
})();
