// Point at words and boxes; filter the images. Everything stays in this page.
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

// Shades the proposed regions that the generator attended to for the word that is pointed at or focused.
// Only weights above the mean are shown, the largest in the strongest red.
for (const caption of document.querySelectorAll(".attended")) {
  const image = caption.closest("article").querySelector(".image");
  const hint = caption.nextElementSibling;
  const general = hint.textContent;
  const boxes = caption.dataset.boxes.split(";").filter(Boolean).map((box) => box.split(" ").map(Number));
  const shade = (word) => {
    for (const old of image.querySelectorAll(".heat")) old.remove();
    for (const other of caption.children) other.classList.toggle("on", other === word);
    hint.textContent = word ? `“${word.textContent}”: ${word.dataset.spoken}` : general;
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
      image.append(heat);
    });
  };
  hint.hidden = false;
  hint.setAttribute("role", "status");
  for (const word of caption.querySelectorAll(".generated")) {
    word.tabIndex = 0;
    word.addEventListener("mouseenter", () => shade(word));
    word.addEventListener("focus", () => shade(word));
    word.addEventListener("mouseleave", () => shade(null));
    word.addEventListener("blur", () => shade(null));
  }
}

// Draws the boxes that people drew for a phrase, and ours with its point.
for (const phrase of document.querySelectorAll(".phrase")) {
  const image = phrase.closest("article").querySelector(".image");
  const numbers = (text) => text.split(" ").map(Number);
  const draw = (name, [top, left, bottom = top, right = left]) => {
    const mark = document.createElement("div");
    mark.className = `mark ${name}`;
    mark.setAttribute("aria-hidden", "true");
    Object.assign(mark.style, {
      top: `${top}%`, left: `${left}%`, height: `${bottom - top}%`, width: `${right - left}%`,
    });
    image.append(mark);
  };
  const hide = () => {
    for (const old of image.querySelectorAll(".mark")) old.remove();
    phrase.classList.remove("on");
  };
  const show = () => {
    hide();
    phrase.classList.add("on");
    for (const box of phrase.dataset.theirs.split(";").filter(Boolean)) draw("theirs", numbers(box));
    draw("ours", numbers(phrase.dataset.ours));
    draw("point", numbers(phrase.dataset.point));
  };
  phrase.addEventListener("mouseenter", show);
  phrase.addEventListener("focus", show);
  phrase.addEventListener("mouseleave", hide);
  phrase.addEventListener("blur", hide);
}

// The rules of visem_tf.text.tokenize.
const tokenize = (text) => text.normalize("NFKC").toLowerCase().normalize("NFKC")
  .replace(/[\p{Z}\x85]/gu, " ").replace(/[^\p{L}\p{M}\p{N}\s]/gu, "").split(/\s+/).filter(Boolean);

const form = document.querySelector(".finder");
if (articles.length) {
  const groups = [...document.querySelectorAll(".group")];
  let said = null;  // the words of every image, collected when they are first needed

  const wordsOf = (article) => [...new Set(
    [...article.querySelectorAll(".said")].flatMap((part) => tokenize(part.textContent)))];

  const update = () => {
    const group = form.elements.group.value;
    const wanted = tokenize(form.elements.words.value);
    if (wanted.length) said ??= new Map(articles.map((article) => [article, wordsOf(article)]));
    let count = 0;
    for (const article of articles) {
      const shown = (!group || article.dataset.group === group) &&
        wanted.every((start) => said.get(article).some((word) => word.startsWith(start)));
      article.hidden = !shown;
      count += shown;
    }
    for (const section of groups) {
      section.hidden = ![...section.querySelectorAll("article")].some((article) => !article.hidden);
    }
    form.querySelector("output").textContent =
      group || wanted.length ? `${count} of ${articles.length} images` : "";
  };
  form.hidden = false;
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update));
  // What a browser kept from the last visit.
  window.addEventListener("pageshow", update);
}
