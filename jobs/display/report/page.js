"use strict";
// Tables sort by the value a cell holds (data-v) or shows; pressing a heading again turns the order around.
for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => {
        const cell = row.cells[column], text = cell.dataset.v ?? cell.textContent;
        return text === "" || isNaN(text) ? text : Number(text);
      };
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const x = value(a), y = value(b);
        if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1; // what has no value stays below
        const order = typeof x === "number" ? x - y : x.localeCompare(y);
        return up ? order : -order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
// One sound at a time.
document.addEventListener("play", (event) => {
  for (const audio of document.querySelectorAll("audio")) if (audio !== event.target) audio.pause();
}, true);
// A snippet is played by its button.
for (const button of document.querySelectorAll("button[data-sound]")) {
  button.addEventListener("click", () => new Audio(button.dataset.sound).play());
}
// The tokens of a codebook are put in order by what a button names.
for (const order of document.querySelectorAll(".order")) {
  const buttons = [...order.querySelectorAll("button")], cards = order.nextElementSibling;
  for (const button of buttons) button.addEventListener("click", () => {
    for (const other of buttons) other.setAttribute("aria-pressed", other === button);
    const value = (card) => Number(card.dataset[button.dataset.order]);
    cards.append(...[...cards.children].sort((a, b) => value(a) - value(b)));
  });
}
// The cursor of a clip goes over all its panels with the sound that plays; a click or the arrow keys move it.
for (const view of document.querySelectorAll(".view")) {
  const stack = view.querySelector(".stack"), cursor = stack.querySelector(".cursor");
  const sounds = [...view.querySelectorAll("audio")], seconds = Number(stack.dataset.seconds);
  let at = 0, playing = null;
  const show = (second) => {
    at = Math.min(seconds, Math.max(0, second));
    cursor.style.left = `${(100 * at) / seconds}%`;
    stack.setAttribute("aria-valuenow", at.toFixed(2));
  };
  const seek = (second) => {
    show(second);
    for (const audio of sounds) audio.currentTime = at;
  };
  const follow = () => {
    if (!playing || playing.paused) return;
    show(playing.currentTime);
    requestAnimationFrame(follow);
  };
  for (const audio of sounds) {
    audio.addEventListener("play", () => { playing = audio; follow(); });
    audio.addEventListener("timeupdate", () => { if (audio === playing) show(audio.currentTime); });
  }
  stack.addEventListener("click", (event) => {
    const box = stack.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * seconds);
  });
  stack.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.05, ArrowRight: 0.05, Home: -seconds, End: seconds }[event.key];
    if (step !== undefined) { seek(at + step * (event.key.startsWith("Arrow") ? seconds : 1)); event.preventDefault(); }
    if (event.key === " " && sounds.length) { sounds[0].paused ? sounds[0].play() : sounds[0].pause(); event.preventDefault(); }
  });
}
