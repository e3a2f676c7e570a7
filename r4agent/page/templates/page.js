"use strict";
// Keys through the turns, and pictures enlarged. The page reads the same without this.
(() => {
  const turns = [...document.querySelectorAll(".turn")];
  const openers = [...document.querySelectorAll("a.open")];
  const dialog = document.createElement("dialog");
  const stage = document.createElement("div");
  const caption = document.createElement("p");
  const close = document.createElement("button");
  let shown = -1;

  stage.className = "stage";
  close.textContent = "Close";
  close.type = "button";
  dialog.setAttribute("aria-label", "Picture, enlarged");
  dialog.append(close, stage, caption);
  document.body.append(dialog);

  // The picture with its box, drawn as one SVG, so that it scales to the window whatever its size.
  const svg = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const enlarge = (index) => {
    const opener = openers[index];
    // A picture seen before stands here as a small one; its first place has the full one.
    const target = document.getElementById(opener.hash.slice(1));
    const image = opener.querySelector("img") || (target && target.querySelector("img"));
    if (!image) return;
    const [width, height] = [image.getAttribute("width"), image.getAttribute("height")];
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": image.alt });
    picture.append(svg("image", { href: image.src, width, height }));
    for (const box of opener.querySelectorAll("rect")) picture.append(box.cloneNode());
    const words = opener.parentElement.querySelector("figcaption");
    stage.replaceChildren(picture);
    caption.textContent = words ? words.innerText.replace(/\s+/g, " ") : "";
    shown = index;
    if (!dialog.open) dialog.showModal();
  };

  openers.forEach((opener, index) => opener.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    enlarge(index);
  }));
  close.addEventListener("click", () => dialog.close());
  stage.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => openers[shown] && openers[shown].focus());

  const current = () => turns.findIndex((turn) => turn.contains(document.activeElement));
  const step = (by) => {
    const at = current();
    const next = turns[Math.max(0, Math.min(turns.length - 1, at < 0 ? (by > 0 ? 0 : turns.length - 1) : at + by))];
    if (next) { next.focus({ preventScroll: true }); next.scrollIntoView({ block: "start" }); }
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (dialog.open) {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by && openers[shown + by]) { event.preventDefault(); enlarge(shown + by); }
    } else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "Enter" && document.activeElement.classList.contains("turn")) {
      const opener = document.activeElement.querySelector("a.open");
      if (opener) { event.preventDefault(); enlarge(openers.indexOf(opener)); }
    }
  });
})();
