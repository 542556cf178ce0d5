// A table that is wider than the text takes the margin: the theme then moves the list of contents out of its way. This
// runs before the theme looks for what is in the margin, so it stands before the theme's own script. Where a table is
// wider still, or a formula wider than the page, its box says on which side there is more.
document.addEventListener("DOMContentLoaded", () => {
  const boxes = [...document.querySelectorAll(".bd-article :is(.emoser-table-scroll, .pst-scrollable-table-container, div.math)")];
  const show = (box) => {
    const hidden = box.scrollWidth - box.clientWidth - box.scrollLeft;
    box.classList.toggle("emoser-more-right", hidden > 1);
    box.classList.toggle("emoser-more-left", box.scrollLeft > 1);
  };
  const widen = () => boxes
    .filter((box) => box.matches(".emoser-table-scroll") && box.scrollWidth > box.clientWidth)
    .forEach((box) => box.classList.add("full-width"));
  // The theme fails at what takes the margin of a page without a list of contents, so there it looks first.
  if (document.querySelector(".bd-sidebar-secondary")) widen(); else addEventListener("load", widen);
  for (const box of boxes) {
    box.addEventListener("scroll", () => show(box), { passive: true });
    show(box);  // what is folded away is not observed before it is opened
    new ResizeObserver(() => show(box)).observe(box);
  }
  addEventListener("resize", () => boxes.forEach(show));
});

// A term's definition goes at Esc, and may come again once the pointer or the keyboard is elsewhere.
addEventListener("keydown", (event) => { if (event.key === "Escape") document.documentElement.classList.add("emoser-quiet"); });
for (const elsewhere of ["pointerover", "focusin"]) addEventListener(elsewhere, (event) => {
  if (!event.target.closest?.("a[data-definition]")) document.documentElement.classList.remove("emoser-quiet");
});

// Paper is light and cannot be opened: a page in dark colours is printed in the others, and what is folded is unfolded.
let shown, opened;
addEventListener("beforeprint", () => {
  shown = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  opened = [...document.querySelectorAll(".bd-article details:not([open])")];
  for (const folded of opened) folded.open = true;
});
addEventListener("afterprint", () => {
  document.documentElement.dataset.theme = shown;
  for (const folded of opened) folded.open = false;
});

// The ledger: show the claims of one paper, verdict or place, and say how many these are.
document.addEventListener("DOMContentLoaded", () => {
  for (const form of document.querySelectorAll(".emoser-ledger form")) {
    const rows = [...form.parentElement.querySelectorAll("tbody tr")];
    const column = { verdict: 1, paper: 4, place: 5 };
    const said = form.querySelector("output"), all = said.textContent;
    const choose = () => {
      const asked = Object.fromEntries(new FormData(form));
      let shown = 0;
      for (const row of rows) {
        const is = (name) => row.cells[column[name]].textContent;
        row.hidden = (asked.paper && is("paper") !== asked.paper) || (asked.verdict && is("verdict") !== asked.verdict)
          || !is("place").toLowerCase().includes(asked.place.trim().toLowerCase());
        shown += !row.hidden;
      }
      said.textContent = `${shown} / ${all}`;
    };
    form.hidden = false;
    form.addEventListener("input", choose);
    form.addEventListener("submit", (event) => event.preventDefault());
  }
});

// An explorer: mark what belongs to the choice in picture and table, show its clips, and say the sentence of its row.
document.addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll(".emoser-explorer")) {
    const form = box.querySelector("form");
    const choose = () => {
      const key = [...form.elements].map((field) => field.value).join("|");
      for (const part of box.querySelectorAll("[data-choice]")) {
        const chosen = part.classList.toggle("emoser-chosen", part.dataset.choice === key);
        if (part.matches(".emoser-heard")) part.hidden = !chosen;
        if (chosen && part.dataset.said) box.querySelector("output").textContent = part.dataset.said;
      }
    };
    form.hidden = false;
    form.reset();  // a browser may remember what was chosen before
    form.addEventListener("input", choose);
    form.addEventListener("submit", (event) => event.preventDefault());
    choose();
  }
});
