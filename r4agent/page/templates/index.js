"use strict";
// Filters of the index. They stand in the address, so that going back from an episode finds them again.
(() => {
  const form = document.getElementById("filters");
  const rows = [...document.querySelectorAll("#index tbody tr")].map((row) => ({
    row, text: row.textContent.toLowerCase().replace(/\s+/g, " "),
  }));
  form.hidden = false;

  const wanted = () => {
    const data = new FormData(form);
    return {
      words: (data.get("q") || "").toLowerCase().split(/\s+/).filter(Boolean),
      status: data.get("status"), judged: data.get("judged"), tools: data.getAll("tool"),
    };
  };
  const filter = () => {
    const { words, status, judged, tools } = wanted();
    let count = 0;
    for (const { row, text } of rows) {
      const fits = (!status || row.dataset.status === status) && (!judged || row.dataset.judged === judged)
        && tools.every((tool) => row.dataset.tools.includes(` ${tool} `))
        && words.every((word) => text.includes(word));
      row.hidden = !fits;
      count += fits;
    }
    document.getElementById("count").textContent = `${count} of ${rows.length}`;
    document.getElementById("none").hidden = count > 0;
  };
  const keep = () => {
    const pairs = [...new FormData(form)].filter(([, value]) => value);
    history.replaceState(null, "", `#${new URLSearchParams(pairs)}`);
  };
  const restore = () => {
    for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
      for (const field of form.elements) {
        if (field.name !== name) continue;
        if (field.type === "checkbox") field.checked = field.checked || field.value === value;
        else field.value = value;
      }
    }
    filter();
  };
  form.addEventListener("input", () => { filter(); keep(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { filter(); keep(); }));
  restore();

  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && !typing) { event.preventDefault(); form.elements.q.focus(); return; }
    if (event.key === "Escape" && typing) { event.target.blur(); return; }
    const by = typing ? 0 : { j: 1, k: -1 }[event.key];
    if (!by) return;
    const links = rows.filter(({ row }) => !row.hidden).map(({ row }) => row.querySelector("a"));
    const at = links.indexOf(document.activeElement);
    const next = links[at < 0 ? 0 : Math.max(0, Math.min(links.length - 1, at + by))];
    if (next) next.focus();
  });
})();
