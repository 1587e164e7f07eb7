// Point at words and boxes; filter and rank the pictures. Everything stays in this page.
"use strict";
const articles = [...document.querySelectorAll("article")];

// Marks the box, the snippets and the entry of the number that is pointed at or focused, and says
// how well the word, or every word of the snippet, fits.
for (const article of articles) {
  const parts = article.querySelectorAll("[data-box]");
  const entries = article.querySelectorAll(".entries li");
  const spoken = article.querySelector(".spoken");
  const scoresOf = (word) => (word.dataset.scores ?? "").split(" ").filter(Boolean).map(Number);
  const show = (element) => {
    const word = element?.closest(".word");
    const snippet = element?.closest(".snippet");
    const number = element?.closest("[data-box]")?.dataset.box;
    article.classList.toggle("marked", number !== undefined);
    for (const part of parts) part.classList.toggle("on", part.dataset.box === number);
    for (const other of article.querySelectorAll(".word.on")) other.classList.remove("on");
    word?.classList.add("on");
    const scores = word ? scoresOf(word) : [];
    entries.forEach((entry, position) => {
      entry.querySelector(".score").textContent = scores.length ? scores[position].toFixed(2) : "";
    });
    if (!spoken) return;
    spoken.textContent = "";
    if (scores.length) {
      spoken.textContent = `“${word.textContent}” with each box: ` +
        scores.map((score, position) => `${position + 1}: ${score.toFixed(2)}`).join(", ");
    } else if (snippet) {
      const said = [...snippet.querySelectorAll(".word")].filter((each) => scoresOf(each).length)
        .map((each) => `${each.textContent} ${scoresOf(each)[number - 1].toFixed(2)}`);
      if (said.length) spoken.textContent = `With box ${number}: ${said.join(", ")}`;
    }
  };
  article.addEventListener("mouseover", (event) => show(event.target));
  article.addEventListener("mouseleave", () => show(article.querySelector(":focus")));
  article.addEventListener("focusin", (event) => show(event.target));
  article.addEventListener("focusout", () => show(null));
  // A pointer sees the box at once; the keyboard follows the link to the box's entry.
  article.addEventListener("click", (event) => {
    if (!event.detail || !event.target.closest(".snippet")) return;
    event.preventDefault();
    show(event.target);
  });
}

// Shades the proposed regions that the generator looked at for the word that is pointed at or focused,
// those above the mean alone: the most looked at is the reddest.
for (const caption of document.querySelectorAll(".looked")) {
  const picture = caption.closest("article").querySelector(".picture");
  const hint = caption.nextElementSibling;
  const general = hint.textContent;
  const boxes = caption.dataset.boxes.split(";").filter(Boolean).map((box) => box.split(" ").map(Number));
  const look = (word) => {
    for (const old of picture.querySelectorAll(".heat")) old.remove();
    for (const other of caption.children) other.classList.toggle("on", other === word);
    hint.textContent = word ? `“${word.textContent}”: ${word.dataset.said}` : general;
    if (!word) return;
    const weights = word.dataset.weights.split(" ").map(Number);
    const mean = 100 / weights.length;
    const most = Math.max(...weights.slice(1));  // region 0 is the frame
    weights.forEach((weight, number) => {
      if (!number || weight <= mean) return;
      const [top, left, bottom, right] = boxes[number];
      const heat = document.createElement("div");
      heat.className = "heat";
      heat.setAttribute("aria-hidden", "true");
      Object.assign(heat.style, {
        top: `${top}%`, left: `${left}%`, height: `${bottom - top}%`, width: `${right - left}%`,
        opacity: (0.55 * ((weight - mean) / (most - mean)) ** 2).toFixed(2),
      });
      picture.append(heat);
    });
  };
  hint.hidden = false;
  hint.setAttribute("role", "status");
  for (const word of caption.querySelectorAll(".look")) {
    word.tabIndex = 0;
    word.addEventListener("mouseenter", () => look(word));
    word.addEventListener("focus", () => look(word));
    word.addEventListener("mouseleave", () => look(null));
    word.addEventListener("blur", () => look(null));
  }
}

// The rules of visem_tf.text.tokenize.
const tokenize = (text) => text.normalize("NFKC").toLowerCase().normalize("NFKC")
  .replace(/[\p{Z}\x85]/gu, " ").replace(/[^\p{L}\p{M}\p{N}\s]/gu, "").split(/\s+/).filter(Boolean);

const form = document.querySelector(".finder");
if (articles.length) {
  const data = document.getElementById("word-scores");
  const index = data && JSON.parse(data.textContent);
  const bytes = index && Int8Array.from(atob(index.scores), (sign) => sign.charCodeAt(0));
  const rows = index && new Map(index.words.map((word, row) => [word, row]));
  const homes = articles.map((article) => article.parentNode);
  const ranked = document.querySelector(".ranked");
  const groups = [...document.querySelectorAll(".group")];
  let said = null;  // the words of every picture, when they are first asked for

  const wordsOf = (article) => new Set(
    [...article.querySelectorAll(".said")].flatMap((part) => tokenize(part.textContent)));
  const matches = (number, wanted) => {
    if (!wanted.length) return true;
    said ??= articles.map(wordsOf);
    const words = [...said[number]];
    return wanted.every((start) => words.some((word) => word.startsWith(start)));
  };
  const scoreOf = (number, words) => words.reduce(
    (sum, word) => sum + index.unit * bytes[rows.get(word) * articles.length + number], 0);

  const update = () => {
    const group = form.elements.group.value;
    const wanted = tokenize(form.elements.words.value);
    const sentence = index ? tokenize(form.elements.sentence.value) : [];
    const known = sentence.filter((word) => rows.has(word));
    const unknown = [...new Set(sentence.filter((word) => !rows.has(word)))];
    const order = articles.map((_, number) => number);
    const scores = known.length ? order.map((number) => scoreOf(number, known)) : null;
    if (scores) order.sort((a, b) => scores[b] - scores[a] || a - b);
    let count = 0;
    for (const number of order) {
      const article = articles[number];
      const shown = (!group || article.dataset.group === group) && matches(number, wanted);
      article.hidden = !shown;
      count += shown;
      const match = article.querySelector(".match");
      match.hidden = !scores;
      match.textContent = scores ? `${shown ? `${count}. ` : ""}score ${scores[number].toFixed(2)} above the mean` : "";
      (scores ? ranked.querySelector(".cards") : homes[number]).append(article);
    }
    ranked.hidden = !scores;
    for (const section of groups) {
      section.hidden = Boolean(scores) || ![...section.querySelectorAll("article")].some((a) => !a.hidden);
    }
    let message = group || wanted.length || scores ? `${count} of ${articles.length} pictures` : "";
    if (sentence.length && !known.length) message += `; no word of the sentence was among the training words`;
    else if (unknown.length) message += `; not among the training words: ${unknown.join(", ")}`;
    form.querySelector("output").textContent = message;
  };
  form.hidden = false;
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update));
  // What a browser kept from the last visit.
  window.addEventListener("pageshow", update);
}
